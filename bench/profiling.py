"""Where the time of a request goes: CPU by package and by function, sampled by py-spy; see README.md.

python3 bench/profiling.py [CONNECTIONS=1,64] [SECONDS=10] [WRITE=1]       needs the right to trace processes
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import report
import service
from environments import Environment
from load import REQUEST, require_programs, wrk
from paths import CACHE
from processes import Running, running

PROCESSES = ("api", "worker")
FUNCTIONS = 12  # as many are shown of each

_FRAME = re.compile(r"(?P<function>.+) \((?P<file>[^()]+?)(?::\d+)?\)$")
_PACKAGE = re.compile(r"/(?:site-packages|dist-packages)/([^/]+)")
_ALIKE = {"sklearn": "scikit-learn", "numpy": "NumPy", "uvicorn_worker.py": "uvicorn"}


def main(words: Sequence[str]) -> None:
    """Measure and print the tables."""
    options = report.options(words, CONNECTIONS="1,64", SECONDS="10", WRITE="0")
    require_programs()
    tool = str(Environment("py-spy", ["py-spy>=0.4,<0.5"]).bin / "py-spy")
    server = service.server("profile", service.bake("iris_profile"))
    parts = [report.conditions(options)]
    for connections in report.numbers(options, "CONNECTIONS"):
        with running(server, REQUEST) as service_:
            wrk(server.url(), REQUEST, connections, 3)
            stacks, cpu = sample(service_, tool, connections, report.number(options, "SECONDS"))
        for name in PROCESSES:
            head = f"{name}, {connections} {'connection' if connections == 1 else 'connections'}"
            parts.append(tables(head, stacks[name], cpu[name]))
    report.publish("profile", "\n\n".join(parts), options["WRITE"])


def sample(
    service_: Running, tool: str, connections: int, seconds: float
) -> tuple[dict[str, Counter[str]], dict[str, float]]:
    """The stacks of the processes under load, and the milliseconds of CPU that a request takes in each."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        # Without stopping the processes for each sample: being woken after it would look like work.
        options = ["record", "--subprocesses", "--nonblocking", "--rate=200", "--format=raw", "--full-filenames"]
        samplers = [
            subprocess.Popen(
                [
                    tool,
                    *options,
                    f"--pid={service_.pid(name)}",
                    f"--duration={seconds:.0f}",
                    f"--output={folder}/{name}",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for name in PROCESSES
        ]
        before = service_.cpu()
        found = wrk(service_.server.url(), REQUEST, connections, seconds + 2)
        after = service_.cpu()
        for sampler in samplers:
            if sampler.wait(30):
                raise SystemExit("py-spy could not trace the processes: run this as root")
        stacks = {name: read_stacks(Path(folder, name)) for name in PROCESSES}
    return stacks, {name: (after[name] - before[name]) * 1000 / max(1, found.requests) for name in before}


def read_stacks(path: Path) -> Counter[str]:
    """How often each stack was seen: "frame;frame;... count" in each line."""
    stacks: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        stacks[stack] += int(count)
    return stacks


def tables(title: str, stacks: Mapping[str, int], milliseconds: float) -> str:
    """What each package and each function takes by itself, as a share and in microseconds of a request."""
    packages: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for stack, count in stacks.items():
        package, function = innermost(stack)
        packages[package] += count
        functions[f"{function} ({package})"] += count
    total = sum(packages.values()) or 1

    def rows(counter: Counter[str], most: int) -> list[list[str]]:
        return [
            [name, f"{count / total:.0%}", f"{count / total * milliseconds * 1000:.0f}"]
            for name, count in counter.most_common(most)
            if count / total >= 0.01
        ]

    head = f"{title}: {milliseconds:.3f} ms of CPU a request"
    return (
        f"{report.table([head, 'share', 'us'], rows(packages, 20))}\n\n"
        f"{report.table(['of which', 'share', 'us'], rows(functions, FUNCTIONS))}"
    )


def innermost(stack: str) -> tuple[str, str]:
    """The package and the function that were at work; C code counts as the Python function that called it."""
    match = _FRAME.match(stack.split(";")[-1])
    if not match:
        return "Python", stack.split(";")[-1]
    file, function = match["file"], match["function"]
    if found := _PACKAGE.search(file):
        return _ALIKE.get(found[1], found[1]), function
    if "/denzel/" in file:
        return "denzel." + file.rpartition("/denzel/")[2].removesuffix(".py").replace("/", "."), function
    return "Python: " + Path(file).stem if file.endswith(".py") else "Python", function


if __name__ == "__main__":
    main(sys.argv[1:])
