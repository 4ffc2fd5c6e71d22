"""What `make predict` makes of examples and of a service that is not well."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from commands.service import predict
from commands.shared.project import CommandError

ACCEPTED = {"status": "success", "data": {"task_id": "one"}}
LOADING = {"ready": False, "reason": "the model is loading", "workers": [], "queue": 1}


class Service:
    """A service that answers as it is told: each path has its answers in turn, the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {}
        self.statuses: dict[str, int] = {}  # of paths whose answers are no success
        self.asked: list[tuple[str, bytes]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                service.asked.append((f"{self.command} {self.path}", body))
                left = service.answers[self.path]
                answer = left.pop(0) if len(left) > 1 else left[0]
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                default = 503 if isinstance(answer, dict) and answer.get("ready") is False else 200
                self.send_response(service.statuses.get(self.path, default))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    monkeypatch.setattr(predict, "api_url", lambda: service.url)
    yield service
    service.server.shutdown()
    service.server.server_close()
    thread.join()


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of examples, with one that is answered {"a": 1}."""
    folder = tmp_path / "app" / "assets" / "examples"
    folder.mkdir(parents=True)
    (folder / "one.json").write_text('{"request": {"b": 2}, "response": {"a": 1}}')
    monkeypatch.setattr(predict, "EXAMPLES", folder)
    return folder


# ---------------------------------------------------------------------------------------- a task that waits


def test_a_model_that_does_not_load_ends_the_wait_with_its_error(
    service: Service, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "PATIENCE", 0)
    monkeypatch.setattr(predict, "WAIT", 3)
    error = "load_model raised ValueError: no weights (app/logic/pipeline.py, line 9)"
    worker = {"name": "worker@iris", "state": "ERROR", "error": error}
    service.answers = {
        "/predict": [ACCEPTED],
        "/status/one": [{"status": "PENDING"}],
        "/ready": [LOADING, {"ready": False, "reason": "an error", "workers": [worker], "queue": 1}],
    }
    with pytest.raises(CommandError) as raised:
        predict.run([])
    assert str(raised.value) == (
        f"Worker: worker@iris - ERROR\n  {error}\n"
        'Correct app/logic/pipeline.py, then run "make restart". '
        f"The request waits until then: curl {service.url}/status/one"
    )


def test_what_a_task_waits_for_is_said_once(
    service: Service, examples: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(predict, "PATIENCE", 0)
    service.answers = {
        "/predict": [ACCEPTED],
        "/status/one": [*[{"status": "PENDING"}] * 4, {"status": "SUCCESS", "result": {"a": 1}}],
        "/ready": [LOADING, LOADING, {"ready": True, "reason": None, "workers": [], "queue": 1}],
    }
    assert predict.run([]) == 0
    printed = capsys.readouterr().out
    assert printed.count("Waiting: the model is loading\n") == printed.count("Waiting: ") == 1
    assert printed.endswith("As the example expects.\n")


def test_a_task_that_waits_for_a_moment_needs_no_explanation(service: Service, examples: Path) -> None:
    service.answers = {
        "/predict": [ACCEPTED],
        "/status/one": [{"status": "PENDING"}, {"status": "SUCCESS", "result": {"a": 1}}],
    }
    assert predict.run([]) == 0


# ------------------------------------------------------------------------------------------------- examples


def test_a_request_that_is_null_is_posted(service: Service, examples: Path) -> None:
    service.answers = {"/predict": [{"a": 1}]}
    (examples / "one.json").write_text('{"request": null, "response": {"a": 1}}')
    assert predict.run([]) == 0
    assert service.asked == [("POST /predict", b"null")]


def test_an_example_has_a_tolerance_of_its_own(service: Service, examples: Path) -> None:
    service.answers = {"/predict": [{"a": 1.01}]}
    assert predict.run([]) == 1
    (examples / "one.json").write_text('{"request": 0, "response": {"a": 1}, "tolerance": 0.1}')
    assert predict.run([]) == 0


def test_a_request_alone_is_sent_and_its_answer_shown(
    service: Service, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answers = {"/predict": [{"a": 1}]}
    (examples / "new.json").write_text('{"request": 0}')
    assert predict.run(["EXAMPLE=new"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("what it expects. To keep this answer: make predict EXAMPLE=new SAVE=1\n")


def test_an_example_may_have_a_note_under_its_own_key_alone(service: Service, examples: Path) -> None:
    service.answers = {"/predict": [{"a": 1}]}
    (examples / "one.json").write_text('{"request": 0, "response": {"a": 1}, "description": "from the paper"}')
    assert predict.run([]) == 0
    (examples / "one.json").write_text('{"request": 0, "response": {"a": 1}, "note": "from the paper"}')
    with pytest.raises(CommandError) as raised:
        predict.run([])
    assert str(raised.value) == (
        'app/assets/examples/one.json has an unknown key "note"; an example may have "request", "response", "error", '
        '"tolerance", "description" (for a note: "description").'
    )


def test_a_hidden_file_is_no_example(service: Service, examples: Path) -> None:
    service.answers = {"/predict": [{"a": 1}]}
    (examples / ".lock.json").write_text("none of ours")
    assert predict.run([]) == 0
    with pytest.raises(CommandError, match=r"^There is no example '\.lock' in app/assets/examples\. There are: one$"):
        predict.run(["EXAMPLE=.lock"])


@pytest.mark.parametrize("tolerance", ['"1%"', "null", "true", "-1", "NaN", pytest.param("9" * 400, id="huge")])
def test_a_tolerance_that_is_none_is_told(examples: Path, tolerance: str) -> None:
    (examples / "one.json").write_text(f'{{"request": 0, "response": {{"a": 1}}, "tolerance": {tolerance}}}')
    with pytest.raises(CommandError) as raised:
        predict.run([])
    assert str(raised.value) == 'app/assets/examples/one.json: "tolerance" should be a number, 0 or greater.'


@pytest.mark.parametrize("content", ["[" * 100_000, '{"request": ' + "[" * 300 + "]" * 300 + "}"], ids=len)
def test_an_example_that_is_nested_too_deep_is_told(examples: Path, content: str) -> None:
    (examples / "one.json").write_text(content)
    with pytest.raises(CommandError) as raised:
        predict.run([])
    assert str(raised.value) == ("app/assets/examples/one.json is nested too deep: an example has at most 300 levels.")


def test_the_deepest_example_is_sent_and_compared(service: Service, examples: Path) -> None:
    deep = '{"a": ' * 299 + "1" + "}" * 299
    service.answers = {"/predict": [deep.encode()]}
    (examples / "one.json").write_text(f'{{"request": {deep}, "response": {deep}}}')
    assert predict.run([]) == 0


def test_what_no_terminal_can_show_is_escaped(
    service: Service, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answers = {"/predict": [{}]}
    (examples / "one.json").write_text('{"request": 0, "response": {"\\ud800": "\\u001b[1m\\udfff"}}')
    assert predict.run([]) == 1
    assert '  $.\\ud800: expected "\\u001b[1m\\udfff", but the key is missing\n' in capsys.readouterr().out


# ------------------------------------------------------------------------------- an answer that nothing is expected of


@pytest.mark.parametrize("how", ["synchronous", "asynchronous"])
def test_a_failure_is_not_offered_as_the_expected_answer(
    service: Service,
    examples: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    folder = examples.parents[2]
    monkeypatch.setattr(predict, "ROOT", folder)
    (folder / "logs").mkdir()
    (folder / "logs/worker.log").write_text("Task one failed: KeyError: 'size'\n")
    (examples / "new.json").write_text('{"request": 0}')
    failed = {"title": "Error invoking predict", "description": "KeyError: 'size'"}
    service.answers = {
        "/predict": [failed if how == "synchronous" else ACCEPTED],
        "/status/one": [{"status": "FAILURE", "result": {"args": ["KeyError: 'size'"]}}],
    }
    service.statuses = {"/predict": 500 if how == "synchronous" else 200}
    assert predict.run(["EXAMPLE=new"]) == 1
    said = capsys.readouterr().out
    assert said.endswith("\nThe example does not say what it expects.\nThe traceback: make logworker\n")


def test_a_refusal_can_be_kept(service: Service, examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (examples / "new.json").write_text('{"request": 0}')
    service.answers = {"/predict": [{"title": "Bad input format", "description": "no flowers"}]}
    service.statuses = {"/predict": 400}
    assert predict.run(["EXAMPLE=new"]) == 1
    assert capsys.readouterr().out.endswith("To keep this answer: make predict EXAMPLE=new SAVE=1\n")
