"""Who may read what is mounted into the containers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commands.containers import permissions


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "allowed"),
    [(0o644, 10001, 10001, True), (0o600, 10001, 10001, False), (0o640, 10001, 0, True), (0o600, 0, 0, True)],
)
def test_who_may_read_a_file(tmp_path: Path, mode: int, uid: int, gid: int, allowed: bool) -> None:
    path = tmp_path / "model.pkl"
    path.touch()
    path.chmod(mode)
    owner = path.stat()
    uid, gid = (owner.st_uid if uid == 0 else uid), (owner.st_gid if gid == 0 else gid)
    assert permissions._allows(path, uid, gid, 0o4) is allowed


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder whose containers run as another user."""
    monkeypatch.setattr(permissions, "ROOT", tmp_path)
    monkeypatch.setattr(permissions, "_containers_user", lambda: (54321, 54321))
    for name in permissions.MOUNTED:
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    return tmp_path


def test_prometheus_and_grafana_can_read_what_is_mounted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "_containers_user", lambda: (os.getuid(), os.getgid()))
    monkeypatch.setattr(permissions, "update_env", lambda **values: None)
    monkeypatch.setattr(
        permissions, "read_env", lambda: {"COMPOSE_FILE": "docker-compose.yml:docker-compose.metrics.yml"}
    )
    (root / "logs").mkdir()
    folder = root / "metrics/grafana"
    folder.mkdir(parents=True)
    write(folder / "denzel.yml", "a: 1", 0o600)
    folder.chmod(0o700)
    permissions.prepare()
    assert permissions._allows(folder, 65534, 65534, 0o5)
    assert permissions._allows(folder / "denzel.yml", 65534, 65534, 0o4)


def write(path: Path, text: str, mode: int) -> None:
    path.write_text(text)
    path.chmod(mode)


KEY = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("name", ["proxy/key.pem", "proxy/site.key", "app/service-account.json"])
def test_a_private_key_is_made_readable_to_nobody_else(root: Path, name: str) -> None:
    write(root / name, KEY, 0o600)
    text = permissions.unreadable() or ""
    assert f"sudo chown 54321:54321 {name}" in text
    assert "chmod" not in text
    write(root / "app/model.pkl", "", 0o600)
    text = permissions.unreadable() or ""
    chmod = next(line for line in text.splitlines() if "chmod" in line)
    assert "app/model.pkl" in chmod or "app" in chmod.split()
    assert not set(chmod.split()) & {name, Path(name).parts[0]}


def test_whole_folders_are_opened_where_nothing_in_them_is_private(root: Path) -> None:
    write(root / "app/model.pkl", "", 0o600)
    assert (permissions.unreadable() or "").endswith("chmod -R a+rX app denzel entrypoints proxy")
    write(root / "proxy/key.pem", KEY, 0o644)
    assert (permissions.unreadable() or "").endswith("chmod -R a+rX app denzel entrypoints")
    write(root / "app/id_rsa", "", 0o644)
    assert (permissions.unreadable() or "").endswith("chmod a+rX app/model.pkl")
