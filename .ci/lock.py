"""Make the lock of the framework's packages anew: `make lock`, which installs uv for it.

It holds the newest versions that requirements-denzel.txt allows, for Python 3.10 and newer on every platform, each
with the SHA-256 of all files of its release. They come from the index that pip is configured with, which the lock
does not name.
"""

from __future__ import annotations

import sys
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[1] / "{{cookiecutter.project_slug}}"
sys.path.insert(0, str(TEMPLATE))

from commands.local.lock import compile_lock, index_variables  # noqa: E402
from denzel import requirements  # noqa: E402

OLDEST_PYTHON = (3, 10)
HEAD = (
    "# The packages of requirements-denzel.txt and what they need, with the SHA-256 of their files; not to be edited.\n"
)


def main() -> None:
    """Replace the lock in the template."""
    python = Path(sys.executable)
    files = [requirements.FRAMEWORK]
    environment = index_variables(python)
    for name in ("UV_FIND_LINKS", "UV_INDEX"):  # of this machine: the lock is for all
        environment.pop(name, None)
    text = compile_lock([str(python), "-m", "uv"], TEMPLATE, files, OLDEST_PYTHON, environment)
    head = HEAD + requirements.lock_head(TEMPLATE, files, OLDEST_PYTHON)
    (TEMPLATE / requirements.FRAMEWORK_LOCK).write_text(f"{head}\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
