"""`make install` and the installing that the other commands do by themselves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.local.running import make
from tests.support.bakery import REPOSITORY


def install_state(project: Path) -> dict:
    return json.loads((project / ".venv" / "denzel-install.json").read_text())


def ensure(project: Path, *, tests: bool = False) -> subprocess.CompletedProcess[str]:
    """What a command does that needs the .venv."""
    code = f"from commands.local.install import ensure_installed; print(ensure_installed(tests={tests}))"
    return subprocess.run(["python3", "-c", code], cwd=project, capture_output=True, text=True)


def test_everything_that_the_project_needs_is_there(installed: Path) -> None:
    programs = installed / ".venv" / "bin"
    for program in ("gunicorn", "celery", "pytest"):
        done = subprocess.run([programs / program, "--version"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    modules = "import falcon, redis, sklearn, flower, pytest_denzel.plugin"
    assert subprocess.run([programs / "python", "-c", modules], cwd=installed).returncode == 0
    assert install_state(installed)["plugin"] is True


def test_nothing_happens_while_it_fits(installed: Path) -> None:
    done = ensure(installed, tests=True)
    assert done.stdout == f"{installed}/.venv/bin/python\n", done.stderr


def test_what_does_not_fit_any_more_is_noticed_and_put_right(plain: Path) -> None:
    """One .venv goes through all of it: making one takes seconds."""
    (plain / ".venv").unlink()
    done = ensure(plain)
    assert "Installing what the project needs into .venv (first use)" in done.stdout, done.stderr
    assert "Making .venv with Python" in done.stdout

    with (plain / "requirements.txt").open("a") as file:
        file.write("# another line\n")
    done = ensure(plain)
    assert "(requirements.txt has changed)" in done.stdout, done.stderr
    assert "Making .venv" not in done.stdout

    stamp = plain / ".venv" / "denzel-install.json"
    stamp.write_text(json.dumps({**install_state(plain), "files": {}}))
    assert "(the last installation did not finish)" in ensure(plain).stdout

    for name in ("python", "python3"):
        (plain / ".venv" / "bin" / name).unlink()
        (plain / ".venv" / "bin" / name).symlink_to("/usr/bin/python-of-yesterday")
    done = ensure(plain)
    assert "(its Python is gone)" in done.stdout, done.stderr
    assert "Making .venv with Python" in done.stdout

    moved = plain.rename(plain.with_name("moved here"))
    done = ensure(moved)
    assert "(the project's folder has moved)" in done.stdout, done.stderr
    assert install_state(moved)["folder"] == str(moved / ".venv")
    assert ensure(moved).stdout == f"{moved}/.venv/bin/python\n"


def test_a_requirement_that_cannot_be_had_ends_with_pips_last_lines(plain: Path) -> None:
    broken = plain / "wheels" / "no_wheel-1.0-py3-none-any.whl"
    broken.parent.mkdir()
    broken.write_text("not an archive")
    (plain / "requirements.txt").write_text(f"no-wheel @ {broken.as_uri()}\n")
    done = make(plain, "install")
    assert done.returncode == 2
    assert broken.name in done.stderr
    assert "pip failed; its whole output is in .denzel/install.log" in done.stderr
    assert broken.name in (plain / ".denzel" / "install.log").read_text()
    assert ensure(plain).returncode != 0, "it is tried again"


def test_a_template_that_is_gone_is_said_and_is_no_obstacle(plain: Path) -> None:
    (plain / "requirements-test.txt").write_text("pytest-denzel[docker] @ file:///old/place%20of/the-template\n")
    done = make(plain, "install")
    assert done.returncode == 0
    assert (
        "requirements-test.txt takes pytest-denzel from /old/place of/the-template, which does not exist."
        in done.stderr
    )
    assert "make install DENZEL_TEMPLATE=FOLDER" in done.stderr
    assert ensure(plain).returncode == 0
    refused = ensure(plain, tests=True)
    assert "The tests need pytest-denzel, which could not be installed" in refused.stderr


def test_the_template_may_be_somewhere_else(plain: Path, tmp_path: Path) -> None:
    wrong = make(plain, "install", f"DENZEL_TEMPLATE={tmp_path}/nowhere")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f"DENZEL_TEMPLATE names {tmp_path}/nowhere, which is no folder here and no URL")

    (plain / "requirements-test.txt").write_text("pytest-denzel @ file:///old/place\n")
    template = tmp_path / "a template"
    shutil.copytree(REPOSITORY / "pytest_denzel", template / "pytest_denzel")
    (template / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (template / "backend.py").write_text(BACKEND)
    # what the folder holds is built by pip: an own backend needs no network
    done = make(plain, "install", f"DENZEL_TEMPLATE={template}")
    assert done.returncode == 0, done.stderr
    assert install_state(plain)["plugin"] is True, done.stderr
    assert install_state(plain)["template"] == str(template)
    assert ensure(plain, tests=True).stdout.count("\n") == 1, "it is remembered"


BACKEND = """
import zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "pytest_denzel-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        info = "pytest_denzel-1.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: pytest-denzel\\nVersion: 1\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("gh:owner/name", "git+https://github.com/owner/name.git"),
        ("https://host/name.git", "git+https://host/name.git"),
        ("git+ssh://git@host/name", "git+ssh://git@host/name"),
        ("file:///a%20b", "file:///a%20b"),
    ],
)
def test_a_template_may_be_named_in_many_ways(plain: Path, template: str, url: str) -> None:
    code = "import sys; from commands.local.plugin import template_url; print(template_url(sys.argv[1]))"
    done = subprocess.run(["python3", "-c", code, template], cwd=plain, capture_output=True, text=True)
    assert done.stdout.strip() == url, done.stderr


def test_os_commands_are_not_run_on_this_machine(plain: Path) -> None:
    with (plain / "requirements.sh").open("a") as file:
        file.write("touch /tmp/never\n")
    done = make(plain, "install")
    assert "Note: the commands of requirements.sh run in the containers' image only" in done.stdout
    assert not os.path.exists("/tmp/never")


def test_two_installations_wait_for_each_other(plain: Path) -> None:
    (plain / ".venv").unlink()
    commands = [subprocess.Popen(["make", "install"], cwd=plain, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    texts = [command.communicate(timeout=120)[0] for command in commands]
    assert [command.returncode for command in commands] == [0, 0]
    assert sum("Waiting for another installation in this folder ..." in text for text in texts) == 1
