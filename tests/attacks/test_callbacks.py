"""Clients that name where callbacks go: they learn nothing of the network behind, and flood nobody."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable, Iterator

import pytest
from standardwebhooks import Webhook

from tests.service.support.sending import SECRET, Sending
from tests.support.http import error_of
from tests.support.receivers import Receivers, Reply
from tests.support.services import Service
from tests.support.waiting import eventually

NEW_SECRET = f"whsec_{base64.b64encode(b'n' * 24).decode()}"
NOT_ALLOWED = "address not allowed"


@pytest.fixture(scope="module")
def quiet(new_service: Callable[..., Service]) -> Service:
    """A Redis for the sender of callbacks."""
    service = new_service()
    service.start("redis")
    return service


@pytest.fixture
def receivers() -> Iterator[Receivers]:
    with Receivers() as receivers:
        yield receivers


@pytest.fixture
def inside() -> tuple[str, set[str]]:
    """A name that leads to an address which is not public, and where it leads to."""
    for name in (socket.gethostname(), "ip6-localhost", "localhost.localdomain"):
        try:
            found = {str(one[4][0]) for one in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)}
        except OSError:
            continue
        if all(address.startswith(("127.", "10.", "172.", "192.168.", "::1", "fd", "fe80")) for address in found):
            return name.lower(), found
    pytest.skip("no name of this machine leads to an address inside")


# ---- What clients learn ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["queue", "inline"])
def test_status_tells_no_address_and_the_log_does(
    new_service: Callable[..., Service], inside: tuple[str, set[str]], executor: str
) -> None:
    name, addresses = inside
    service = new_service(EXECUTOR=executor)
    service.start("redis", "api", *(["denzel"] if executor == "queue" else []))
    service.wait_ready() if executor == "queue" else eventually(
        lambda: service.get("/ready").status_code == 200, "the model is loaded"
    )
    task_id = service.submit({"callback_uri": f"http://{name}/", "predict": "{'a': 1}"})
    callback = eventually(
        lambda: (found := service.status(task_id)["callback"])["state"] == "failed" and found, "it is given up"
    )
    assert callback["last_error"] == NOT_ALLOWED
    assert not [address for address in addresses if address in json.dumps(callback)]
    log = service.log("denzel" if executor == "queue" else "api")
    assert [address for address in addresses if f'"{name}" leads to {address}, which is not a public' in log]


def test_an_answer_that_is_no_http_is_not_shown_to_clients(quiet: Service) -> None:
    """Servers of other kinds introduce themselves."""
    with socket.create_server(("127.0.0.1", 0)) as server, Sending(quiet) as sending:
        (task_id,) = sending.finish(f"http://127.0.0.1:{server.getsockname()[1]}/")
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"SSH-2.0-OpenSSH_9.2p1 internal-build\r\n\r\n")
            state = sending.wait(task_id, attempts=1)
        assert "OpenSSH" not in json.dumps(state)
        eventually(lambda: "OpenSSH" in sending.log(), "the log tells")


# ---- Only what is listed ---------------------------------------------------------------------------------------------


def test_with_allow_only_nothing_else_is_taken(new_service: Callable[..., Service], receivers: Receivers) -> None:
    receiver = receivers.open()
    service = new_service(CALLBACK_ALLOW=f"127.0.0.1:{receiver.port}", CALLBACK_ALLOW_ONLY=1)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    for uri in ("https://example.com/", "http://1.1.1.1/", "http://10.0.0.1/", "http://127.0.0.1/"):
        response = service.predict({"callback_uri": uri}, prefer="respond-async")
        status, title, description = error_of(response)
        assert (status, title) == (400, "Bad input format"), uri
        assert "not listed in CALLBACK_ALLOW in .env (CALLBACK_ALLOW_ONLY is on)" in description
    task_id = service.submit({"callback_uri": receiver.url, "predict": "{'a': 1}"})
    assert [one.task_id for one in receiver.wait()] == [task_id]


# ---- Through a proxy -------------------------------------------------------------------------------------------------


def test_callbacks_leave_through_the_proxy_alone(
    quiet: Service, receivers: Receivers, inside: tuple[str, set[str]]
) -> None:
    quiet.redis.flushall()
    proxy, direct = receivers.open(Reply(200), Reply(200), Reply(403)), receivers.open()
    address = f"http://me:p4ss@127.0.0.1:{proxy.port}"
    with Sending(quiet, CALLBACK_ALLOW="receiver.example", CALLBACK_PROXY=address) as to:
        (outside,) = to.finish("http://receiver.example/inbox?a=1")
        to.wait(outside, state="delivered")
        (request,) = proxy.wait()
        assert request.path == "http://receiver.example/inbox?a=1"
        assert request.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"me:p4ss").decode()
        for uri in (f"http://{inside[0]}/", direct.url, "http://169.254.169.254/"):
            (refused,) = to.finish(uri)
            assert to.wait(refused, state="failed")["last_error"] == NOT_ALLOWED
        proxy.replies = [Reply(403)]
        (tunnelled,) = to.finish("https://receiver.example/inbox")
        assert to.wait(tunnelled, attempts=1)["last_error"] == "the proxy refused the connection (HTTP 403)"
        assert [one.path for one in proxy.received] == [request.path, "receiver.example:443"]
        assert direct.received == []
        assert "p4ss" not in to.log()


def test_a_proxy_that_cannot_be_used_is_told_without_its_password(quiet: Service) -> None:
    quiet.environment["CALLBACK_PROXY"] = "socks5://me:p4ss@proxy:1080"
    try:
        ended = quiet.run("denzel.callbacks")
    finally:
        del quiet.environment["CALLBACK_PROXY"]
    assert "CALLBACK_PROXY: expected an HTTP proxy such as http://proxy:3128" in ended.stderr
    assert "p4ss" not in ended.stderr


# ---- Secrets ---------------------------------------------------------------------------------------------------------


def test_while_a_secret_is_changed_receivers_may_know_either(quiet: Service, receivers: Receivers) -> None:
    quiet.redis.flushall()
    receiver = receivers.open()
    with Sending(quiet, CALLBACK_SECRET=f"{NEW_SECRET}, {SECRET}") as sending:
        sending.finish(receiver.url)
        (request,) = receiver.wait()
    assert len(request.headers["webhook-signature"].split()) == 2
    for secret in (NEW_SECRET, SECRET):
        Webhook(secret).verify(request.body, request.headers)


# ---- What one receiver gets ------------------------------------------------------------------------------------------


def test_a_receiver_gets_no_more_connections_than_it_may(quiet: Service, receivers: Receivers) -> None:
    quiet.redis.flushall()
    receiver = receivers.open(Reply(after=0.01))
    most = 0
    with Sending(quiet, CALLBACK_CONNECTIONS=2) as sending:
        sending.finish(receiver.url, count=200)

        def done() -> bool:
            nonlocal most
            most = max(most, receiver.open)
            return sending.left() == 0

        eventually(done, "all are sent", timeout=30, interval=0.005)
    assert most == receiver.connections == 2


def test_a_receiver_gets_no_more_connections_without_a_queue(
    new_service: Callable[..., Service], receivers: Receivers
) -> None:
    receiver = receivers.open(Reply(after=0.05))
    service = new_service(EXECUTOR="inline", CALLBACK_ALLOW="127.0.0.1", CALLBACK_CONNECTIONS=2)
    service.start("api")
    eventually(lambda: service.get("/ready").status_code == 200, "it is ready")
    for number in range(40):
        service.submit({"a": number, "callback_uri": receiver.url})
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, receiver.open)
        return len(receiver.received) == 40

    eventually(done, "all are sent", timeout=30, interval=0.005)
    assert 1 <= most <= 2
    assert receiver.connections <= 2


def test_a_receiver_gets_no_more_retries_a_day_also_after_a_restart(quiet: Service, receivers: Receivers) -> None:
    quiet.redis.flushall()
    failing, other = receivers.open(Reply(500)), receivers.open(Reply(500), Reply(200))
    with Sending(quiet, CALLBACK_RETRIES=3) as sending:
        ids = sending.finish(failing.url, count=6)

        def retried() -> None:
            before = {task_id: looked_at(sending, task_id) for task_id in ids}
            for task_id in ids:
                sending.make_due(task_id)
            for task_id in ids:
                eventually(lambda task_id=task_id: looked_at(sending, task_id) > before[task_id], "it is looked at")

        for task_id in ids:
            sending.wait(task_id, attempts=1)
        retried()
        retried()
        sending.kill()
        sending.start()
        retried()
        assert len(failing.received) == 6 + 3
        reasons = [state["last_error"] for task_id in ids if "postponed" in (state := sending.state(task_id))]
        assert set(reasons) == {f"not tried: 127.0.0.1:{failing.port} has had all retries of this day (3)"}
        assert "are not tried again today: CALLBACK_RETRIES is 3" in sending.log()
        assert sending.left() == 6, "they wait"
        (task_id,) = sending.finish(other.url)
        sending.wait(task_id, attempts=1)
        sending.make_due(task_id)
        sending.wait(task_id, state="delivered")


def looked_at(sending: Sending, task_id: str) -> int:
    """How often a callback was tried, or could have been."""
    state = sending.state(task_id)
    return state.get("attempts", 0) + state.get("postponed", 0)
