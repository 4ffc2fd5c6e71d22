"""Who may read what is mounted into the containers."""

from __future__ import annotations

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
