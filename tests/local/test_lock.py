"""Locks: what they name is checked by its hash, the rest needs none; `make lock` makes one of everything."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.running import make
from tests.local.test_pip_settings import local_package
from tests.support.house_index import HouseIndex, house_index

PACKAGES = ("house-framework", "house-lib", "house-new")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseIndex]:
    with house_index(tmp_path_factory.mktemp("index"), *PACKAGES) as index:
        yield index


@pytest.fixture
def project(plain: Path, index: HouseIndex) -> Path:
    """A project whose framework is one package of the index, which is locked, and no .venv yet."""
    (plain / ".venv").unlink()
    (plain / "requirements-denzel.txt").write_text("house-framework\n")
    shutil.copy(index.ca, plain / "ca.pem")
    set_env(plain, PIP_INDEX_URL=index.url, PIP_CERT="ca.pem")
    url = index.url.replace("/simple", "/files/house_framework-1-py3-none-any.whl")
    wheel = subprocess.run(["curl", "-s", "--cacert", index.ca, url], check=True, capture_output=True).stdout
    write_lock(plain, hashlib.sha256(wheel).hexdigest())
    return plain


def set_env(project: Path, **values: str) -> None:
    lines = (project / ".env").read_text().splitlines()
    kept = [line for line in lines if line.partition("=")[0] not in values]
    (project / ".env").write_text("\n".join([*kept, *(f"{name}={value}" for name, value in values.items())]) + "\n")


def write_lock(project: Path, digest: str) -> None:
    made_of = hashlib.sha256((project / "requirements-denzel.txt").read_bytes()).hexdigest()
    head = f"# Python 3.10\n# sha256:{made_of} requirements-denzel.txt\n"
    (project / "requirements-denzel.lock").write_text(f"{head}house-framework==1 \\\n    --hash=sha256:{digest}\n")


def imports(project: Path, *modules: str) -> bool:
    command = [project / ".venv/bin/python", "-c", f"import {', '.join(modules)}"]
    return subprocess.run(command, capture_output=True, cwd=project / "logs").returncode == 0


def test_a_file_that_is_not_the_locked_one_is_refused(project: Path) -> None:
    write_lock(project, "0" * 64)
    done = make(project, "install")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not imports(project, "house_framework")


def test_what_no_lock_names_needs_no_hash(project: Path) -> None:
    local_package(project)
    shutil.copytree(project / "lib", project / "edited")
    for name in ("pyproject.toml", "backend.py"):
        text = (project / "edited" / name).read_text()
        (project / "edited" / name).write_text(text.replace("mine", "edited"))
    (project / "requirements.txt").write_text("house-lib\n./lib\n-e ./edited\n")
    done = make(project, "install")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Note: " not in done.stdout.replace("Note: the commands", ""), done.stdout
    assert imports(project, "house_framework", "house_lib", "mine", "edited")


def test_make_lock_pins_everything_and_a_new_line_is_not_refused(project: Path, index: HouseIndex) -> None:
    set_env(project, PIP_INDEX_URL="", PIP_CERT="")
    (project / "requirements-denzel.txt").write_text("# nothing\n")
    first = make(project, "lock")  # uv comes from the usual index, which a company's mirrors
    assert first.returncode == 0, first.stdout + first.stderr
    (project / "requirements-denzel.txt").write_text("house-framework\n")
    set_env(project, PIP_INDEX_URL=index.url, PIP_CERT="ca.pem")
    local_package(project)
    (project / "requirements.txt").write_text("house-lib\n-e ./lib\n")

    done = make(project, "lock")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Locked 2 packages in requirements.lock" in done.stdout
    assert re.search(r"BASE_IMAGE stays python:3.13-slim: .+", done.stderr) or "Pinned BASE_IMAGE=" in done.stdout
    text = (project / "requirements.lock").read_text()
    assert set(re.findall(r"(?m)^([\w-]+)==1 \\\n    --hash=sha256:[0-9a-f]{64}$", text)) == set(PACKAGES[:2])
    for told in ("127.0.0.1", "://", "lib\n", str(project)):
        assert told not in text.replace("house-lib", "")

    done = make(project, "install")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Note: requirements" not in done.stdout
    with (project / "requirements.txt").open("a") as file:
        file.write("house-new\n")
    done = make(project, "install")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "Note: requirements.txt changed after requirements.lock was made; what is new in it is installed" in done.stdout
    )
    assert imports(project, "house_framework", "house_lib", "house_new", "mine")

    # what cannot be resolved is told, and the lock stays
    requirement = project / "requirements.txt"
    former = requirement.read_text()
    requirement.write_text(f"{former}house-lib==2\n")
    done = make(project, "lock")
    assert done.returncode != 0
    assert (project / "requirements.lock").read_text() == text
    requirement.write_text(former)

    # what is locked is checked
    (project / "requirements.lock").write_text(re.sub(r"sha256:[0-9a-f]{64}$", f"sha256:{'0' * 64}", text, flags=re.M))
    shutil.rmtree(project / ".venv")
    done = make(project, "install")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
