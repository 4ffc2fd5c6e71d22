"""Receivers whose certificate is from an authority that only CALLBACK_CA knows."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from denzel.callback_addresses import CallbackPolicy
from denzel.callbacks.sender import Attempt, Sender
from denzel.settings import Settings, SettingsError
from tests.service.support.sending import SECRET
from tests.support.receivers import Receivers, Reply
from tests.support.services import Service
from tests.support.waiting import eventually

CLOSING = Reply(headers={"Connection": "close"})  # nothing is left open when a test ends


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ca.pem`, an authority; `server.pem` and `server.key`, a certificate that it has signed for localhost."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl(
        "req", "-x509", *key, "-subj", "/CN=House CA", "-addext", "keyUsage=critical,keyCertSign",
        "-keyout", folder / "ca.key", "-out", folder / "ca.pem",
    )  # fmt: skip
    openssl(
        "req", "-x509", *key, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        "-addext", "basicConstraints=critical,CA:FALSE", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key",
        "-keyout", folder / "server.key", "-out", folder / "server.pem",
    )  # fmt: skip
    return folder


@pytest.fixture
def tls(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context


def send(uri: str, ca: str) -> Attempt:
    async def once() -> Attempt:
        async with Sender(CallbackPolicy("127.0.0.1"), SECRET, 5.0, ca=ca) as sender:
            return await sender.send("id", uri, b"{}")

    return asyncio.run(once())


def test_a_house_ca_is_trusted_when_it_is_named(receivers: Receivers, tls: ssl.SSLContext, folder: Path) -> None:
    receiver = receivers.open(CLOSING, tls=tls)
    uri = f"https://localhost:{receiver.port}/"
    assert send(uri, str(folder / "ca.pem")).error is None
    refused = send(uri, "")
    assert "CALLBACK_CA in .env names certificates to trust" in str(refused.error)
    assert len(receiver.received) == 1


def test_the_usual_authorities_stay(folder: Path) -> None:
    usual = {certificate["serialNumber"] for certificate in ssl.create_default_context().get_ca_certs()}
    sender = Sender(CallbackPolicy(), SECRET, ca=str(folder / "ca.pem"))
    trusted = {certificate["serialNumber"] for certificate in sender._tls.get_ca_certs()}
    assert usual < trusted


@pytest.mark.parametrize("executor", ["queue", "inline"])
def test_a_service_calls_back(
    executor: str, new_service: Callable[..., Service], receivers: Receivers, tls: ssl.SSLContext, folder: Path
) -> None:
    receiver = receivers.open(CLOSING, tls=tls)
    service = new_service(CALLBACK_CA="app/assets/ca.pem", CALLBACK_ALLOW="127.0.0.1", EXECUTOR=executor)
    (service.project / "app/assets/ca.pem").write_bytes((folder / "ca.pem").read_bytes())
    service.start(*(["redis", "api", "denzel"] if executor == "queue" else ["api"]))
    task_id = service.submit({"data": {"a": 1}, "callback_uri": f"https://localhost:{receiver.port}/"})
    assert [received.task_id for received in receiver.wait()] == [task_id]
    eventually(lambda: receiver.open == 0, "the connection is closed")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "this file cannot be read: No such file or directory"),
        (b"", "this file holds no certificate"),
        (b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", "this file holds no certificate"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=f"CALLBACK_CA is '{path}': {problem}"):
        Settings.from_environment({"CALLBACK_CA": str(path)})


def test_nothing_starts_without_the_file(new_service: Callable[..., Service]) -> None:
    service = new_service(CALLBACK_CA="app/assets/no.pem")
    service.start_only("denzel")
    assert service.wait_for_end("denzel") != 0
    assert "CALLBACK_CA is 'app/assets/no.pem': this file cannot be read: No such file" in service.log("denzel")
