"""Clients without a key, with a wrong one, with another client's: what they are told, and what they cannot reach."""

from __future__ import annotations

import base64
import os
import subprocess
import time
from collections.abc import Callable

import pytest

from denzel import api_keys
from denzel.api_keys import Key
from tests.support.http import error_of
from tests.support.services import Service

REQUEST = {"data": {"a": 1}}
ALICE, BOB, LATER = api_keys.new_key(), api_keys.new_key(), api_keys.new_key()


def kept(name: str, key: str) -> Key:
    return Key(name, api_keys.digest(key.encode()).hex(), "2026-01-31")


def write(service: Service, *keys: Key) -> None:
    file = service.project / "keys/api_keys"
    file.with_suffix(".new").write_text(api_keys.to_text(list(keys)))
    os.replace(file.with_suffix(".new"), file)


def sent(key: str) -> dict[str, str]:
    return {"X-API-Key": key}


@pytest.fixture(scope="module", params=["queue", "inline"])
def keyed(request: pytest.FixtureRequest, new_service: Callable[..., Service]) -> Service:
    """A service of two clients, alice and bob."""
    service = new_service(EXECUTOR=request.param, API_WORKERS=2, DOCS_INBOX="on")
    write(service, kept("alice", ALICE), kept("bob", BOB))
    if request.param == "queue":
        service.start("redis", "denzel")
    service.start("api")
    deadline = time.monotonic() + 30
    while service.get("/ready").status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    return service


ASKING = [
    *(("POST", "/predict"), ("GET", "/status/1"), ("DELETE", "/status/1"), ("GET", "/info"), ("GET", "/metrics")),
    *(("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/"), ("HEAD", "/"), ("POST", "/docs/inbox"), ("GET", "/x")),
    *(("OPTIONS", "/predict"), ("PUT", "/predict"), ("POST", "/ready/"), ("GET", "//ready"), ("GET", "/PING")),
]  # fmt: skip
WRONG = [{}, sent("x"), sent(""), sent(ALICE[:-1]), sent(kept("", ALICE).digest), {"Authorization": f"Basic {ALICE}"}]


@pytest.mark.parametrize(("method", "path"), ASKING)
def test_without_a_right_key_nothing_is_told(keyed: Service, method: str, path: str) -> None:
    before = len(keyed.events("verify_input"))
    for headers in WRONG:
        found = keyed.request(method, path, json=REQUEST, headers=headers)
        assert found.status_code == 401
        assert found.headers["WWW-Authenticate"] == "Bearer"
        assert method == "HEAD" or error_of(found)[1] == "Key needed"
    assert len(keyed.events("verify_input")) == before


def test_with_a_key_everything_is(keyed: Service) -> None:
    for headers in (sent(ALICE), {"Authorization": f"Bearer {BOB}"}):
        for path in ("/info", "/metrics", "/docs", "/openapi.json", "/", "/ready"):
            assert keyed.get(path, headers=headers).status_code == 200
        for _ in range(3):  # the quick way among them
            assert keyed.predict(REQUEST, headers=headers).status_code == 200
        assert keyed.request("POST", "/docs/inbox", headers=headers).status_code == 201


def test_ping_is_open_and_ready_says_yes_or_no(keyed: Service) -> None:
    assert keyed.get("/ping").text == "pong"
    found = keyed.get("/ready")
    assert (found.json(), "Denzel-Sync-Timeout" in found.headers) == ({"ready": True}, False)
    told = keyed.get("/ready", headers=sent(ALICE))
    assert {"ready", "reason", "workers", "queue"} <= set(told.json())
    assert "Denzel-Sync-Timeout" in told.headers
    description = keyed.get("/openapi.json", headers=sent(ALICE)).json()
    assert set(description["components"]["securitySchemes"]) == {"bearer", "header"}


def test_a_task_belongs_to_the_key_that_made_it(keyed: Service) -> None:
    made = keyed.predict(REQUEST, prefer="respond-async", headers=sent(ALICE))
    path = made.headers["Location"]
    for method in ("GET", "DELETE"):
        foreign = keyed.request(method, path, headers=sent(BOB))
        unknown = keyed.request(method, f"/status/{'0' * 8}-0000-0000-0000-{'0' * 12}", headers=sent(BOB))
        assert error_of(foreign)[:2] == error_of(unknown)[:2] == (404, "Unknown task")
    assert keyed.get(path, headers=sent(ALICE)).status_code == 200
    waited = keyed.predict(REQUEST, headers=sent(ALICE)).headers["Denzel-Task-Id"]
    assert keyed.get(f"/status/{waited}", headers=sent(BOB)).status_code == 404
    assert keyed.get(f"/status/{waited}", headers=sent(ALICE)).status_code == 200


def test_an_idempotency_key_belongs_to_the_key_too(keyed: Service) -> None:
    ids = []
    for key, body in ((ALICE, {"data": {"a": 1}}), (BOB, {"data": {"secret": 2}}), (ALICE, {"data": {"a": 1}})):
        found = keyed.predict(body, headers={**sent(key), "Idempotency-Key": "the same"})
        assert (found.status_code, found.json()) == (200, {"answer": body})
        ids.append(found.headers["Denzel-Task-Id"])
    assert ids[0] == ids[2] != ids[1]


def test_no_key_is_at_rest_or_in_a_log(keyed: Service) -> None:
    keyed.predict(REQUEST, headers=sent(ALICE))
    keyed.predict(REQUEST, headers={"Authorization": f"Bearer {ALICE}x"})
    texts = [path.read_bytes() for path in keyed.project.rglob("*") if path.is_file()]
    assert not [text for text in texts if ALICE.encode() in text or BOB.encode() in text]


def test_what_is_opened_needs_no_key(new_service: Callable[..., Service]) -> None:
    service = new_service(EXECUTOR="inline", OPEN_PATHS="/docs,/openapi.json,/metrics,/ready,/")
    write(service, kept("alice", ALICE))
    service.start("api")
    for path in ("/docs", "/openapi.json", "/metrics", "/ready", "/", "/docs/docs.js"):
        assert service.get(path).status_code in (200, 503), path
    assert "workers" in service.get("/ready").json()
    assert [service.get(path).status_code for path in ("/info", "/status/1")] == [401, 401]
    assert service.predict(REQUEST).status_code == 401


def test_keys_come_change_and_go_while_the_service_runs(new_service: Callable[..., Service]) -> None:
    """Nobody with a key that holds is ever refused, in any process."""
    service = new_service(API_WORKERS=2)
    service.start("redis", "denzel", "api")
    service.wait_ready()
    early = service.submit(REQUEST)
    write(service, kept("alice", ALICE))
    time.sleep(api_keys.HOLDS_AFTER + 0.1)
    assert {service.predict(REQUEST).status_code for _ in range(20)} == {401}
    assert service.get(f"/status/{early}", headers=sent(ALICE)).status_code == 200  # nobody's: every key may
    stop, codes = time.monotonic() + 3, set()
    write(service, kept("alice", ALICE), kept("alice", LATER))
    while time.monotonic() < stop:
        codes |= {service.predict(REQUEST, headers=sent(key)).status_code for key in (ALICE, LATER)}
    assert codes == {200}
    made = service.predict(REQUEST, prefer="respond-async", headers=sent(ALICE)).headers["Location"]
    write(service, kept("alice", LATER))
    time.sleep(api_keys.HOLDS_AFTER + 0.1)
    assert {service.predict(REQUEST, headers=sent(ALICE)).status_code for _ in range(20)} == {401}
    assert service.get(made, headers=sent(LATER)).status_code == 200  # the same client's


def test_a_task_is_found_while_the_secret_that_its_id_was_made_with_is_listed(
    new_service: Callable[..., Service],
) -> None:
    old, new = (f"whsec_{base64.b64encode(os.urandom(30)).decode()}" for _ in range(2))
    service = new_service(CALLBACK_SECRET=old)
    write(service, kept("alice", ALICE), kept("bob", BOB))
    service.start("redis", "api")
    made = [service.predict(REQUEST, prefer="respond-async", headers=sent(ALICE)).headers["Location"]]

    def found(key: str) -> list[int]:
        return [service.get(path, headers=sent(key)).status_code for path in made]

    service.environment["CALLBACK_SECRET"] = f"{new}, {old}"
    service.restart("api")
    made.append(service.predict(REQUEST, prefer="respond-async", headers=sent(ALICE)).headers["Location"])
    assert (found(ALICE), found(BOB)) == ([200, 200], [404, 404])
    service.environment["CALLBACK_SECRET"] = new
    service.restart("api")
    assert (found(ALICE), found(BOB)) == ([404, 200], [404, 404])


def test_an_api_that_others_reach_does_not_start_without_keys(new_service: Callable[..., Service]) -> None:
    service = new_service(EXECUTOR="inline", API_LISTENS_ON="0.0.0.0")
    service.start_only("api")
    assert service.wait_for_end("api") == 1
    assert "make key NAME=" in service.log("api")
    assert "API_OPEN=yes" in service.log("api")
    write(service, kept("alice", ALICE))
    service.start("api")
    assert service.get("/info").status_code == 401


def test_the_commands_work_with_keys(new_service: Callable[..., Service]) -> None:
    """`make key` prints a new one alone on its last line; the other commands have one of their own."""
    service = new_service(EXECUTOR="inline")

    def command(code: str) -> list[str]:
        done = subprocess.run(
            ["python3", "-c", f"from commands.shared import http, readiness\nURL = {service.url!r}\n{code}"],
            cwd=service.project, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout.splitlines()

    def make(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "key", *words], cwd=service.project, capture_output=True, text=True, timeout=60, check=False
        )

    assert make().stdout.startswith("There are no keys")
    service.start("api")
    assert service.predict(REQUEST).status_code == 200
    key = make("NAME=alice").stdout.splitlines()[-1]
    assert service.predict(REQUEST).status_code == 401
    assert service.predict(REQUEST, headers=sent(key)).status_code == 200
    assert command("print(http.send(URL + '/predict', {'data': {}}).status)") == ["200"]
    assert command("print(sorted(readiness.fetch_ready(URL))[:2], readiness.sync_timeout(URL))") == [
        "['queue', 'ready'] 5.0"
    ]
    own = (service.project / ".denzel/key").read_text().strip()
    assert (service.project / ".denzel/key").stat().st_mode & 0o777 == 0o600
    assert own not in (service.project / "keys/api_keys").read_text()
    newer = make("NAME=alice").stdout.splitlines()[-1]
    assert {service.predict(REQUEST, headers=sent(each)).status_code for each in (key, newer)} == {200}
    assert "1 of the keys of alice no longer hold, 1 holds." in make("NAME=alice", "REVOKE=old").stdout
    assert [service.predict(REQUEST, headers=sent(each)).status_code for each in (key, newer)] == [401, 200]
    assert "alice: 1 key, of 20" in make().stdout
    assert "No client has a key now" in make("NAME=alice", "REVOKE=all").stdout
    assert service.predict(REQUEST, headers=sent(newer)).status_code == 401
    for words, message in [
        (["NAME=a b"], "NAME: a key's name"),
        (["NAME=no", "REVOKE=all"], "There is no key of no."),
        (["REVOKE=all"], "Whose keys?"),
        (["NAME=x", "REVOKE=x"], "REVOKE must be one of"),
    ]:
        done = make(*words)
        assert done.returncode == 2
        assert message in done.stderr


def test_each_key_has_its_rate(new_service: Callable[..., Service]) -> None:
    """All processes count together, on either way of a request; others' requests are not counted."""
    service = new_service(API_WORKERS=2, API_RATE_LIMIT="20/hour,1000/day")
    write(service, kept("alice", ALICE), kept("alice", LATER), kept("bob", BOB))
    service.start("redis", "denzel", "api")
    service.wait_ready()
    codes = [service.predict(REQUEST, headers=sent(key)).status_code for key in (ALICE, LATER) * 15]
    assert codes == [200] * 20 + [429] * 10
    refused = service.get("/info", headers=sent(ALICE))
    status, title, description = error_of(refused)
    assert (status, title) == (429, "Too many requests")
    assert description.startswith("This key may send 20 a hour and 1000 a day; try again in ")
    assert 3000 < int(refused.headers["Retry-After"]) <= 3600
    assert service.get("/ready", headers=sent(ALICE)).status_code == 200
    assert [service.get("/info", headers=sent(BOB)).status_code for _ in range(21)] == [200] * 20 + [429]
    assert service.predict(REQUEST).status_code == 401


def test_a_rate_holds_for_its_window_alone(new_service: Callable[..., Service]) -> None:
    service = new_service(EXECUTOR="inline", API_RATE_LIMIT="2/second")
    write(service, kept("alice", ALICE))
    service.start("api")
    assert [service.get("/info", headers=sent(ALICE)).status_code for _ in range(3)] == [200, 200, 429]
    time.sleep(1.1)
    assert service.get("/info", headers=sent(ALICE)).status_code == 200
