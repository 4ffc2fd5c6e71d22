"""Settings of pip that the user has for other purposes."""

from __future__ import annotations

import hashlib
import shutil
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


def test_requirement_files_of_other_forms_are_installed_too(plain: Path) -> None:
    local_package(plain)
    (plain / ".venv").unlink()
    (plain / "more").mkdir()
    (plain / "requirements.txt").write_text("-r more/base.txt\n-c constraints.txt\n")
    (plain / "more/base.txt").write_text("-e ./lib\n")
    (plain / "constraints.txt").write_text("mine<2\n")
    done = make(plain, "install")
    assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run([plain / ".venv/bin/python", "-c", "import mine"]).returncode == 0
    (plain / "constraints.txt").write_text("mine<1\n")
    done = make(plain, "install")
    assert done.returncode != 0, "what it names counts as much as requirements.txt itself"
    assert "mine<1" in done.stderr


def test_hashes_are_asked_for_where_the_file_has_them_and_of_nothing_else(plain: Path) -> None:
    (plain / ".venv").unlink()
    local_package(plain)
    (plain / "wheels").mkdir()
    build = ["python3", "-c", "import backend; backend.build_wheel('../wheels')"]
    subprocess.run(build, cwd=plain / "lib", check=True)
    wheel = plain / "wheels/mine-1-py3-none-any.whl"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (plain / "requirements.txt").write_text(f"-f wheels\nmine==1 \\\n    --hash=sha256:{digest}\n    # by hand\n")
    # the framework's own come without hashes
    shutil.copytree(plain / "lib", plain / "framework")
    text = (plain / "framework/pyproject.toml").read_text()
    (plain / "framework/pyproject.toml").write_text(text.replace('"mine"', '"framework"'))
    text = (plain / "framework/backend.py").read_text()
    (plain / "framework/backend.py").write_text(text.replace("mine", "framework"))
    (plain / "requirements-denzel.txt").write_text("./framework\n")
    done = make(plain, "install", PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stdout + done.stderr
    check = [plain / ".venv/bin/python", "-c", "import mine, framework"]
    assert subprocess.run(check, cwd=plain / "lib").returncode == 0
