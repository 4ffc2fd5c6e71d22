"""TLS in the proxy: switched on by settings in .env, with a certificate of the project, nothing edited but that."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.e2e.project import Project
from tests.support.bakery import rebake
from tests.support.ports import free_port
from tests.support.waiting import eventually

PAGE = "https://app.example.com"


def make_certificate(folder: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-out", folder / "fullchain.pem", "-keyout", folder / "privkey.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    owner = folder.stat()
    for path in folder.glob("*.pem"):
        os.chown(path, owner.st_uid or 10001, owner.st_gid or 10001)
        path.chmod(0o600)


def served_certificate(port: int) -> bytes:
    """The certificate that a server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain, context.wrap_socket(plain) as secure:
        return hashlib.sha256(secure.getpeercert(binary_form=True) or b"").digest()


@pytest.fixture(scope="module")
def launched(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with TLS in its proxy."""
    project = new_project(tmp_path_factory.mktemp("tls"))
    project.use_pipeline("doubling")
    make_certificate(project.path / "proxy")
    project.set_env(
        COMPOSE_FILE="docker-compose.yml:docker-compose.proxy.yml:docker-compose.tls.yml:docker-compose.user.yml",
        PROXY_PORT=str(free_port()), PROXY_TLS_PORT=str(free_port()), CORS_ORIGINS=PAGE,
    )  # fmt: skip
    mine = "services:\n  api:\n    environment: {OF_MINE: '1'}\n"
    (project.path / "docker-compose.user.yml").write_text(mine)
    output = project.launch()
    assert f"https://127.0.0.1:{project.env('PROXY_TLS_PORT')}" in output.out
    return project


def test_the_api_answers_over_tls(launched: Project) -> None:
    url = f"https://localhost:{launched.env('PROXY_TLS_PORT')}"
    certificate = str(launched.path / "proxy/fullchain.pem")
    answer = requests.post(f"{url}/predict", json={"data": {"a": 1}}, verify=certificate, timeout=30)
    assert answer.status_code == 200
    assert requests.get(f"http://localhost:{launched.env('PROXY_PORT')}/ping", timeout=30).text == "pong"
    assert requests.head(f"{url}/ping", verify=certificate, timeout=30).status_code == 200


def test_errors_of_the_proxy_can_be_read_by_a_page(launched: Project) -> None:
    url = f"http://localhost:{launched.env('PROXY_PORT')}/predict"
    body = b"x" * (int(launched.env("MAX_BODY_BYTES")) + 1)
    for origin, allowed in ((PAGE, PAGE), ("https://other.example", None)):
        response = requests.post(url, data=body, headers={"Origin": origin}, timeout=30)
        assert response.status_code == 413
        assert response.headers.get("Access-Control-Allow-Origin") == allowed


def test_a_renewed_certificate_is_taken_up(launched: Project) -> None:
    port = int(launched.env("PROXY_TLS_PORT"))
    before = served_certificate(port)
    make_certificate(launched.path / "proxy")
    launched.run("restart")
    eventually(lambda: served_certificate(port) != before, "the new certificate is served")


def test_a_compose_file_of_ones_own_counts_and_outlives_a_bake(launched: Project) -> None:
    assert "OF_MINE=1" in launched.compose("exec", "-T", "api", "env").out
    before = (launched.path / "docker-compose.user.yml").read_text()
    rebake(launched.path, example="none")
    assert (launched.path / "docker-compose.user.yml").read_text() == before


def test_neither_git_nor_the_image_gets_the_key(launched: Project) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=launched.path, check=True)
    done = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"], cwd=launched.path, capture_output=True, text=True
    )
    assert "proxy/nginx.conf" in done.stdout
    assert ".pem" not in done.stdout
    assert "proxy" in (launched.path / ".dockerignore").read_text().splitlines()


def test_a_missing_certificate_is_named(launched: Project) -> None:
    launched.set_env(PROXY_CERT="proxy/no.pem")
    launched.make("restart")
    eventually(
        lambda: (
            "proxy/no.pem (PROXY_CERT and PROXY_KEY in .env): there is no such file"
            in launched.compose("logs", "proxy").out
        ),
        "the log names the file",
        30,
    )
