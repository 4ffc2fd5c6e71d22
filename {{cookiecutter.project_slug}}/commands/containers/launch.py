"""``make launch``: from a folder to a service that predicts."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from commands.containers import checks, permissions
from commands.containers.build import build
from commands.containers.until_ready import wait_until_ready
from commands.shared import client_key, redis_data
from commands.shared.arguments import address, parse_arguments, port
from commands.shared.checks import keys_or_meant
from commands.shared.docker import compose, containers, last_lines, require_docker, require_own
from commands.shared.env import listening, monitor_host, read_env, update_env
from commands.shared.ports import port_taken, url
from commands.shared.project import CommandError
from commands.shared.readiness import fetch_ready, memory_note
from commands.shared.running import BUILDING_FILE, api_url, read_marker, running_dev
from commands.shared.screen import colour, say, warn
from commands.shared.stack import container_urls, has_one_way_in, metrics_place, proxy_place
from denzel.listening import is_loopback


def run(arguments: list[str]) -> int:
    """Build, start, wait until the worker is ready, and print the URLs."""
    place = _asked_for(arguments)
    require_docker()
    if found := containers():
        require_own(found)
        running = all(container.state == "running" for several in found.values() for container in several)
        meant = "make restart" if running else "make start"
        raise CommandError(f'Project already launched! Did you mean to run "{meant}"?')
    if read_marker(BUILDING_FILE):
        raise CommandError('Project is being launched already. Follow it: "make status LIVE=1"')
    check_free(place, "Pass an available port using {name}")
    checks.before_start()
    require_keys(place)
    update_env(**place)
    permissions.prepare()
    build()
    up()
    wait_until_ready(api_url())
    announce()
    return 0


def _asked_for(arguments: list[str]) -> dict[str, str]:
    """Where to listen: what is published of this stack, as the arguments say and else ``.env``."""
    proxy = proxy_place()
    if not (proxy and has_one_way_in()):
        return checked(parse_arguments(arguments, listening()))
    place = parse_arguments(arguments, {name: proxy[name] for name in ("PROXY_PORT", "PROXY_HOST")})
    number = str(port(place["PROXY_PORT"], "PROXY_PORT"))
    return {"PROXY_PORT": number, "PROXY_HOST": address(place["PROXY_HOST"], "PROXY_HOST")}


def checked(place: Mapping[str, str]) -> dict[str, str]:
    """Where to listen, as an address and two different port numbers."""
    ports = {name: str(port(place[name], name)) for name in ("API_PORT", "MONITOR_PORT")}
    if ports["API_PORT"] == ports["MONITOR_PORT"]:
        raise CommandError(f"API_PORT and MONITOR_PORT must differ, both are {ports['API_PORT']}.")
    return {"API_HOST": address(place["API_HOST"], "API_HOST"), **ports}


def check_free(place: Mapping[str, str], advice: str, own: frozenset[int] = frozenset()) -> None:
    """Refuse ports that something else listens on; ``own`` are those that the project itself holds now."""
    ports = {} if has_one_way_in() else {name: int(place[name]) for name in ("API_PORT", "MONITOR_PORT")}
    for name, number in ports.items():
        host = place["API_HOST"] if name == "API_PORT" else address(monitor_host(), "MONITOR_HOST")
        _check_port(name, host, number, advice, own, set(ports.values()))
    if proxy := proxy_place():
        proxy |= {name: value for name, value in place.items() if name in proxy}
        host = address(proxy["PROXY_HOST"], "PROXY_HOST")
        for name in filter(proxy.get, ("PROXY_PORT", "PROXY_TLS_PORT")):
            number = port(proxy[name], name)
            if number in ports.values():
                others = " and ".join([", ".join(list(ports)[:-1]), list(ports)[-1]])
                raise CommandError(f"{name} in .env must differ from {others}, it is {number} too.")
            how = advice if name in place else "Set an available port in .env"
            _check_port(name, host, number, how, own, set(ports.values()))
            ports[name] = number
    if metrics := metrics_place():
        host = address(metrics["METRICS_HOST"], "METRICS_HOST")
        for name in ("PROMETHEUS_PORT", "GRAFANA_PORT"):
            number = port(metrics[name], name)
            if number in ports.values():
                raise CommandError(f"{name} in .env must differ from the other ports there, it is {number} too.")
            _check_port(name, host, number, "Set an available port in .env", own, set(ports.values()))
            ports[name] = number


def require_keys(place: Mapping[str, str]) -> None:
    """Others than this machine reach only an API that asks for keys, unless that is meant.

    Raises:
        CommandError: says what to do.
    """
    hosts = {} if has_one_way_in() else {"API_HOST": place["API_HOST"]}
    if proxy := proxy_place():
        hosts["PROXY_HOST"] = place.get("PROXY_HOST") or proxy["PROXY_HOST"]
    for name, host in hosts.items():
        keys_or_meant(name, host)


def _check_port(name: str, host: str, number: int, advice: str, own: frozenset[int], others: set[int]) -> None:
    if number not in own and port_taken(host, number):
        if (dev := running_dev()) and number in (urlsplit(dev[of]).port for of in ("api_url", "monitor_url")):
            raise CommandError(
                f'Port {number} is that of this folder\'s "make dev": end that by Ctrl-C in its terminal, or: '
                f"{advice.format(name=name)}."
            )
        free = _free_port(host, number, others)
        raise CommandError(f"Port {number} is already taken! {advice.format(name=name)}, for example {name}={free}.")


def _free_port(host: str, after: int, others: set[int]) -> int:
    for number in range(after + 1, 65536):
        if number not in others and not port_taken(host, number):
            return number
    raise CommandError(f"No port above {after} is free.")


def up(*services: str) -> None:
    """Create what is missing, replace what has changed, start everything, or these and what they depend on."""
    if compose("up", "--detach", "--no-build", "--remove-orphans", *services) != 0:
        is_well = any(container.health == "healthy" for container in containers().get("redis", []))
        if cause := "" if is_well else redis_data.problem(last_lines("redis")):
            raise CommandError(f'{cause}\nThen: "make start".')
        raise CommandError(
            'The containers could not be started: the lines above say why. Correct it, then run "make start".'
        )


def announce() -> None:
    """Print where the service is, and warn when that is more than this machine."""
    env = read_env()
    api, monitor = container_urls()
    say(f"{env['COMPOSE_PROJECT_NAME']} is {colour('UP', 'green')}")
    say(f"  API      {api}  (about the model: {api}/info)")
    say(f"  Monitor  {monitor}  (user admin, password: MONITOR_PASSWORD in .env)")
    hosts = {} if has_one_way_in() else {"API_HOST": listening()["API_HOST"]}
    if proxy := proxy_place():
        if not has_one_way_in():
            say(f"  Proxy    {url(proxy['PROXY_HOST'], proxy['PROXY_PORT'])}")
        if number := proxy.get("PROXY_TLS_PORT"):
            say(f"           {url(proxy['PROXY_HOST'], number).replace('http:', 'https:')}")
        hosts["PROXY_HOST"] = proxy["PROXY_HOST"]
    if metrics := metrics_place():
        grafana, prometheus = (
            url(metrics["METRICS_HOST"], metrics[f"{name}_PORT"]) for name in ("GRAFANA", "PROMETHEUS")
        )
        say(f"  Metrics  {grafana}  (user admin, password: GRAFANA_PASSWORD in .env; Prometheus: {prometheus})")
    if note := memory_note(fetch_ready(api)):
        warn(note)
    if not has_one_way_in() and not is_loopback(monitor_host()):
        warn(f"MONITOR_HOST={monitor_host()}: the monitor is open to your network, with its password but without TLS.")
    for name, host in hosts.items():
        if not is_loopback(host) and not client_key.are_on():
            warn(
                f"{name}={host}: everyone who reaches this machine can use the API, without a password. "
                "Do this only on a network that you trust."
            )
