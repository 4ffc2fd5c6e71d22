"""The Iris project served by `make dev`: examples, callbacks, modes, and how its real services end."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator

import pytest
import redis

from tests.local.running import Dev, make


def post(url: str, document: dict, **headers: str) -> dict:
    request = urllib.request.Request(f"{url}/predict", json.dumps(document).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


@pytest.fixture
def url(iris_dev: Dev) -> str:
    return json.loads(iris_dev.marker.read_text())["api_url"]


@pytest.fixture
def asynchronous(iris_dev: Dev) -> Iterator[None]:
    """Answers are asynchronous."""
    assert make(iris_dev.project, "response", "MODE=async").returncode == 0
    yield
    assert make(iris_dev.project, "response", "MODE=sync").returncode == 0


# ----------------------------------------------------------------------------------------------- the start


def test_the_urls_are_shown_when_it_is_ready(iris_dev: Dev, url: str) -> None:
    iris_dev.wait_for("Ctrl-C stops everything.")
    lines = [line.removeprefix("dev     | ") for line in iris_dev.text().splitlines() if line.startswith("dev ")]
    ready = next(number for number, line in enumerate(lines) if re.fullmatch(r"Ready after \d+\.\d s", line))
    # Nothing is said but what is waited for, if the model takes longer than the API.
    assert all(re.fullmatch(r"Waiting: the model is loading( \(\d+ s\))?", line) for line in lines[:ready])
    assert lines[ready + 1] == f"  API      {url}   (try it: make predict)"
    assert re.fullmatch(r"  Monitor  http://127.0.0.1:\d+   \(user admin, password: .*\)", lines[ready + 2])
    assert re.fullmatch(r"  Redis    127.0.0.1:\d+ \(Redis .*, data in .denzel/redis\)", lines[ready + 3])


def test_its_redis_may_not_fill_the_machine(iris_dev: Dev) -> None:
    with redis.Redis.from_url(json.loads(iris_dev.marker.read_text())["redis_url"]) as client:
        memory = client.info("memory")
    assert 32 << 20 <= memory["maxmemory"] <= memory["total_system_memory"] // 4


def test_the_other_commands_act_on_it(iris_dev: Dev) -> None:
    shown = make(iris_dev.project, "status").stdout
    assert "Worker: worker@iris_classifier - UP" in shown
    assert shown.count("UP") == 5
    assert "denzel  | " in make(iris_dev.project, "logs", "SERVICE=denzel").stdout


# ----------------------------------------------------------------------------------------- make predict


def test_an_example_is_sent_and_compared(iris_dev: Dev, url: str) -> None:
    done = make(iris_dev.project, "predict", "EXAMPLE=two_flowers")
    assert done.returncode == 0, done.stderr
    assert f"POST {url}/predict   (app/assets/examples/two_flowers.json)" in done.stdout
    assert re.search(r"^200 OK   \(\d+ ms\)$", done.stdout, re.MULTILINE)
    assert re.search(r"^Denzel-Task-Id: \S{36}$", done.stdout, re.MULTILINE)
    assert '{\n  "a123": "Iris-setosa",\n  "b456": "Iris-virginica"\n}' in done.stdout
    assert done.stdout.endswith("\nAs the example expects.\n")


def test_without_a_name_the_first_that_expects_an_answer_is_sent(iris_dev: Dev) -> None:
    done = make(iris_dev.project, "predict")
    assert "(app/assets/examples/one_flower.json)" in done.stdout
    assert done.returncode == 0


def test_an_expected_error_is_as_good_as_an_answer(iris_dev: Dev) -> None:
    done = make(iris_dev.project, "predict", "EXAMPLE=missing_feature.json")
    assert done.returncode == 0, done.stderr
    assert "400 Bad Request" in done.stdout
    assert "As the example expects." in done.stdout


def test_an_asynchronous_answer_is_waited_for(iris_dev: Dev, asynchronous: None) -> None:
    done = make(iris_dev.project, "predict", "EXAMPLE=two_flowers")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Location: /status/\S{36}$", done.stdout, re.MULTILINE)
    assert re.search(r"^GET http://\S+/status/\S{36}   until it has ended$", done.stdout, re.MULTILINE)
    assert '"status": "SUCCESS"' in done.stdout
    assert "As the example expects." in done.stdout


def test_another_answer_is_told_apart(iris_dev: Dev) -> None:
    examples = iris_dev.project / "app" / "assets" / "examples"
    example = json.loads((examples / "two_flowers.json").read_text())
    wrong = {**example, "response": {"a123": "Iris-rosea", "z": 1}}
    (examples / "wrong.json").write_text(json.dumps(wrong))
    (examples / "broken.json").write_text("{")
    try:
        done = make(iris_dev.project, "predict", "EXAMPLE=wrong")
        broken = make(iris_dev.project, "predict", "EXAMPLE=broken")
    finally:
        (examples / "wrong.json").unlink()
        (examples / "broken.json").unlink()
    assert done.returncode == 2
    assert done.stdout.splitlines()[-4:] == [
        "Not what the example expects:",
        '  $.a123: expected "Iris-rosea", got "Iris-setosa"',
        "  $.z: expected 1, but the key is missing",
        '  $.b456: not expected, got "Iris-virginica"',
    ]
    assert broken.stderr.startswith("app/assets/examples/broken.json cannot be read as JSON:")


def test_an_unknown_example_gets_the_names(iris_dev: Dev) -> None:
    done = make(iris_dev.project, "predict", "EXAMPLE=no such")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        "There is no example 'no such' in app/assets/examples. There are: missing_feature, one_flower, two_flowers"
    )


def test_a_proxy_of_the_shell_is_not_asked(iris_dev: Dev) -> None:
    done = make(iris_dev.project, "predict", http_proxy="http://127.0.0.1:1", HTTP_PROXY="http://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
