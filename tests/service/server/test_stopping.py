"""The API's processes stop at once, but for what is under way."""

from __future__ import annotations

import shutil
import threading
import time

from tests.support.services import Service
from tests.support.waiting import eventually


def test_idle_connections_do_not_hold_up_a_stop(waiting: Service) -> None:
    import requests

    with requests.Session() as session:
        session.trust_env = False
        assert session.get(waiting.url + "/ping").status_code == 200
        began = time.monotonic()
        assert waiting.stop("api") == 0
        assert time.monotonic() - began < 5
    waiting.start("api")


def test_a_request_in_flight_is_answered_before_the_api_ends(waiting: Service) -> None:
    answers: list = []
    client = threading.Thread(target=lambda: answers.append(waiting.predict({"a": 1}, prefer="wait=1")))
    client.start()
    eventually(lambda: waiting.redis.keys("denzel/tested:task:*"), "the task is there")
    assert waiting.stop("api") == 0
    client.join()
    assert answers[0].status_code == 202
    waiting.start("api")


def test_the_api_ends_promptly_while_it_starts(waiting: Service) -> None:
    pipeline = waiting.project / "app/logic/pipeline.py"
    shutil.copy(pipeline, waiting.project / "pipeline.bak")
    waiting.stop("api")
    pipeline.write_text("import time\nopen('importing', 'w').close()\ntime.sleep(60)\n")
    try:
        waiting.start_only("api")
        eventually((waiting.project / "importing").exists, "the pipeline is being imported")
        began = time.monotonic()
        waiting.stop("api")
        assert time.monotonic() - began < 5
    finally:
        shutil.move(waiting.project / "pipeline.bak", pipeline)
        waiting.start("api")
