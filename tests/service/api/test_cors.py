"""Web pages of other origins: those of CORS_ORIGINS may use the API, browsers keep its answers from all others."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from denzel.settings import Settings, SettingsError
from tests.support.services import Service

PAGE = "https://app.example.com"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,prefer"}
EXPOSED = {
    *("Denzel-Model", "Denzel-Task-Id", "Location", "Preference-Applied", "Retry-After"),
    *("Server-Timing", "X-Request-Id"),
}
REQUEST = {"data": {"a": 1}}


@pytest.fixture(scope="module")
def named(new_service: Callable[..., Service], page: str) -> Service:
    """A service that names two origins: one of nowhere, and the local page's."""
    service = new_service(CORS_ORIGINS=f"{PAGE}, {page}", MAX_BODY_BYTES=1000, EXECUTOR="inline")
    service.start("api")
    return service


@pytest.fixture(scope="module")
def open_to_all(new_service: Callable[..., Service]) -> Service:
    service = new_service(CORS_ORIGINS="*", EXECUTOR="inline")
    service.start("api")
    return service


def test_a_preflight_is_answered(named: Service) -> None:
    for path in ("/predict", "/status/1", "/info", "/nowhere"):
        response = named.request("OPTIONS", path, headers={"Origin": PAGE, **PREFLIGHT})
        assert (response.status_code, response.content) == (204, b"")
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert response.headers["Vary"] == "Origin"
        assert {"POST", "GET", "DELETE"} <= set(response.headers["Access-Control-Allow-Methods"].split(", "))
        allowed = {name.lower() for name in response.headers["Access-Control-Allow-Headers"].split(", ")}
        own = {"content-type", "prefer", "idempotency-key", "authorization", "x-api-key"}
        assert allowed == {*own, "x-request-id", "traceparent", "tracestate"}


def test_answers_and_errors_may_be_read(named: Service) -> None:
    asked = [
        named.predict(REQUEST, headers={"Origin": PAGE}),
        named.predict(b"{", headers={"Origin": PAGE}),
        named.predict(b"x" * 2000, headers={"Origin": PAGE}),
        named.predict(b"{}", headers={"Origin": PAGE, "Content-Encoding": "gzip"}),
        named.get("/nowhere", headers={"Origin": PAGE}),
        named.get("/info", headers={"Origin": PAGE}),
        named.get("/predict", headers={"Origin": PAGE}),
        named.request("HEAD", "/ping", headers={"Origin": PAGE}),
        named.request("OPTIONS", "/info", headers={"Origin": PAGE}),
    ]
    assert [response.status_code for response in asked] == [200, 400, 413, 415, 404, 200, 405, 200, 200]
    for response in asked:
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert set(response.headers["Access-Control-Expose-Headers"].split(", ")) == EXPOSED
        assert response.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://app.example.com", f"{PAGE}:444", f"{PAGE}.x", "null"]
)
def test_other_pages_may_not(named: Service, origin: str) -> None:
    for response in (
        named.request("OPTIONS", "/predict", headers={"Origin": origin, **PREFLIGHT}),
        named.predict(REQUEST, headers={"Origin": origin}),
    ):
        assert not [name for name in response.headers if name.lower().startswith("access-control")]
        assert response.headers["Vary"] == "Origin"


def test_caches_know_that_answers_differ_by_origin(named: Service) -> None:
    assert named.get("/info").headers["Vary"] == "Origin"


def test_any_page_may_where_all_are_named(open_to_all: Service) -> None:
    for origin in (PAGE, "null"):
        response = open_to_all.predict(REQUEST, headers={"Origin": origin})
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Vary" not in response.headers


def test_by_default_nothing_is_added(service: Service) -> None:
    for response in (
        service.request("OPTIONS", "/predict", headers={"Origin": PAGE, **PREFLIGHT}),
        service.predict(REQUEST, headers={"Origin": PAGE}),
    ):
        assert not [name for name in response.headers if name.lower().startswith(("access-control", "vary"))]


# ---- The setting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("", ""),
        (" * ", "*"),
        ("https://A.example.com , http://localhost:3000,", "https://a.example.com,http://localhost:3000"),
        ("https://a.example.com:443,http://b:80,http://c:443", "https://a.example.com,http://b,http://c:443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_origins_are_read_as_browsers_send_them(written: str, read: str) -> None:
    assert Settings.from_environment({"CORS_ORIGINS": written}).cors_origins == read


@pytest.mark.parametrize(
    "written",
    ["app.example.com", "https://", "https://a/", "https://a/b", "https://u@a", "https://a:x", "https://a:99999",
     "https://*.a.com", "null", "https://a b", 'https://a"', "//a", "https://a?b", "https://[::1"],
)  # fmt: skip
def test_what_is_no_origin_is_named(written: str) -> None:
    with pytest.raises(SettingsError, match=r"CORS_ORIGINS: expected origins such as https://app\.example\.com") as e:
        Settings.from_environment({"CORS_ORIGINS": f"https://good.example,{written}"})
    assert repr(written) in str(e.value)


# ---- A browser -------------------------------------------------------------------------------------------------------

SCRIPT = """<title>page</title><body><script>
async function ask() {
  const seen = {};
  const headers = {"Content-Type": "application/json", "Prefer": "wait=5", "Idempotency-Key": crypto.randomUUID()};
  const request = {method: "POST", headers, body: JSON.stringify({data: {a: 1}})};
  const answer = await fetch("URL/predict", request);
  seen.predict = [answer.status, await answer.json(), !!answer.headers.get("Denzel-Task-Id"),
                  answer.headers.get("Preference-Applied")];
  const refused = await fetch("URL/predict", {...request, body: "{"});
  seen.refused = [refused.status, (await refused.json()).title];
  const large = await fetch("URL/predict", {...request, body: JSON.stringify("x".repeat(2000))});
  seen.large = [large.status, (await large.json()).title];
  const status = await fetch("URL/status/" + answer.headers.get("Denzel-Task-Id"), {method: "DELETE"});
  seen.cancelled = status.status;
  return seen;
}
ask().catch(error => String(error)).then(seen => {
  const result = document.createElement("pre");
  result.id = "seen";
  result.textContent = JSON.stringify(seen);
  document.body.append(result);
});
</script></body>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[str]:
    """The origin of a page that another server serves."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def see(page: str, folder: Path, service: Service, profile: Path) -> object:
    """What a script on the page sees of the service, in Chromium."""
    if not (chromium := shutil.which("chromium")):
        pytest.skip("needs Chromium")
    (folder / "index.html").write_text(SCRIPT.replace("URL", service.url))
    flags = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
    flags += ["disable-component-update", "disable-sync", f"user-data-dir={profile}", "virtual-time-budget=20000"]
    done = subprocess.run(
        [chromium, *(f"--{flag}" for flag in flags), "--dump-dom", f"{page}/"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout + done.stderr[-3000:]
    return json.loads(found[1])


def test_a_browser_lets_the_page_read_everything(page: str, folder: Path, named: Service, tmp_path: Path) -> None:
    assert see(page, folder, named, tmp_path) == {
        "predict": [200, {"answer": {"data": {"a": 1}}}, True, "wait=5"],
        "refused": [400, "Malformed JSON"],
        "large": [413, "Request too large"],
        "cancelled": 409,
    }


def test_a_browser_keeps_the_answers_from_other_pages(
    page: str, folder: Path, new_service: Callable[..., Service], tmp_path: Path
) -> None:
    service = new_service(CORS_ORIGINS=PAGE, EXECUTOR="inline")
    service.start("api")
    assert see(page, folder, service, tmp_path) == "TypeError: Failed to fetch"
