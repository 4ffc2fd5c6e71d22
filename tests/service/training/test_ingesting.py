"""`make ingest`: a background task of the queue that is seen, resumed, cancelled, and holds up no prediction."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest
import requests

from tests.service.training.test_version import REQUEST
from tests.support.processes import children_of
from tests.support.services import Service
from tests.support.waiting import eventually

ROWS, CHUNK = 2000, 100


@pytest.fixture
def slow(regression: Service) -> Service:
    """It ingests 100 rows at a time, each in 0.2 s, and notes which; with everything running."""
    path = regression.project / "app/training.py"
    text = path.read_text().replace("CHUNK = 500", f"CHUNK = {CHUNK}")
    noted = '        open("chunks.txt", "a").write(f"{first}\\n")\n        time.sleep(0.2)\n'
    path.write_text(text.replace("        INGESTED.write(", f"{noted}        INGESTED.write("))
    regression.start("redis", "api", "denzel", "monitor")
    regression.wait_ready()
    return regression


def ingest(service: Service) -> str:
    """Queue it; its id."""
    done = service.run("denzel.control", "ingest")
    assert done.returncode == 0, done.stderr
    return done.stdout.split(": ")[1].split(".")[0]


def process(service: Service) -> int:
    """The process that ingests, once there is one."""

    def find() -> int | None:
        found = children_of(service.pid("denzel")).items()
        return next((pid for pid, command in found if "denzel.worker.ingesting" in command), None)

    return eventually(find, "a process ingests", 20)


def rows(project: Path) -> int:
    with sqlite3.connect(project / "data/points.sqlite") as database:
        return database.execute("SELECT count(*) FROM points").fetchone()[0]


def chunks(project: Path) -> list[int]:
    return [int(line) for line in (project / "chunks.txt").read_text().split()]


def progress(service: Service, task_id: str, least: int) -> dict:
    return eventually(
        lambda: status if (status := service.status(task_id)).get("done", 0) >= least else None, "progress", 20
    )


def in_monitor(service: Service, task_id: str) -> dict:
    url = f"http://127.0.0.1:{service.ports['monitor']}/api/task/info/{task_id}"
    answer = requests.get(url, auth=("admin", service.environment["MONITOR_PASSWORD"]), timeout=5)
    return answer.json() if answer.status_code == 200 else {}


def test_progress_and_end_are_seen_and_predictions_go_on(slow: Service) -> None:
    task_id = ingest(slow)
    status = progress(slow, task_id, CHUNK)
    assert (status["status"], status["total"]) == ("STARTED", ROWS)
    began = time.monotonic()
    assert slow.predict(REQUEST).status_code == 200
    assert time.monotonic() - began < 1.5, "the only prediction process does not ingest"
    assert slow.ready()["ingest"]["status"] == "STARTED"
    assert slow.ready()["workers"][0]["processes"] == 1
    eventually(lambda: in_monitor(slow, task_id).get("name") == "denzel.ingest", "the monitor shows it", 20)
    eventually(lambda: f"of {ROWS}" in str(in_monitor(slow, task_id).get("result")), "and how far it is", 20)
    assert ingest(slow) == task_id, "a second one is not begun beside it"
    ended = slow.wait(task_id, timeout=60)
    assert (ended["status"], ended["result"], ended["done"]) == ("SUCCESS", {"done": ROWS}, ROWS)
    assert slow.ready()["ingest"] == {"id": task_id, "status": "SUCCESS", "done": ROWS, "total": ROWS}
    eventually(lambda: in_monitor(slow, task_id).get("state") == "SUCCESS", "the monitor shows the end", 20)
    assert rows(slow.project) == ROWS
    eventually(lambda: "The ingesting has ended" in slow.log("denzel"), "the log tells it")


@pytest.mark.parametrize("whole", [False, True], ids=["process", "container"])
def test_a_killed_worker_resumes_it(slow: Service, whole: bool) -> None:
    task_id = ingest(slow)
    pid = process(slow)
    done = progress(slow, task_id, 5 * CHUNK)["done"]
    if whole:
        slow.kill("denzel")
        slow.start("denzel")
    else:
        os.kill(pid, signal.SIGKILL)
    ended = slow.wait(task_id, timeout=60)
    assert (ended["status"], ended["done"], ended["attempts"]) == ("SUCCESS", ROWS, 2)
    assert rows(slow.project) == ROWS
    ran = chunks(slow.project)
    assert ran[0] == 0
    assert ran.count(0) == 1, "it was continued, and not begun anew"
    assert len(ran) <= ROWS // CHUNK + 1
    assert set(ran) == set(range(0, ROWS, CHUNK))
    assert done >= 5 * CHUNK


def test_a_stopped_worker_gives_it_back(slow: Service) -> None:
    task_id = ingest(slow)
    progress(slow, task_id, CHUNK)
    slow.stop("denzel")
    assert slow.status(task_id)["status"] == "PENDING"
    slow.start("denzel")
    assert slow.wait(task_id, timeout=60)["status"] == "SUCCESS"
    assert len(chunks(slow.project)) == ROWS // CHUNK, "no part was ingested twice"


def test_it_can_be_cancelled_and_gone_on_with(slow: Service) -> None:
    task_id = ingest(slow)
    progress(slow, task_id, 2 * CHUNK)
    assert slow.request("DELETE", f"/status/{task_id}").status_code == 202
    assert slow.status(task_id)["status"] == "REVOKED"
    eventually(
        lambda: not any("ingesting" in command for command in children_of(slow.pid("denzel")).values()),
        "its process ends", 20,
    )  # fmt: skip
    again = ingest(slow)
    assert again != task_id
    assert slow.wait(again, timeout=60)["status"] == "SUCCESS"
    assert chunks(slow.project).count(0) == 1
    assert rows(slow.project) == ROWS


def test_an_error_is_told(regression: Service) -> None:
    path = regression.project / "app/training.py"
    path.write_text(
        path.read_text().replace("        INGESTED.write(", "        raise OSError('no such table')\n        (")
    )
    regression.start("redis", "api", "denzel")
    regression.wait_ready()
    task_id = ingest(regression)
    ended = regression.wait(task_id, timeout=30)
    assert (ended["status"], ended["result"]) == ("FAILURE", {"args": ["no such table"], "type": "OSError"})
    assert regression.ready()["ingest"]["error"] == "no such table"
    eventually(lambda: 'raise OSError("no such table")' in regression.log("denzel").replace("'", '"'), "the traceback")


def test_a_process_that_dies_again_and_again_is_given_up(regression: Service) -> None:
    path = regression.project / "app/training.py"
    path.write_text(path.read_text().replace("    total = len(SOURCE)\n", "    os._exit(9)\n    total = 0\n"))
    regression.start("redis", "api", "denzel")
    regression.wait_ready()
    ended = regression.wait(ingest(regression), timeout=60)
    assert ended["status"] == "FAILURE"
    assert ended["result"]["args"] == ["the process died 3 times without any progress"]


def test_a_project_without_it_is_told_what_to_write(service: Service) -> None:
    done = service.run("denzel.control", "ingest")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "There is nothing to ingest yet: write ingest(start) into app/training.py, a generator that yields (done, "
        "total) after each part, as README.md says (Training)"
    )
    assert "ingest" not in service.ready()
