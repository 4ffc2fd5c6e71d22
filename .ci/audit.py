"""Look for known weaknesses of the packages that projects are locked to: `make audit`, which installs pip-audit for it.

Where nobody can be asked, that is said and no failure.
"""

from __future__ import annotations

import sys
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[1] / "{{cookiecutter.project_slug}}"
sys.path.insert(0, str(TEMPLATE))

from commands.local.audit import report, weaknesses  # noqa: E402
from denzel import requirements  # noqa: E402


def main() -> int:
    """The exit code is 1 where weaknesses are known."""
    lock = TEMPLATE / requirements.FRAMEWORK_LOCK
    what = ["--requirement", str(lock), "--disable-pip", "--no-deps"]
    return report(*weaknesses([sys.executable, "-m", "pip_audit"], what, {}))


if __name__ == "__main__":
    sys.exit(main())
