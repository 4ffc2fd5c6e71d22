"""A company's package index: HTTPS with a certificate of its own authority, for one user with a password."""

from __future__ import annotations

import base64
import contextlib
import io
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

USER, PASSWORD = "builder", "s3cret-of-the-index"


@dataclass(frozen=True)
class HouseIndex:
    """An index that runs.

    Attributes:
        url: its address, with user and password.
        ca: the certificate of the authority that its own is from.
        asked: the paths that were asked for with the right password.
    """

    url: str
    ca: Path
    asked: list[str]

    def with_password(self, password: str) -> str:
        """Its address with another password."""
        return self.url.replace(PASSWORD, password)


@contextlib.contextmanager
def house_index(folder: Path, *packages: str, host: str = "127.0.0.1", known_as: str = "") -> Iterator[HouseIndex]:
    """Serve one wheel of each package; each brings a module of its name (`-` as `_`).

    Args:
        folder: for the certificates.
        packages: their names.
        host: the address to listen on.
        known_as: the host name in its address and certificate; the address itself where it has none.
    """
    wheels = {f"{name.replace('-', '_')}-1-py3-none-any.whl": _wheel(name.replace("-", "_")) for name in packages}
    pages = {
        f"/simple/{name}/": [file for file in wheels if file.startswith(f"{name.replace('-', '_')}-")]
        for name in packages
    }
    word = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != f"Basic {word}":
                self._answer(401, b"", **{"WWW-Authenticate": 'Basic realm="house"'})
                return
            asked.append(self.path)
            if self.path in pages:
                links = "".join(f'<a href="/files/{name}">{name}</a>' for name in pages[self.path])
                self._answer(200, f"<!DOCTYPE html><html><body>{links}</body></html>".encode())
            elif wheel := wheels.get(self.path.removeprefix("/files/")):
                self._answer(200, wheel)
            else:
                self._answer(404, b"")

        def _answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            kind = "application/octet-stream" if self.path.endswith(".whl") else "text/html"
            for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_certificate(folder, f"DNS:{known_as}" if known_as else f"IP:{host}"))
    server = _Server((host, 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"https://{USER}:{PASSWORD}@{known_as or host}:{server.server_port}/simple"
        yield HouseIndex(url, folder / "house-ca.pem", asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Nothing: clients that do not trust the certificate hang up."""


def _wheel(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{name}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        wheel.writestr(f"{name}-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-1.dist-info/RECORD", "")
    return buffer.getvalue()


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """The certificate of the server and its key, and beside them `house-ca.pem`."""
    key, signed = folder / "house.key", folder / "house.pem"
    new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj"]
    ca, ca_key = folder / "house-ca.pem", folder / "house-ca.key"
    for words in (
        [
            *new,
            "/CN=House",
            "-x509",
            "-days",
            "2",
            "-addext",
            "keyUsage=critical,keyCertSign",
            "-keyout",
            ca_key,
            "-out",
            ca,
        ],
        [
            *new,
            "/CN=index",
            "-x509",
            "-days",
            "2",
            "-CA",
            ca,
            "-CAkey",
            ca_key,
            "-addext",
            f"subjectAltName={name}",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            key,
            "-out",
            signed,
        ],
    ):
        subprocess.run(words, check=True, capture_output=True)
    return signed, key
