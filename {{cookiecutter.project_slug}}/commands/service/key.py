"""`make key`: a new key for a client of the API, and the end of old ones; a service that runs heeds it at once."""

from __future__ import annotations

import time
from itertools import groupby

from commands.shared import client_key
from commands.shared.arguments import choice, parse_arguments
from commands.shared.env import read_env
from commands.shared.project import CommandError
from commands.shared.screen import say
from denzel import api_keys
from denzel.api_keys import Key


def run(arguments: list[str]) -> int:
    """Make a key and print it, once, alone on the last line; or take keys back; without a name list the names."""
    options = parse_arguments(arguments, {"NAME": "", "REVOKE": ""})
    name = options["NAME"]
    if not name:
        if options["REVOKE"]:
            raise CommandError("Whose keys? make key NAME=... REVOKE=old (all but the newest) or REVOKE=all")
        say(_listed(client_key.kept()))
        return 0
    try:
        api_keys.usable_name(name)
    except ValueError as error:
        raise CommandError(f"NAME: {error}.") from None
    if options["REVOKE"]:
        _revoke(name, choice(options["REVOKE"], "REVOKE", ("old", "all")))
        return 0
    first = not client_key.are_on()
    before = sum(key.name == name for key in client_key.kept())
    key = client_key.add(name)
    time.sleep(api_keys.HOLDS_AFTER + 0.1)  # then every process has seen it
    if first:
        say("From now on every request has to bring a key.")
    if before:
        say(f"The keys of {name} from before hold, too. When nobody uses them: make key NAME={name} REVOKE=old")
    say(f"The key of {name}, to be sent as Authorization: Bearer KEY or X-API-Key: KEY. It is not shown again:")
    say(key)
    return 0


def _revoke(name: str, which: str) -> None:
    keys = client_key.kept()
    own = [key for key in keys if key.name == name]
    if not own:
        more = " It may stand in API_KEYS of .env." if f"{name}:" in read_env().get("API_KEYS", "") else ""
        raise CommandError(f"There is no key of {name}.{more} Names: make key")
    gone = own if which == "all" else own[:-1]
    client_key.keep([key for key in keys if key not in gone])
    time.sleep(api_keys.HOLDS_AFTER + 0.1)
    left = len(own) - len(gone)
    say(f"{len(gone)} of the keys of {name} no longer hold, {left} {'holds' if left == 1 else 'hold'}.")
    if not any(key.name != client_key.OWN_NAME for key in client_key.kept()) and not read_env().get("API_KEYS"):
        say(
            "No client has a key now, and none is let in. To ask for none any more, delete the file keys/api_keys, "
            "then: make restart"
        )


def _listed(keys: list[Key]) -> str:
    if not keys and not client_key.are_on():
        return "There are no keys: requests need none. The first one: make key NAME=..."
    lines = []
    for name, found in groupby(sorted(keys, key=lambda key: key.name), key=lambda key: key.name):
        made = [key.made or "?" for key in found]
        lines.append(f"{name}: {len(made)} {'key' if len(made) == 1 else 'keys'}, of {', '.join(made)}")
    in_env = api_keys.of_setting(read_env().get("API_KEYS", ""))
    return "\n".join([*lines, *(f"{key.name}: in API_KEYS of .env" for key in in_env)])
