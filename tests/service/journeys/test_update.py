"""A project of the time when the framework lay in app/ is baked over: what it had accepted is served by the new one."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

from tests.service.support.sending import SECRET
from tests.support.bakery import bake, rebake
from tests.support.earlier import earlier_template
from tests.support.http import ASYNC
from tests.support.receivers import Receivers, Reply
from tests.support.services import Service
from tests.support.waiting import eventually

SCRIPTED = Path(__file__).parents[1] / "support/pipelines/scripted.py"


def test_tasks_that_were_queued_before_the_update_are_served_after_it(tmp_path: Path, receivers: Receivers) -> None:
    project = bake(tmp_path, template=earlier_template(tmp_path), project_slug="updated", example="none")
    shutil.copy(SCRIPTED, project / "app/logic/pipeline.py")
    (project / "model").touch()
    receiver = receivers.open(Reply(503), Reply())
    with Service(project, CALLBACK_ALLOW="127.0.0.1", CALLBACK_SECRET=SECRET) as service:
        service.start("redis", "api")  # without a worker: what is accepted waits
        polled = {service.submit({"predict": f"{{'polled': {number}}}"}): {"polled": number} for number in range(20)}
        called = {
            service.submit({"predict": f"{{'called': {number}}}", "callback_uri": receiver.url}): {"called": number}
            for number in range(10)
        }
        failing = service.submit({"predict": "throw(ValueError('no'))", "callback_uri": receiver.url})
        ran_out = service.predict({"predict": "{'ran': 'out'}"}, prefer="wait=0.1")
        assert ran_out.status_code == 202
        polled[ran_out.headers["Denzel-Task-Id"]] = {"ran": "out"}
        cancelled = service.submit({"predict": "{'never': 1}", "callback_uri": receiver.url})
        assert service.request("DELETE", f"/status/{cancelled}").status_code == 202
        with_key = {"body": {"predict": "{'with': 'key'}"}, "headers": {"Idempotency-Key": str(uuid.uuid4())}}
        kept = service.predict(prefer=ASYNC, **with_key).json()["data"]["task_id"]
        polled[kept] = {"with": "key"}
        assert service.run("app.control", "response", "async").returncode == 0
        service.stop("api")
        service.stop("redis")
        assert (project / "app/store.py").exists()

        rebake(project, example="none")

        assert not (project / "app/store.py").exists()
        service.start("redis", "api", "denzel")
        service.wait_ready()
        for task_id, answer in (polled | called).items():
            record = service.wait(task_id)
            assert (record["status"], record["result"], record["attempts"]) == ("SUCCESS", answer, 1)
        assert service.wait(failing)["result"] == {"args": ["no"], "type": "ValueError"}
        assert service.status(cancelled)["status"] == "REVOKED"
        wanted = {*called, failing, cancelled}
        eventually(lambda: delivered(receiver.received).keys() == wanted, "all callbacks arrive", timeout=30)
        bodies = delivered(receiver.received)
        assert {task_id: bodies[task_id] for task_id in called} == called
        assert bodies[failing]["result"] == {"args": ["no"], "type": "ValueError"}
        assert bodies[cancelled]["status"] == "REVOKED"
        assert service.predict(prefer=ASYNC, **with_key).json()["data"]["task_id"] == kept
        assert "Location" in service.predict({"a": 1}).headers, "the live setting holds"
        assert service.log("denzel").count("Traceback") == 1, "that of the task that fails"


def delivered(received: list) -> dict[str, dict]:
    """The bodies of the callbacks that were taken, by task."""
    return {request.task_id: json.loads(request.body) for request in list(received) if request.answered == 200}
