"""/docs, /openapi.json and /: answered from memory, with no worker and nothing secret; off by a setting each."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import falcon.testing
import pytest

from denzel.api import inbox, pages
from denzel.api.application import create_app
from denzel.openapi import project
from denzel.pipeline.in_api import UserPipeline
from denzel.settings import Settings
from tests.support.services import Service
from tests.support.waiting import eventually

Client = falcon.testing.TestClient


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a project with an example."""
    folder = tmp_path / "app/assets/examples"
    folder.mkdir(parents=True)
    (folder / "one.json").write_text('{"request": {"a": 1}, "response": {"b": 2}}')
    (tmp_path / "app/assets/info.txt").write_text("A <b>title</b>\n\nAnd more.\n")
    monkeypatch.setattr(project, "ROOT", tmp_path)
    for name in ("read", "state", "words"):
        monkeypatch.setattr(
            getattr(project, name), "__defaults__", (tmp_path,)
        )  # fmt: skip
    return tmp_path


@pytest.fixture
def client(root: Path) -> Callable[..., Client]:
    """Call it with settings: a client of an API in this process, that nothing else runs for."""

    def create(**settings: str) -> Client:
        module = ModuleType("pipeline")
        module.verify_input = module.load_model = module.process = module.predict = lambda *_: {}  # type: ignore[attr-defined]
        return Client(
            create_app(
                Settings.from_environment({"EXECUTOR": "inline", "ALLOWED_HOSTS": "*", **settings}),
                pipeline=UserPipeline(10, module),
            )
        )

    return create


def test_the_description_is_made_once_and_anew_when_a_file_has_changed(
    client: Callable[..., Client], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    make = pages.document.document
    monkeypatch.setattr(pages.document, "document", lambda *args: made.append(1) or make(*args))
    asked = client()
    for _ in range(3):
        assert asked.simulate_get("/openapi.json").json["info"]["title"] == "A <b>title</b>"
        asked.simulate_get("/docs")
    assert len(made) == 1
    (root / "app/assets/examples/two.json").write_text('{"request": {"c": 1}, "response": {"d": 2}}')
    body = asked.simulate_get("/openapi.json").json
    assert body["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"].keys() == {
        "one", "two",
    }  # fmt: skip
    assert len(made) == 2


def test_the_front_page_needs_no_document(client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> None:
    def costly(*_: Any) -> Any:
        raise AssertionError("the front page has the project's title and text alone")

    for module, name in ((pages.document, "document"), (project, "read"), (project, "state")):
        monkeypatch.setattr(module, name, costly)
    asked = client()
    assert asked.simulate_get("/").json["name"] == "A <b>title</b>"
    assert asked.simulate_get("/").json["description"] == "A <b>title</b>\n\nAnd more."
    assert "A &lt;b&gt;title" in asked.simulate_get("/", headers={"Accept": "text/html"}).text


def test_the_words_of_the_pages_are_those_of_now(client: Callable[..., Client], root: Path) -> None:
    asked = client()
    browser = {"Accept": "text/html"}
    for title in ("First", "Second"):
        (root / "app/assets/info.txt").write_text(title)
        assert asked.simulate_get("/").json["name"] == title
        for path in ("/", "/docs"):
            assert f"<title>{title}" in asked.simulate_get(path, headers=browser).text
        assert asked.simulate_get("/openapi.json").json["info"]["title"] == title


def test_pages_are_guarded_and_say_what_they_are(client: Callable[..., Client]) -> None:
    asked = client()
    for path in ("/docs", "/docs/docs.js", "/docs/swagger-ui.css", "/openapi.json"):
        found = asked.simulate_get(path)
        assert found.status_code == 200
        assert "default-src 'none'" in found.headers["content-security-policy"]
        assert "unsafe" not in found.headers["content-security-policy"]
        assert found.headers["x-frame-options"] == "DENY"
        assert found.headers["x-content-type-options"] == "nosniff"
        head = asked.simulate_head(path)
        assert (head.status_code, head.content) == (200, b"")
    assert "<title>A &lt;b&gt;title&lt;/b&gt;" in asked.simulate_get("/docs").text


def test_what_a_browser_has_already_is_not_sent_again(client: Callable[..., Client]) -> None:
    asked = client()
    first = asked.simulate_get("/docs/swagger-ui-bundle.js", headers={"Accept-Encoding": "gzip, br"})
    assert first.headers["content-encoding"] == "gzip"
    assert len(first.content) < 600_000
    again = asked.simulate_get("/docs/swagger-ui-bundle.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = asked.simulate_get("/docs/swagger-ui-bundle.js")
    assert "content-encoding" not in plain.headers
    assert plain.content == (pages.FOLDER / "swagger-ui-bundle.js").read_bytes()


@pytest.mark.parametrize("name", ["..%2fpages.py", "vendored.json", "docs.html", "nothing", "%00", ".."])
def test_no_other_files_are_to_be_had(client: Callable[..., Client], name: str) -> None:
    assert client().simulate_get(f"/docs/{name}").status_code == 404


def test_the_front_page_is_html_for_browsers_and_json_for_others(client: Callable[..., Client]) -> None:
    asked = client(MONITOR_URL=":5555")
    browser = asked.simulate_get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert browser.headers["content-type"].startswith("text/html")
    assert "A &lt;b&gt;title&lt;/b&gt;" in browser.text
    assert 'href="docs"' in browser.text
    assert 'data-port="5555"' in browser.text
    for accept in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        found = asked.simulate_get("/", headers=accept)
        assert "Accept" in found.headers["vary"]
        body = found.json
        assert body["name"] == "A <b>title</b>"
        assert body["links"] == {
            "Docs": "docs",
            "openapi.json": "openapi.json",
            "Metrics": "metrics",
            "Monitor": "http://falconframework.org:5555/",
            "Service": "./",
        }
        assert body["queue"] == 0
        assert body["recent"].keys() == {"ends", "requests_per_second", "failures_per_second", "p50_ms", "p95_ms"}
        [worker] = body["workers"]
        assert worker["state"] == ("UP" if body["ready"] else "LOADING")


def test_without_metrics_there_are_no_figures(client: Callable[..., Client]) -> None:
    asked = client(METRICS="off")
    assert asked.simulate_get("/").json["recent"] is None
    assert "Metrics" not in asked.simulate_get("/").json["links"]
    assert "/metrics" not in asked.simulate_get("/openapi.json").json["paths"]


@pytest.mark.parametrize(
    ("settings", "there", "away"),
    [
        ({"FRONT_PAGE": "off"}, ["/docs", "/openapi.json"], ["/", "/docs/inbox/x"]),
        ({"DOCS": "off"}, ["/", "/docs/pages.css"], ["/docs", "/openapi.json"]),
        ({"DOCS": "off", "FRONT_PAGE": "off", "DOCS_INBOX": "on"}, [], ["/", "/docs", "/docs/pages.css"]),
    ],
)  # fmt: skip
def test_each_is_off_by_its_setting(
    client: Callable[..., Client], settings: dict[str, str], there: list[str], away: list[str]
) -> None:
    asked = client(**settings)
    assert [asked.simulate_get(path).status_code for path in there] == [200] * len(there)
    for path in away:
        found = asked.simulate_get(path)
        assert found.status_code == 404
        assert found.json["title"] in ("Not found", "Unknown inbox")
    assert client().simulate_post("/docs/inbox").status_code in (404, 405), "the inbox is off unless switched on"


def test_an_inbox_takes_what_was_sent_to_it_and_nothing_else(client: Callable[..., Client]) -> None:
    asked = client(DOCS_INBOX="on", DOCS_INBOX_URL="http://api:8000", CALLBACK_SECRET="whsec_c2VjcmV0c2VjcmV0")
    opened = asked.simulate_post("/docs/inbox")
    assert opened.status_code == 201
    assert opened.json["callback_uri"] == f"http://api:8000/{opened.json['arrivals']}"
    path = f"/{opened.json['arrivals']}"
    assert asked.simulate_get(path).json["arrivals"] == []
    assert asked.simulate_post(path, body=b'{"a": "\xff"}', headers={"webhook-id": "x"}).status_code == 204
    [arrival] = asked.simulate_get(path).json["arrivals"]
    assert arrival["body"] == '{"a": "�"}'
    assert arrival["headers"]["webhook-id"] == "x"
    assert arrival["signature"] == "missing"
    assert asked.simulate_post(path, body=b"x" * 1_048_577).status_code == 413
    for _ in range(20):
        asked.simulate_post(path, body=b"{}")
    assert len(asked.simulate_get(path).json["arrivals"]) == 10
    other = path[:-1] + ("0" if path[-1] != "0" else "1")
    for unknown in (other, "/docs/inbox/..%2f..%2fx", "/docs/inbox/x"):
        assert asked.simulate_post(unknown, body=b"{}").status_code == 404
        assert asked.simulate_get(unknown).status_code == 404


def test_an_inbox_that_goes_meanwhile_is_unknown(
    client: Callable[..., Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    asked = client(DOCS_INBOX="on")
    path = f"/{asked.simulate_post('/docs/inbox').json['arrivals']}"
    is_open = inbox.Inboxes.is_open

    def gone_after_the_look(self: inbox.Inboxes, token: str) -> bool:
        found = is_open(self, token)
        self._path(token).unlink(missing_ok=True)
        return found

    monkeypatch.setattr(inbox.Inboxes, "is_open", gone_after_the_look)
    assert asked.simulate_get(path).status_code == 404
    again = f"/{asked.simulate_post('/docs/inbox').json['arrivals']}"
    found = asked.simulate_post(again, body=b"{}")
    assert (found.status_code, found.json["title"]) == (404, "Unknown inbox")


@pytest.mark.parametrize("kind", ["another user's", "a link"])
def test_a_folder_that_somebody_else_made_is_no_place_for_inboxes(
    client: Callable[..., Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    place = inbox.folder("mine")
    if kind == "a link":
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.mkdir(mode=0o777)
        make, mine = inbox.Inboxes.new, os.getuid()

        def as_another(self: inbox.Inboxes) -> str:
            with monkeypatch.context() as patched:
                patched.setattr(os, "getuid", lambda: mine + 1)
                return make(self)

        monkeypatch.setattr(inbox.Inboxes, "new", as_another)
    found = client(DOCS_INBOX="on", PROJECT_SLUG="mine").simulate_post("/docs/inbox")
    assert (found.status_code, found.json["title"]) == (503, "No inbox")
    assert str(place) in found.json["description"]
    assert not list(tmp_path.rglob("*.jsonl"))


def test_the_inbox_is_a_place_that_callbacks_may_go_to_while_it_is_on() -> None:
    def permits(**values: str) -> bool:
        return Settings.from_environment(values).callback_policy.permits("api", "172.18.0.3", 8000)

    assert not permits()
    assert not permits(DOCS_INBOX_URL="http://api:8000")
    assert permits(DOCS_INBOX="on", DOCS_INBOX_URL="http://api:8000")
    own = Settings.from_environment({"DOCS_INBOX": "on", "API_BIND": "127.0.0.1:1234", "CALLBACK_ALLOW": "10.0.0.1"})
    assert own.inbox_url == "http://127.0.0.1:1234"
    assert own.callback_policy.permits("127.0.0.1", "127.0.0.1", 1234)
    assert own.callback_policy.permits("10.0.0.1", "10.0.0.1", 99)
    assert not own.callback_policy.permits("127.0.0.1", "127.0.0.1", 1235)


def test_without_redis_and_without_workers_the_pages_answer(new_service: Callable[..., Service]) -> None:
    service = new_service()
    service.start("api")
    assert service.get("/docs").status_code == 200
    assert service.get("/openapi.json").json()["openapi"] == "3.1.1"
    state = service.get("/").json()
    assert state["ready"] is False
    assert state["reason"]
    text = json.dumps(state) + service.get("/", headers={"Accept": "text/html"}).text
    for secret in (service.environment["REDIS_PASSWORD"], service.environment["MONITOR_PASSWORD"], "redis://"):
        assert secret not in text


def test_the_paths_of_an_unknown_path_name_the_pages(new_service: Callable[..., Service]) -> None:
    service = new_service(EXECUTOR="inline", FRONT_PAGE="off")
    service.start("api")
    description = service.get("/nowhere").json()["description"]
    assert re.search(r"/ready, /metrics, /docs, /openapi\.json\.$", description)


DECLARING = """
def verify_input(json_data: "dict[str, float]"):
    json_data["seen"] = 1
    return json_data

def load_model(): ...
def process(model, json_data): return json_data
def predict(model, data): return data
"""


@pytest.mark.parametrize("settings", [{"EXECUTOR": "inline"}, {}, {"DIRECT": "off"}])
def test_a_declared_schema_is_enforced_on_every_way(
    new_service: Callable[..., Service], settings: dict[str, str]
) -> None:
    service = new_service(**settings)
    (service.project / "app/logic/pipeline.py").write_text(DECLARING)
    service.start(*(("api",) if "EXECUTOR" in settings else ("redis", "api", "denzel")))
    eventually(lambda: service.get("/ready").status_code == 200, "it is ready", 30)
    for _ in range(40):  # until verify_input has come to the event loop, and after
        assert service.predict({"a": 1}).json() == {"a": 1, "seen": 1}
        found = service.predict({"a": "x", "callback_uri": "http://127.0.0.1/"}, prefer="wait=5")
        assert found.status_code == 400
        assert found.json() == {"title": "Bad input format", "description": '$.a: "x" is not of type "number"'}
    assert service.predict([]).json()["description"] == '$: [] is not of type "object"'
    assert service.predict({"a": None}, prefer="respond-async").status_code == 400
    described = service.get("/openapi.json").json()["components"]["schemas"]["Request"]
    assert described["additionalProperties"] == {"type": "number"}
