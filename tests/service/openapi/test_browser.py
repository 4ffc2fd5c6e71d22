"""The pages in Debian's Chromium: /docs is clicked through on three projects, with the mouse and by keys alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.service.support.baked import BAKED
from tests.support import browser
from tests.support.browser import Browser
from tests.support.services import Service
from tests.support.waiting import eventually

OPEN = "document.body.dataset.open === 'yes' && !!document.querySelector('.opblock-body .execute')"
RESULT = "document.querySelector('#result')"
STEPS = "[...document.querySelectorAll('#steps li')].map((one) => one.dataset.step)"
ENDED = "!!document.querySelector('#result').dataset.ended"
# The answer that Swagger UI shows of a request that it has sent.
EXECUTED = "document.querySelector('.live-responses-table tr.response .response-col_status')?.innerText.trim()"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Each text of the page with its contrast to what is behind it (WCAG 2.2, 1.4.3), where that is too low.
TOO_FAINT = """(() => {
    const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
        .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
        .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (element) => {
        for (let one = element; one; one = one.parentElement) {
            const found = numbers(getComputedStyle(one).backgroundColor);
            if (found.length === 3 || found[3] > 0.5) return found;
        }
        return [255, 255, 255];
    };
    const faint = [];
    for (const element of document.querySelectorAll(SELECTOR)) {
        const own = [...element.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
        if (!own || element.offsetParent === null || element.disabled) continue;
        const [a, b] = [light(numbers(getComputedStyle(element).color)), light(ground(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < LEAST) faint.push(`${element.tagName} ${element.className} ${element.textContent.slice(0, 40)}`
            + ` ${contrast.toFixed(1)}`);
    }
    return faint;
})()"""


@pytest.fixture(autouse=True)
def chromium() -> None:
    browser.needed()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Browser]:
    """A browser, in which nothing is open yet; what it complains of fails the test."""
    with Browser(tmp_path) as page:
        yield page
        page.run("1")  # what is still under way has been said by then
        assert not page.complaints


def at_docs(page: Browser, service: Service) -> None:
    page.open(f"{service.url}/docs")
    page.wait(OPEN)


def ended(page: Browser) -> list[str]:
    """The steps of the request that was sent, once it has ended."""
    page.wait(ENDED)
    return page.run(STEPS)


def shown(page: Browser) -> dict:
    return json.loads(page.run(f"{RESULT}.textContent"))


@pytest.mark.parametrize("name", sorted(BAKED))
def test_everything_is_clicked_through(page: Browser, serve: Callable[[str], Service], name: str) -> None:
    service = serve(name)
    at_docs(page, service)
    page.wait("document.querySelector('#readiness').dataset.ready === 'true'")

    page.click(".opblock-body .execute")  # Swagger UI's own: the first click predicts
    page.wait(f"{EXECUTED} === '200'")

    page.click("#sync")
    assert ended(page) == ["200"]
    first = shown(page)
    assert first

    page.click("#async")
    steps = ended(page)
    assert (steps[0], steps[-1]) == ("200", "SUCCESS")
    assert shown(page)["result"] == first

    page.click("#callback")
    steps = ended(page)
    assert steps[-2:] == ["SUCCESS", "CALLBACK"]
    text = page.run(f"{RESULT}.textContent")
    assert "webhook-signature: v1," in text
    assert json.loads(text.partition("\n\n")[2]) == first
    assert "its signature is valid" in page.run("document.querySelector('#steps').innerText")

    examples = page.run("[...document.querySelectorAll('#example option')].map((one) => one.value)")
    assert sorted(examples) == sorted(path.stem for path in (service.project / "app/assets/examples").glob("*.json"))
    for example in examples:
        page.run(f"""(() => {{
            const select = document.querySelector('#example');
            select.value = {json.dumps(example)};
            select.dispatchEvent(new Event('change'));
        }})()""")
        content = json.loads((service.project / f"app/assets/examples/{example}.json").read_text())
        assert json.loads(page.run("document.querySelector('#body').value")) == content["request"]
        page.click("#sync")
        assert ended(page) == ["200" if "response" in content else "400"]
    assert page.run("window.hacked") is None
    assert {urlsplit(url).netloc for url in page.asked if url.startswith("http")} == {urlsplit(service.url).netloc}


def test_why_there_is_no_inbox_is_shown(page: Browser, serve: Callable[[str], Service]) -> None:
    at_docs(page, serve(next(iter(BAKED))))
    refusal = json.dumps(json.dumps({"title": "No inbox", "description": "The folder is not ours."}))
    page.run(
        "window.fetch = ((ask) => (path, options) => String(path).endsWith('docs/inbox')"
        f" ? Promise.resolve(new Response({refusal}, {{status: 503}})) : ask(path, options))(window.fetch); 1"
    )
    page.click("#callback")
    page.wait(ENDED)
    assert "The folder is not ours." in page.run("document.querySelector('#steps').innerText")


def test_a_task_is_followed_while_it_waits_and_can_be_cancelled(
    page: Browser, new_service: Callable[..., Service]
) -> None:
    service = new_service()
    (service.project / "app/assets/examples/one.json").write_text('{"request": {"a": 1}, "response": {}}')
    service.start("redis", "api")
    at_docs(page, service)
    assert "Not ready: no worker" in page.wait("document.querySelector('#readiness').innerText")
    page.click("#async")
    page.wait(f"{STEPS}.includes('PENDING')")
    page.click("#cancel")
    assert ended(page)[-1] == "REVOKED"
    page.click("#async")
    page.wait(f"{STEPS}.includes('PENDING') && {STEPS}.length === 2")
    service.start("denzel")
    page.wait(ENDED, 60)
    assert page.run(STEPS)[-1] in ("SUCCESS", "FAILURE")


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_it_is_readable_light_and_dark_wide_and_narrow(
    page: Browser, serve: Callable[[str], Service], width: int, dark: bool
) -> None:
    service = serve("iris")
    page.resize(width)
    page.colour(dark)
    for path, ready in (("/docs", OPEN), ("/", "document.querySelector('#readiness').dataset.ready === 'true'")):
        page.open(service.url + path)
        page.wait(ready)
        if path == "/docs":
            page.click("#sync")
            ended(page)
            page.click(".opblock-body .execute")
            page.wait(f"{EXECUTED} === '200'")
        assert page.run(OVERFLOW) == 0, path
        ground = page.run("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") is not dark
        own = TOO_FAINT.replace("SELECTOR", "'header *, .card *'").replace("LEAST", "4.5")
        assert page.run(own) == []
        theirs = TOO_FAINT.replace("SELECTOR", "'.swagger-ui *'").replace("LEAST", "4.5")
        assert page.run(theirs) == []


def test_keys_alone_are_enough(page: Browser, serve: Callable[[str], Service]) -> None:
    service = serve("iris")
    at_docs(page, service)
    page.tab_to(".skip")
    page.tab_to("#example")
    before = page.run("document.querySelector('#body').value")
    page.press("ArrowDown")
    assert page.run("document.querySelector('#body').value") != before
    for selector, key, last in (
        ("#sync", "Enter", "200"),
        ("#async", " ", "SUCCESS"),
        ("#callback", "Enter", "CALLBACK"),
    ):
        page.tab_to(selector)
        outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", f"the focus is not seen on {selector}"
        page.press(key)
        assert ended(page)[-1] == last
    page.tab_to(".opblock-body .execute")
    page.press("Enter")
    page.wait(f"{EXECUTED} === '200'")


def test_the_front_page_tells_how_the_service_is(page: Browser, serve: Callable[[str], Service]) -> None:
    service = serve("hostile")
    page.open(f"{service.url}/")
    page.wait("document.querySelector('#readiness').dataset.ready === 'true'")
    assert page.run("document.querySelector('#workers td[data-state]').innerText") == "UP"
    assert "window.hacked" in page.run("document.querySelector('.text').innerText")
    assert page.run("window.hacked") is None
    request = {"data": {"a": {"name": "x"}}}

    def rate() -> float:
        assert service.predict(request).status_code == 200
        return page.run("parseFloat(document.querySelector('#rate').innerText.match(/second: ([0-9.]+)/)?.[1] ?? 0)")

    eventually(lambda: rate() > 0, page.told, 60)
    page.wait("document.querySelector('#rate-plot path').getAttribute('d').length > 5")
    assert "half of them took" in page.run("document.querySelector('#latency').innerText")
    page.click("nav a[href='docs']")
    page.wait(OPEN)
    assert page.run("window.hacked") is None


def test_everything_works_under_a_path_of_a_proxy(page: Browser, prefixed: str) -> None:
    """A proxy that serves the API at /models/iris/."""
    page.open(f"{prefixed}/docs")
    page.wait(OPEN)
    page.click(".opblock-body .execute")
    page.wait(f"{EXECUTED} === '200'")
    page.click("#async")
    assert ended(page)[-1] == "SUCCESS"
    page.open(f"{prefixed}/")
    page.wait("document.querySelector('#readiness').dataset.ready === 'true'")
    assert all(url.startswith((prefixed, "data:", "about:")) for url in page.asked), page.asked


@pytest.fixture
def prefixed(serve: Callable[[str], Service]) -> Iterator[str]:
    """Where a proxy serves the Iris project, which takes /models/iris off each path."""
    import http.server
    import threading

    import requests

    service = serve("iris")

    class Proxy(http.server.BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            prefix, found, path = self.path.partition("/models/iris")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if prefix or not found:
                self.send_error(404)
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            headers["Accept-Encoding"] = "identity"
            answer = requests.request(self.command, service.url + path, data=body, headers=headers, timeout=30)
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name.lower() not in ("connection", "date", "server", "transfer-encoding"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_DELETE = pass_on

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/models/iris"
        server.shutdown()
