"""A package index of a company's own, named in `.env`, and what is said where it cannot be used."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.running import make
from tests.support.house_index import PASSWORD, HouseIndex, house_index
from tests.support.ports import free_port


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseIndex]:
    with house_index(tmp_path_factory.mktemp("index"), "house-lib", "house-framework") as index:
        yield index


@pytest.fixture
def project(plain: Path, index: HouseIndex) -> Path:
    """A project with packages that this index alone has, and no .venv yet."""
    (plain / ".venv").unlink()
    (plain / "requirements.txt").write_text("house-lib\n")
    (plain / "requirements-denzel.txt").write_text("house-framework\n")
    shutil.copy(index.ca, plain / "ca.pem")
    return plain


def set_env(project: Path, **values: str) -> None:
    lines = (project / ".env").read_text().splitlines()
    kept = [line for line in lines if line.partition("=")[0] not in values]
    (project / ".env").write_text("\n".join([*kept, *(f"{name}={value}" for name, value in values.items())]) + "\n")


def has_packages(project: Path) -> bool:
    command = [project / ".venv/bin/python", "-c", "import house_lib, house_framework"]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_the_index_of_env_is_used_with_its_certificate(project: Path, index: HouseIndex, absolute: bool) -> None:
    set_env(project, PIP_INDEX_URL=index.url, PIP_CERT=str(index.ca) if absolute else "ca.pem")
    # the shell's are another program's
    (project / "other.pem").write_text("")
    theirs = dict.fromkeys(("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), f"{project}/other.pem")
    done = make(project, "install", PIP_INDEX_URL="https://127.0.0.1:9/simple", **theirs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert has_packages(project)
    assert "/files/house_lib-1-py3-none-any.whl" in index.asked
    written = (project / ".denzel/install.log").read_text()
    assert "https://builder:****@" in written
    assert PASSWORD not in written + done.stdout + done.stderr


def test_a_further_index(project: Path, index: HouseIndex) -> None:
    set_env(project, PIP_EXTRA_INDEX_URL=index.url, PIP_CERT="ca.pem")
    done = make(project, "install", PIP_INDEX_URL=index.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert has_packages(project)


def test_without_an_index_in_env_pip_has_its_own(project: Path, index: HouseIndex) -> None:
    theirs = dict.fromkeys(("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), str(index.ca))
    done = make(project, "install", PIP_INDEX_URL=index.url, **theirs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert has_packages(project)


def test_what_refuses_or_is_refused_is_named_with_its_setting(project: Path, index: HouseIndex) -> None:
    def failure(**values: str) -> str:
        set_env(project, **values)
        done = make(project, "install", PIP_RETRIES="1", PIP_DEFAULT_TIMEOUT="5")
        assert done.returncode != 0, done.stdout
        assert PASSWORD not in done.stdout + done.stderr
        return done.stderr

    assert (
        "The certificate of the package index is not accepted. PIP_CERT in .env names the file (PEM) of the authority "
        "behind it." in failure(PIP_INDEX_URL=index.url, PIP_CERT="")
    )
    assert "PIP_CERT in .env names no.pem, which cannot be read: No such file or directory." in failure(
        PIP_CERT="no.pem"
    )
    (project / "der.pem").write_bytes(b"\x30\x82")
    assert "PIP_CERT in .env names der.pem, which holds no certificate (PEM: " in failure(PIP_CERT="der.pem")
    wrong = index.with_password("wrong")
    refused = failure(PIP_CERT="ca.pem", PIP_INDEX_URL=wrong)
    assert "refuses the user or the password" in refused
    assert ": PIP_INDEX_URL=https://user:password@host/... in .env, characters" in refused
    port = free_port()
    assert (
        f"The package index of PIP_INDEX_URL in .env (https://127.0.0.1:{port}/simple) cannot be reached."
        in failure(PIP_INDEX_URL=f"https://me:{PASSWORD}@127.0.0.1:{port}/simple")
    )
    (project / "requirements.txt").write_text("not-there-at-all\n")
    shown = index.url.replace(f"builder:{PASSWORD}@", "")
    assert f"It was looked for in the package index of PIP_INDEX_URL in .env: {shown}" in failure(
        PIP_INDEX_URL=index.url
    )
    assert "PIP_INDEX_URL in .env must be an address such as https://pypi.example.com/simple" in failure(
        PIP_INDEX_URL="pypi.example.com"
    )


def test_doctor_knows_a_certificate_that_is_not_there(plain: Path) -> None:
    set_env(plain, PIP_CERT="no.pem")
    done = make(plain, "doctor")
    assert "PROBLEM Settings: PIP_CERT in .env names no.pem, which cannot be read: No such file" in done.stdout
