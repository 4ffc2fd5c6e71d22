"""The API's keys from the side of the commands: the file of the hashes, and the key that the commands themselves send.

Where there are keys, the commands have one of their own, called `make`: its hash in the file, itself in `.denzel/key`,
which only the owner of the folder can read. DENZEL_API_KEY of the shell goes before it.
"""

from __future__ import annotations

import os
import time

from commands.shared.env import read_env, write_private
from commands.shared.project import MARKERS, ROOT, CommandError
from denzel import api_keys
from denzel.api_keys import Key

FOLDER = ROOT / "keys"
FILE = FOLDER / "api_keys"
OWN_NAME = "make"
OWN_FILE = MARKERS / "key"


def kept() -> list[Key]:
    """The keys of the file."""
    try:
        return api_keys.of_file(FILE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise CommandError(f"{FILE.relative_to(ROOT)}: {error}.") from None


def are_on() -> bool:
    """Whether requests have to bring a key."""
    return FILE.exists() or bool(read_env().get("API_KEYS"))


def keep(keys: list[Key]) -> None:
    """Write the file anew; a service that runs reads it within HOLDS_AFTER. The containers' user can read it."""
    FOLDER.mkdir(exist_ok=True)
    write_private(FILE, api_keys.to_text(keys))
    FOLDER.chmod(0o755)
    FILE.chmod(0o644)


def add(name: str) -> str:
    """Make a key of this name; what its client sends."""
    key = api_keys.new_key()
    made = time.strftime("%Y-%m-%d")
    keep([*kept(), Key(name, api_keys.digest(key.encode()).hex(), made)])
    return key


def headers() -> dict[str, str]:
    """What the commands' requests to the API bring."""
    if given := os.environ.get("DENZEL_API_KEY"):
        return {"X-API-Key": given}
    if not are_on():
        return {}
    try:
        key = OWN_FILE.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        key = ""
    known = kept()
    if api_keys.digest(key.encode()).hex() not in {one.digest for one in known}:
        try:
            keep([one for one in known if one.name != OWN_NAME])
            key = add(OWN_NAME)
            MARKERS.mkdir(mode=0o700, exist_ok=True)
            write_private(OWN_FILE, key + "\n")
        except OSError:  # somebody else's folder: the answer will say that a key is needed
            return {}
    return {"X-API-Key": key}
