"""``make backup`` and ``make restore``: the data of Redis in one file, and from one."""

from __future__ import annotations

import time
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

from commands.containers import stored as in_containers
from commands.local import stored as of_dev
from commands.shared import backup_file
from commands.shared.arguments import choice, parse_arguments, switch
from commands.shared.env import project_name, read_env
from commands.shared.project import ROOT, CommandError
from commands.shared.running import launched, running_dev
from commands.shared.screen import say

FOLDER = ROOT / "backups"
_PLACES = {"containers": in_containers, "dev": of_dev}
# Names that tell the project are another one's: they become this project's, and the messages of its broker go, which
# only wake workers.
_ADOPT = """
local from, to, identity = unpack(ARGV)
local cursor, moved = '0', {}
repeat
    local found = redis.call('SCAN', cursor, 'MATCH', 'denzel/*', 'COUNT', 1000)
    cursor = found[1]
    for _, key in ipairs(found[2]) do
        if string.sub(key, 1, #from) == from then moved[key] = to .. string.sub(key, #from + 1) end
    end
until cursor == '0'
for key, name in pairs(moved) do
    local rest = string.sub(key, #from + 1)
    if string.match(rest, '^_kombu') or string.match(rest, '^denzel%.') then
        redis.call('DEL', key)
    elseif key ~= name then
        redis.call('RENAME', key, name)
    end
end
redis.call('HSET', to .. 'project', 'identity', identity)
return redis.status_reply('OK')
"""


def backup(arguments: list[str]) -> int:
    """Write the data of one moment into a file; the service goes on."""
    values = parse_arguments(arguments, {"FILE": "", "OF": ""})
    place = _place(values["OF"])
    env = read_env()
    name, moment = project_name(env), time.gmtime()
    path = ROOT / (values["FILE"] or FOLDER / f"{name}-{time.strftime('%Y%m%d-%H%M%S', moment)}.zip")
    if path.exists():
        raise CommandError(f"{path} is there already: choose another FILE=...")
    if not values["FILE"]:
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        (FOLDER / ".gitignore").write_text("*\n", encoding="utf-8")
    about = backup_file.About(name, env.get("PROJECT_ID", ""), time.strftime("%Y-%m-%d %H:%M:%S UTC", moment))
    size = backup_file.write(path, about, place.chunks())
    say(f"{_shown(path)}: the data of {place.NAME}, {size / 1e6:.1f} MB of {backup_file.read(path).redis}.")
    say("Secrets are not in it: keep .env as well. To bring it back: make restore FILE=" + _shown(path))
    return 0


def restore(arguments: list[str]) -> int:
    """Put the data of a backup in the place of what is there, which stays beside."""
    values = parse_arguments(arguments, {"FILE": "", "OF": "", "FORCE": "0"})
    force = switch(values["FORCE"], "FORCE")
    if not values["FILE"]:
        found = sorted(FOLDER.glob("*.zip"), key=lambda path: path.stat().st_mtime)
        raise CommandError("Must pass FILE=..., a backup" + (f": the newest is {_shown(found[-1])}" if found else ""))
    place = _place(values["OF"], for_restore=True)
    path = ROOT / values["FILE"]
    about = backup_file.read(path)
    env = read_env()
    name, identity = project_name(env), env.get("PROJECT_ID", "")
    is_other = (about.project, about.identity) != (name, identity)
    if is_other and not force:
        raise CommandError(
            f"This backup is of another project: {about.project} with PROJECT_ID={about.identity}; this one is {name} "
            f"with PROJECT_ID={identity}. To make its tasks and results this project's: FORCE=1"
        )
    server = place.server_version()
    if _is_newer(about.redis, server):
        raise CommandError(
            f"This backup is of {about.redis}, which {server} cannot read. Nothing is changed: take that version or a "
            "newer one (REDIS_IMAGE in .env; for make dev the redis-server on PATH)"
        )
    ran = place.runs()
    place.receive(backup_file.data(path))
    said = place.restore()
    if is_other:
        place.call("EVAL", _ADOPT, "0", _prefix(about.project), _prefix(name), quote(identity, safe=""))
    say(f"The data are those of {about.moment} again, from {_shown(path)}.")
    if said:
        say(said)
    if ran:
        place.start_again()
    else:
        say(f'Start with them: "{place.start()}"')
    return 0


def _place(of: str, for_restore: bool = False) -> ModuleType:
    """Whose data are meant: of the containers or of `make dev`; what runs, else what has data."""
    if read_env().get("REDIS_URL"):
        raise CommandError(
            "The data lie in the Redis of REDIS_URL, which others run, and which may hold theirs, too. Make backups "
            "with its own means (docs: Back up and restore); a snapshot of it restores this project's tasks as well."
        )
    if of:
        return _PLACES[choice(of, "OF", tuple(_PLACES))]
    if running_dev() and not launched():
        return of_dev
    if launched():
        return in_containers
    found = [place for place in (in_containers, of_dev) if place.exist()]
    if len(found) == 2:
        raise CommandError("There are data of the containers and of make dev. Say which: OF=containers or OF=dev")
    if found:
        return found[0]
    if for_restore:
        raise CommandError("There are no data here yet. Say where these are to go: OF=containers or OF=dev")
    raise CommandError("There are no data of Redis here.")


def _is_newer(written: str, here: str) -> bool:
    """Whether data are of a newer version than the server that is here; where the kinds differ the format tells."""
    (kind, version), (own, mine) = written.split(), here.split()
    return kind == own and _numbers(version) > _numbers(mine)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")[:2]]


def _prefix(name: str) -> str:
    """What the names of a project's keys begin with."""
    return f"denzel/{quote(name, safe='')}:"


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
