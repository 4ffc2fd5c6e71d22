"""Each service is a user of Redis of its own, who is refused what that service does not call."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError, ResponseError

from tests.support.receivers import Receivers
from tests.support.services import Service
from tests.support.waiting import eventually

USERS = ("api", "denzel", "callbacks", "monitor")
PASSWORDS = {user: secrets.token_hex(24) for user in USERS}

# Nobody needs these; whoever has got into a service could take over Redis by them, or what others have in it.
BY_NOBODY = (
    "CONFIG GET *", "CONFIG SET dir /tmp", "ACL LIST", "ACL SETUSER api +@all", "ACL WHOAMI", "CLIENT LIST",
    "CLIENT KILL TYPE normal", "CLIENT PAUSE 1000", "KEYS *", "RANDOMKEY", "FLUSHALL", "FLUSHDB", "DBSIZE",
    "SWAPDB 0 1", "MOVE a 1", "COPY a b", "DUMP a", "RESTORE a 0 x", "MIGRATE h 1 a 0 1", "SORT a",
    "OBJECT ENCODING a", "DEBUG SLEEP 0", "MONITOR", "SHUTDOWN NOSAVE", "SAVE", "BGSAVE", "BGREWRITEAOF",
    "REPLICAOF h 1", "PSYNC ? -1", "MODULE LIST", "SLOWLOG GET", "LATENCY RESET", "SCRIPT FLUSH", "FUNCTION FLUSH",
    "APPEND a b", "SETRANGE a 0 b", "INCR a", "GETSET a b", "SETBIT a 0 1", "XADD a * b c", "PFADD a b", "LSET a 0 b",
)  # fmt: skip
DENIED = {
    "api": ("BRPOP a 1", "PSUBSCRIBE *", "MULTI", "WATCH a", "SCRIPT LOAD x", "CLIENT UNBLOCK 1"),
    "denzel": ("SUNION a b", "LINSERT a BEFORE b c"),
    "callbacks": ("BRPOP a 1", "LPUSH a b", "LRANGE a 0 1", "SMEMBERS a", "SADD a b", "SET a b", "MGET a", "INFO",
                  "SCAN 0", "RENAME a b", "TYPE a"),
    "monitor": ("HGETALL a", "HMGET a b", "MGET a", "LRANGE a 0 -1", "GETRANGE a 0 1", "LREM a 1 b", "HINCRBY a b 1",
                "SCAN 0", "RENAME a b", "TYPE a"),
}  # fmt: skip


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    with Receivers() as receivers:
        yield receivers


@pytest.fixture(scope="module")
def service(new_service: Callable[..., Service]) -> Service:
    """A service whose processes are the users that they are in containers."""
    passwords = {f"REDIS_{user.upper()}_PASSWORD": password for user, password in PASSWORDS.items()}
    service = new_service(CALLBACK_ALLOW="127.0.0.1", PROJECT_ID="first", **passwords)
    service.start("redis")
    for user in ("api", "denzel", "monitor"):
        service.environment |= {"REDIS_URL": url(service, user), "CALLBACKS_REDIS_URL": url(service, "callbacks")}
        service.start(user)
    service.wait_ready()
    service.environment["REDIS_URL"] = url(service, "api")  # whom the commands are, as in containers
    return service


def url(service: Service, user: str) -> str:
    return f"redis://{user}:{PASSWORDS[user]}@127.0.0.1:{service.ports['redis']}/0"


@pytest.fixture(params=USERS)
def user(request: pytest.FixtureRequest, service: Service) -> Iterator[tuple[str, redis.Redis]]:
    """One of the users, and a connection as that one."""
    with redis.Redis.from_url(url(service, request.param), socket_timeout=5) as client:
        yield request.param, client


def is_refused(client: redis.Redis, command: str) -> bool:
    try:
        client.execute_command(*command.split())
    except NoPermissionError:
        return True
    except ResponseError as error:
        return "not allowed" in str(error)  # DEBUG: to nobody, unless the server was told so
    return False


def refused_commands(service: Service) -> list[Any]:
    """What Redis has refused of the services: it keeps a list."""
    log = service.redis.execute_command("ACL", "LOG", "100")
    return [entry for entry in log if b"command" in (entry.values() if isinstance(entry, dict) else entry)]


def test_nothing_that_services_call_at_their_start_is_refused(service: Service) -> None:
    assert refused_commands(service) == []


def test_the_monitor_of_another_project_of_this_name_ends(service: Service) -> None:
    own = service.environment
    try:
        service.stop("monitor")
        service.environment = {**own, "REDIS_URL": url(service, "monitor"), "PROJECT_ID": "another"}
        service.start("monitor")
        assert service.wait_for_end("monitor") == 3
        assert "Another project is called 'tested'" in service.log("monitor")
    finally:
        service.environment = {**own, "REDIS_URL": url(service, "monitor")}
        service.start("monitor")
        service.environment = own


def test_a_user_is_refused_what_its_service_does_not_call(user: tuple[str, redis.Redis], service: Service) -> None:
    name, client = user
    commands = (*BY_NOBODY, *DENIED[name])
    assert [command for command in commands if not is_refused(client, command)] == []
    assert service.redis.ping(), "the operator's connection is still there"


def test_a_script_may_call_no_more(user: tuple[str, redis.Redis]) -> None:
    _, client = user
    for call in ("'flushall'", "'keys', '*'", "'copy', 'a', 'b'", "'incr', 'a'"):
        with pytest.raises(ResponseError, match="can't run this command"):
            client.eval(f"return redis.call({call})", 0)


def test_the_default_user_is_the_operator(service: Service) -> None:
    assert service.redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=service.ports["redis"]).ping()


def test_nothing_that_a_service_calls_is_refused(service: Service, receivers: Receivers) -> None:
    """After a journey through everything: Redis keeps a list of what it has refused."""
    service.redis.execute_command("ACL", "LOG", "RESET")
    receiver = receivers.open()
    assert service.predict({"data": {"a": 1}}).status_code == 200
    body = {"data": {"a": 1}, "callback_uri": receiver.url}
    answer = service.predict(body, headers={"Prefer": "respond-async"})
    receiver.wait()
    task_id = answer.json()["data"]["task_id"]
    eventually(lambda: service.status(task_id)["callback"]["state"] == "delivered", "the callback is delivered")
    large = {"data": {"a": "x" * 200_000}}
    assert service.predict(large).status_code in (200, 500)
    assert service.predict(large, headers={"Prefer": "respond-async"}).status_code == 200
    for words in (["response", "sync"], ["dead"], ["redeliver", task_id], ["replay", "all"]):
        assert service.run("denzel.control", *words).returncode == 0, words
    receiver.wait(2)
    assert refused_commands(service) == []
