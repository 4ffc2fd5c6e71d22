"""What `make doctor` says of a machine without Docker, of ports that others hold, and of files from Windows."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.commands.test_doctor import doctor, edit, make, without_docker

__all__ = ["without_docker"]


@pytest.fixture
def project(baked: Path, tmp_path: Path) -> Path:
    """A project to do with as one likes."""
    return Path(shutil.copytree(baked, tmp_path / "project"))


def test_a_machine_without_docker_is_ready_for_make_dev(project: Path, without_docker: str) -> None:
    done = make(project, "doctor", PATH=without_docker)
    assert "make launch: needs Docker." in done.stdout
    if "PROBLEM" not in done.stdout:
        assert "make dev: ready. make launch: needs Docker.\nNo problem found." in done.stdout
        assert done.returncode == 0


def test_what_holds_a_port_is_named(project: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        edit(project, API_PORT=str(other.getsockname()[1]))
        verdict, text = doctor(project)["Ports"]
    assert verdict == "PROBLEM"
    assert f"(pid {os.getpid()}) in " in text


@pytest.mark.parametrize("name", [".env", "Procfile", "requirements.sh", "entrypoints/api.sh"])
@pytest.mark.parametrize("how", ["CRLF", "BOM"])
def test_files_from_windows_are_named(project: Path, name: str, how: str) -> None:
    path = project / name
    text = path.read_bytes()
    path.write_bytes(text.replace(b"\n", b"\r\n") if how == "CRLF" else b"\xef\xbb\xbf" + text)
    verdict, said = doctor(project)["Line ends"]
    assert verdict == "PROBLEM"
    assert said.startswith(f"{name}: saved with the line ends of Windows (CRLF) or a BOM")


def test_a_template_that_is_gone_is_told_of(project: Path) -> None:
    assert doctor(project)["Tests"][0] == "ok"
    path = project / "requirements-test.txt"
    path.write_text("pytest-denzel[docker] @ file:///gone/denzel-template\n")
    verdict, text = doctor(project)["Tests"]
    assert verdict == "note"
    assert text.startswith(
        "requirements-test.txt takes pytest-denzel from /gone/denzel-template, which does not exist."
    )
    assert "make install DENZEL_TEMPLATE=" in text
