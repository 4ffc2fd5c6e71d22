"""The Lua scripts, whatever they are about."""

from __future__ import annotations

import re
from pathlib import Path

from denzel.queue import scripts
from tests.service.support.tasks import Tasks


def test_scripts_survive_a_restart_of_redis(tasks: Tasks) -> None:
    tasks.submit("a")
    tasks.redis.script_flush()
    assert tasks.work("token") == ["a"]
    tasks.redis.script_flush()
    assert tasks.cancel("a") == "STARTED"


def test_no_command_is_newer_than_redis_6_2(tasks: Tasks) -> None:
    folder = Path(scripts.__file__).parent / "lua"
    sources = [path.read_text(encoding="utf-8") for path in folder.glob("*.lua")]
    assert len(sources) >= 15
    names = sorted({name for source in sources for name in re.findall(r"redis\.call\('([A-Z]+)'", source)})
    docs = tasks.redis.execute_command("COMMAND DOCS", *names)
    flat = docs if isinstance(docs, dict) else dict(zip(docs[::2], docs[1::2], strict=True))
    assert len(flat) == len(names)
    for name, fields in flat.items():
        fields = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
        assert tuple(map(int, fields[b"since"].split(b"."))) <= (6, 2, 99), name
