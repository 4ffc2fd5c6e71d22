"""Where things are: the repository, and the cache folder for all that is installed, baked and measured."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The template that is baked and measured; another state of it, for a comparison of two, by the variable.
REPOSITORY = Path(os.environ.get("DENZEL_BENCH_TEMPLATE") or HERE.parent).resolve()
PEERS = HERE / "peers"
RESULTS = HERE / "RESULTS.md"
README = HERE.parent / "README.md"
CACHE = Path(os.environ.get("DENZEL_BENCH_HOME") or Path.home() / ".cache" / "denzel-template-bench")
PROJECTS = CACHE / "projects"
LOGS = CACHE / "logs"
