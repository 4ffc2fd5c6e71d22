"""Settings of pip that the user has for other purposes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.local.running import make

PYPROJECT = """\
[project]
name = "mine"
version = "1"
"""
BACKEND = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
# Makes the wheel by hand: nothing is to be downloaded.
BUILD = """\
import zipfile


def build_wheel(folder, *_):
    with zipfile.ZipFile(folder + "/mine-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("mine.py", "")
        wheel.writestr("mine-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: mine\\nVersion: 1\\n")
        wheel.writestr("mine-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("mine-1.dist-info/RECORD", "")
    return "mine-1-py3-none-any.whl"


build_editable = build_wheel
"""


def local_package(project: Path) -> None:
    """A package of the project's own, in `lib/`."""
    (project / "lib").mkdir()
    (project / "lib/pyproject.toml").write_text(PYPROJECT + BACKEND)
    (project / "lib/backend.py").write_text(BUILD)


@pytest.mark.parametrize(
    "setting", ["install.user = yes", "global.target = {}/elsewhere", "install.prefix = {}/elsewhere", "PIP_USER"]
)
def test_packages_go_into_the_venv_whatever_pip_conf_says(plain: Path, tmp_path: Path, setting: str) -> None:
    local_package(plain)
    (plain / ".venv").unlink()
    (plain / "requirements.txt").write_text("./lib\n")
    if setting == "PIP_USER":
        environment = {"PIP_USER": "1"}
    else:
        section, _, line = setting.format(tmp_path).partition(".")
        (tmp_path / "pip.conf").write_text(f"[{section}]\n{line}\n")
        environment = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    done = make(plain, "install", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = [plain / ".venv/bin/python", "-c", "import mine; print(mine.__file__)"]
    assert f"{plain}/.venv/" in subprocess.run(shown, capture_output=True, text=True).stdout
    assert not (tmp_path / "elsewhere").exists()
