"""Keys of clients: only hashes are kept, and a file of them is read while it changes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from denzel import api_keys
from denzel.api.task_id import TaskIds
from denzel.api_keys import HOLDS_AFTER, Key, Keys
from denzel.settings import Settings, SettingsError

ONE, TWO = api_keys.new_key(), api_keys.new_key()
HASH = api_keys.digest(ONE.encode()).hex()


def kept(name: str, key: str) -> Key:
    return Key(name, api_keys.digest(key.encode()).hex(), "2026-01-31")


def write(path: Path, *keys: Key) -> None:
    new = path.with_suffix(".new")
    new.write_text(api_keys.to_text(list(keys)))
    os.replace(new, path)


def owner(keys: Keys, key: str) -> str | None:
    return keys.owner({b"x-api-key": key.encode()})


def test_keys_are_long_and_different() -> None:
    assert len({api_keys.new_key() for _ in range(100)}) == 100
    assert len(ONE) == len(api_keys.PREFIX) + 43


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({b"x-api-key": ONE.encode()}, "alice"),
        ({b"authorization": b"Bearer " + ONE.encode()}, "alice"),
        ({b"authorization": b"bEARER   " + ONE.encode()}, "alice"),
        ({b"authorization": b"Basic dXNlcjpwYXNz", b"x-api-key": ONE.encode()}, "alice"),
        ({}, None),
        ({b"authorization": ONE.encode()}, None),
        ({b"authorization": b"Basic " + ONE.encode()}, None),
        ({b"authorization": b"Bearer"}, None),
        ({b"x-api-key": b""}, None),
        ({b"x-api-key": HASH.encode()}, None),
        ({b"x-api-key": ONE.encode()[:-1]}, None),
        ({b"x-api-key": TWO.encode(), b"authorization": b"Bearer " + ONE.encode()}, None),
        ({b"x-api-key": b"\xff\x00"}, None),
    ],
)
def test_a_key_is_known_by_its_hash(headers: dict[bytes, bytes], name: str | None) -> None:
    assert Keys(f"alice:{HASH}", "").owner(headers) == name


def test_without_any_none_is_asked_for(tmp_path: Path) -> None:
    keys = Keys("", str(tmp_path / "none"))
    assert keys.owner({}) == ""
    assert not keys.are_on


def test_an_edit_of_the_file_holds_soon(tmp_path: Path) -> None:
    file = tmp_path / "api_keys"
    keys = Keys("", str(file))
    write(file, kept("alice", ONE))
    time.sleep(HOLDS_AFTER + 0.05)
    assert (keys.owner({}), owner(keys, ONE)) == (None, "alice")
    write(file, kept("alice", ONE), kept("alice", TWO), kept("bob", TWO + "x"))  # rotation: both hold
    assert [owner(keys, key) for key in (TWO, ONE, TWO + "x")] == ["alice", "alice", "bob"]
    write(file, kept("alice", TWO))
    time.sleep(HOLDS_AFTER + 0.05)
    assert [owner(keys, key) for key in (ONE, TWO, TWO + "x")] == [None, "alice", None]


def test_nothing_that_happens_to_the_file_opens_the_service(tmp_path: Path) -> None:
    file = tmp_path / "api_keys"
    write(file, kept("alice", ONE))
    keys = Keys("", str(file))
    file.write_text("not a key\n")
    time.sleep(HOLDS_AFTER + 0.05)
    assert owner(keys, ONE) == "alice"
    assert "line 1 is not NAME SHA256 DAY" in keys.problem
    for action in (lambda: write(file), file.unlink):
        action()
        time.sleep(HOLDS_AFTER + 0.05)
        assert (owner(keys, ONE), keys.owner({})) == (None, None)
        assert keys.are_on
    write(file, kept("alice", ONE))
    assert owner(keys, ONE) == "alice"


def test_a_file_that_cannot_be_read_is_told_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "api_keys"
    file.write_text(f"{ONE}\n")
    with pytest.raises(ValueError, match="line 1 is not NAME SHA256 DAY"):
        Keys("", str(file))


@pytest.mark.parametrize("written", ["alice", f"alice:{ONE}", f"alice:{HASH}0", f":{HASH}", f"a b:{HASH}"])
def test_a_wrong_setting_is_told_without_repeating_it(written: str) -> None:
    with pytest.raises(SettingsError, match="API_KEYS: ") as raised:
        Settings.from_environment({"API_KEYS": written})
    assert ONE not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "starts"),
    [
        ({}, True),
        ({"API_BIND": "0.0.0.0:8000"}, False),
        ({"API_BIND": "0.0.0.0:8000", "API_OPEN": "yes"}, True),
        ({"API_BIND": "0.0.0.0:8000", "API_KEYS": f"alice:{HASH}"}, True),
        ({"API_BIND": "0.0.0.0:8000", "API_LISTENS_ON": "127.0.0.1"}, True),
        ({"API_LISTENS_ON": "127.0.0.1,10.0.0.1"}, False),
    ],
)
def test_others_reach_an_api_with_keys_alone_unless_that_is_meant(settings: dict[str, str], starts: bool) -> None:
    read = Settings.from_environment({"API_KEYS_FILE": "", **settings})
    if starts:
        return read.require_keys()
    with pytest.raises(SettingsError, match=r"no keys\. Make one: make key NAME=yours .* set API_OPEN=yes"):
        read.require_keys()


def test_ids_belong_to_their_owner() -> None:
    ids = TaskIds("secret")
    nobodys, of_alice = ids.new(), ids.new("alice")
    assert ids.age(of_alice, "alice") is not None
    assert ids.age(of_alice, "bob") is ids.age(of_alice) is None
    assert None not in (ids.age(nobodys), ids.age(nobodys, "alice"), ids.age(nobodys, "bob"))


@pytest.mark.parametrize("written", ["10", "10/year", "0/second", "-1/second", "10/second;5/day", "x/second"])
def test_a_wrong_rate_is_told(written: str) -> None:
    with pytest.raises(SettingsError, match=r"API_RATE_LIMIT.*: expected limits such as 10/second"):
        Settings.from_environment({"API_RATE_LIMIT": written})
