"""How many threads the numeric libraries of a process may use: all processes together as many as there are cores.

Left alone, each library takes one thread for each core in each process, and they get into each other's way: an
embedding model in two processes on two cores answered a tenth of what it can.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

# What OpenMP, MKL, OpenBLAS, numexpr and Apple's Accelerate look at when they are loaded.
VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def share(cores: int, processes: int) -> int:
    """The threads of one of several processes that divide the cores among themselves, at least 1."""
    return max(1, cores // processes)


def limits(threads: int, automatic: bool, given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment in which a process's libraries use this many threads.

    Args:
        automatic: nobody has asked for this number: then a variable that is set already stays as it is.
    """
    return {name: str(threads) for name in VARIABLES if not (automatic and given.get(name))}


def limit_torch() -> None:
    """Let PyTorch, where the user's code has imported it, use what OMP_NUM_THREADS says, between operations too.

    Some of its builds take one thread for each core whatever the environment says. Fewer than that are somebody's
    choice, and stay.
    """
    torch, threads = sys.modules.get("torch"), os.environ.get("OMP_NUM_THREADS", "")
    if torch is None or not threads.isdigit():
        return
    try:
        if torch.get_num_threads() > int(threads):
            torch.set_num_threads(int(threads))
        if torch.get_num_interop_threads() > int(threads):
            torch.set_num_interop_threads(int(threads))
    except (AttributeError, RuntimeError):  # half imported; or threads between operations are at work already
        pass
