"""New code and stops while clients are at work: nothing that was sent is dropped."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import uvloop

from denzel.processes import is_stopped
from denzel.server.server import Server, Worker
from tests.support.clients import Clients
from tests.support.processes import children_of
from tests.support.services import Service
from tests.support.waiting import eventually

HEADER = "Denzel-Reloads"


@pytest.fixture
def running(new_project: Callable[[], object]) -> Iterator[Service]:
    """A service with two API processes."""
    with Service(new_project(), API_WORKERS=2, STOP_GRACE=3) as service:
        service.start("redis", "api", "denzel")
        service.wait_ready()
        yield service


def reload(service: Service, timeout: float = 30.0) -> str:
    """Reload the API; what it says of its reloads then."""
    before = service.get("/ping").headers[HEADER]
    os.kill(service.pid("api"), signal.SIGHUP)
    return eventually(
        lambda: (now := service.get("/ping").headers[HEADER]) != before and ended(now) and now,
        "the API has been reloaded",
        timeout,
    )


def ended(counts: str) -> bool:
    """Whether no reload is under way."""
    begun, done, failed = map(int, counts.split()[1:])
    return begun == done + failed


def change(service: Service, old: str, new: str) -> None:
    path = service.project / "app/logic/pipeline.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


# ---- The API ---------------------------------------------------------------------------------------------------------


def test_the_api_takes_up_new_code_while_clients_ask_without_pause(running: Service) -> None:
    service = running
    first = service.get("/ping").headers[HEADER]
    assert first.split()[1:] == ["0", "0", "0"]
    with Clients(service.url) as clients:
        eventually(lambda: clients.answered > 50, "the clients are answered")
        for count in range(1, 4):
            before = children_of(service.pid("api"))
            assert len(before) == 2
            assert reload(service) == f"{first.split()[0]} {count} {count} 0"
            eventually(lambda before=before: not before.keys() & children_of(service.pid("api")).keys(), "all are new")
            assert len(children_of(service.pid("api"))) == 2
    assert set(clients.outcomes) == {200}


def test_when_a_reload_is_done_no_request_meets_the_old_code(running: Service) -> None:
    service = running
    change(service, '    note("verify_input")\n', '    raise ValueError("the new code")\n')
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(service.predict, {"predict": "{'old': wait_for('go')}"}, prefer="wait=20")
        eventually(lambda: service.events("process"), "a request waits in an old process")
        reload(service)
        answers = list(pool.map(lambda number: service.predict({"number": number}), range(40)))
        assert {answer.json()["description"] for answer in answers} == {"the new code"}
        (service.project / "go").touch()
        assert waiting.result().json() == {"old": True}


def test_clients_are_served_by_the_old_code_while_the_new_one_is_imported(running: Service) -> None:
    service = running
    change(service, "import asyncio\n", "import asyncio\nimport time\nwhile True: time.sleep(0.01)\n")
    os.kill(service.pid("api"), signal.SIGHUP)
    eventually(lambda: len(children_of(service.pid("api"))) == 4, "new processes are there")
    for number in range(20):
        assert service.predict({"number": number}).json() == {"answer": {"number": number}}
    began = time.monotonic()
    assert service.stop("api") == 0, "a stop ends a reload"
    assert time.monotonic() - began < 8


def test_api_processes_that_do_not_start_leave_the_old_ones_at_work(running: Service) -> None:
    service = running
    before = children_of(service.pid("api")).keys()
    settings = service.project / "denzel/api/application.py"
    settings.write_text(settings.read_text() + "\nraise RuntimeError('broken')\n")
    assert reload(service).split()[1:] == ["1", "0", "1"]
    assert service.predict({"a": 1}).json() == {"answer": {"a": 1}}
    eventually(lambda: children_of(service.pid("api")).keys() == before, "the old processes are left, and nothing else")
    assert "those from before go on" in service.log("api")


def test_a_killed_api_process_is_replaced_and_reloads_go_on(running: Service) -> None:
    service = running
    for process in children_of(service.pid("api")):
        os.kill(process, signal.SIGKILL)
    eventually(lambda: answers(service), "others have taken their place")
    assert reload(service).split()[1:] == ["1", "1", "0"]
    assert service.predict({"a": 1}).json() == {"answer": {"a": 1}}


def answers(service: Service) -> bool:
    import requests

    try:
        return service.get("/ping").status_code == 200
    except requests.ConnectionError:
        return False


def test_without_their_master_the_api_processes_end_and_leave_the_port(running: Service) -> None:
    service = running
    children = children_of(service.pid("api"))
    os.kill(service.pid("api"), signal.SIGKILL)
    eventually(lambda: not [process for process in children if os.path.exists(f"/proc/{process}")], "they end")
    service.kill("api")
    service.start("api")
    assert service.predict({"a": 1}).json() == {"answer": {"a": 1}}


def test_a_stop_of_the_api_cuts_off_no_request(running: Service) -> None:
    service = running
    for _ in range(3):
        with Clients(service.url) as clients:
            eventually(lambda clients=clients: clients.answered > 50, "the clients are answered")
            assert service.stop("api") == 0
        assert set(clients.outcomes) == {200, "refused"}
        service.start("api")


def test_who_has_connected_before_a_stop_is_answered(running: Service) -> None:
    service = running
    master, body = service.pid("api"), b'{"predict": "{\'a\': 1}"}'
    request = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with ExitStack() as stack:
        children = list(children_of(master))
        for process in children:
            os.kill(process, signal.SIGSTOP)
        # Until then another signal may be delivered first.
        eventually(lambda: all(is_stopped(process) for process in children), "they are frozen")
        connections = []
        for _ in range(20):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", service.ports["api"]), timeout=15))
            connection.sendall(request)
            connections.append(connection)
        os.kill(master, signal.SIGTERM)
        eventually(lambda: all(pending(process, signal.SIGTERM) for process in children), "they are told to stop")
        for process in children:
            os.kill(process, signal.SIGCONT)
        answers = [connection.recv(65536) for connection in connections]
        assert [answer.split(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 20
    assert service.wait_for_end("api") == 0
    service.start("api")


def test_an_answer_under_way_tells_that_its_connection_ends(running: Service) -> None:
    service = running
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(service.predict, {"predict": "{'last': wait_for('last')}"}, prefer="wait=20")
        eventually(lambda: service.events("process"), "the task runs")
        os.kill(service.pid("api"), signal.SIGTERM)
        eventually(lambda: not answers(service), "nobody accepts connections any more")
        (service.project / "last").touch()
        assert waiting.result().json() == {"last": True}
    assert waiting.result().headers["Connection"] == "close"
    assert service.wait_for_end("api") == 0


def test_who_connects_as_a_process_stops_to_accept_is_answered() -> None:
    """Later than the event loop looks for new connections, earlier than it gives up the socket."""
    body = b'{"answered": true}'

    class App:
        run_short_calls_on_loop = leave = end_waits = staticmethod(lambda: None)
        tell_when_spent = staticmethod(lambda tell: None)

        async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
            headers = [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    async def main() -> list[bytes]:
        app = App()
        config = uvicorn.Config(app, lifespan="off", **Worker.CONFIG_KWARGS)
        config.load()
        server = Server(config, app, age=0, patience=5)
        server.lifespan = config.lifespan_class(config)
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        await server.startup([listener])
        with ExitStack() as stack:
            connections = [stack.enter_context(socket.create_connection(address, timeout=5)) for _ in range(20)]
            for connection in connections:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await server.shutdown([listener])  # begins at once, in the same turn of the event loop
            return [connection.recv(65536) for connection in connections]

    answers = uvloop.run(main())
    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers] == [body] * 20


def pending(process: int, number: int) -> bool:
    """Whether a signal waits to be delivered to a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    [mask] = [line.split()[1] for line in lines if line.startswith("ShdPnd:")]
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_who_waits_for_longer_than_a_stop_may_take_gets_the_tasks_id(running: Service) -> None:
    service = running
    headers = {"Idempotency-Key": "waits"}
    body = {"predict": "{'late': wait_for('late')}"}
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(service.predict, body, prefer="wait=30", headers=headers) for _ in range(3)]
        eventually(lambda: service.events("process"), "the task runs")
        waiting.append(pool.submit(service.predict, {"a": 1}, prefer="wait=30"))
        eventually(lambda: service.redis.llen("denzel/tested:waiting") == 1, "the other one waits")
        began = time.monotonic()
        assert service.stop("api") == 0
        assert 2.5 < time.monotonic() - began < 8
        responses = [answer.result() for answer in waiting]
    assert {response.status_code for response in responses} == {202}
    service.start("api")
    (service.project / "late").touch()
    for response, result in zip(responses, [{"late": True}] * 3 + [{"answer": {"a": 1}}], strict=True):
        assert service.wait(response.json()["data"]["task_id"])["result"] == result
    assert len({response.headers["Denzel-Task-Id"] for response in responses}) == 2


# ---- The workers -----------------------------------------------------------------------------------------------------


def test_nothing_is_lost_when_the_workers_stop_and_start_under_load(running: Service) -> None:
    service = running
    with Clients(service.url, kept=8, fresh=2) as clients:
        for _ in range(2):
            answered = clients.answered
            eventually(lambda answered=answered: clients.answered > answered + 50, "the clients are answered")
            assert service.stop("denzel") == 0
            service.start("denzel")
            service.wait_ready()
    assert set(clients.outcomes) == {200}


def test_a_process_that_never_runs_out_of_tasks_hears_what_it_is_asked(running: Service) -> None:
    service = running
    with Clients(service.url) as clients:
        eventually(lambda: clients.answered > 50, "the clients are answered")
        asked = service.run(
            *("celery", "--app", "denzel.queue.broker", "inspect", "ping"),
            *("--destination", "worker@tested", "--timeout", "10"),
        )
    assert "1 node online" in asked.stdout
    assert set(clients.outcomes) == {200}


def test_a_stop_gives_back_what_does_not_end_in_time_and_blames_no_task(running: Service) -> None:
    service = running
    task_id = service.submit({"note": "long", "predict": "{'long': wait_for('long')}"})
    for count in range(1, 5):  # more often than a task may lose its process
        eventually(lambda count=count: len(service.events("process")) == count, "the task runs")
        began = time.monotonic()
        assert service.stop("denzel") == 0
        assert 2.5 < time.monotonic() - began < 10
        assert service.status(task_id)["status"] == "PENDING"
        service.start("denzel")
    (service.project / "long").touch()
    assert service.wait(task_id)["result"] == {"long": True}


def test_a_cancelled_task_takes_no_other_with_it(running: Service) -> None:
    """Whatever the process has begun by the time that the exception comes goes on, unblamed."""
    service = running
    ids = [
        service.submit({"note": f"task-{number}", "predict": "(time.sleep(0.05), {'ok': True})[1]"})
        for number in range(40)
    ]
    threads = []
    for task_id in ids[::2]:
        eventually(lambda task_id=task_id: service.status(task_id)["status"] != "PENDING", "it runs", 30)
        threads.append(threading.Thread(target=service.request, args=("DELETE", f"/status/{task_id}")))
        threads[-1].start()
    for thread in threads:
        thread.join()
    for number, task_id in enumerate(ids):
        record = service.wait(task_id, timeout=30)
        assert record["status"] == "SUCCESS" or (number % 2 == 0 and record["status"] == "REVOKED"), record
        assert service.redis.hget(f"denzel/tested:task:{task_id}", "deaths") is None


def test_a_stop_while_one_process_still_starts_cuts_off_no_request(running: Service) -> None:
    """Not even if that one is deaf to SIGTERM, as a library may make it while it is imported."""
    service = running
    service.stop("api")
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(60)"
    only_one = f'try:\n    open("first", "x").close()\nexcept FileExistsError:\n    {deaf}\n'
    change(service, "import asyncio\n", f"import asyncio\nimport signal\nimport time\n\n{only_one}")
    service.start("api")
    with Clients(service.url) as clients:
        eventually(lambda: clients.answered > 50, "one process answers")
        began = time.monotonic()
        assert service.stop("api") == 0
        assert time.monotonic() - began < 8
    assert set(clients.outcomes) == {200, "refused"}
