"""What belongs to the thread that made it works in all functions of the user, however often they are called."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from denzel.pipeline import thread_bound as module_under_test
from denzel.pipeline.on_loop import CALLS
from denzel.pipeline.thread_bound import thread_bound
from tests.support.processes import children_of
from tests.support.services import Service
from tests.support.waiting import eventually

REST = """
def load_model():
    return None

def process(model, json_data):
    return json_data

def predict(model, data):
    return data
"""

# A process as the API's, without HTTP: it imports the pipeline in its main thread's place, then calls verify_input.
ASK = f"""
import asyncio, json, sys, threading
from denzel.pipeline.in_api import UserPipeline

pipeline = UserPipeline(float(sys.argv[1]))
if pipeline.problem:
    sys.exit(pipeline.problem)

async def main():
    pipeline.thread.loop_calls.enable()
    for number in range({3 * CALLS}):
        try:
            request, _ = await pipeline.verify({{"number": number}}, b'{{"number": %d}}' % number)
            print(request.decode(), flush=True)
        except Exception as error:
            print(json.dumps({{"error": f"{{type(error).__name__}}: {{error}}"}}), flush=True)

asyncio.run(main())
"""

SQLITE = """
import sqlite3
db = sqlite3.connect(":memory:")
db.execute("CREATE TABLE names (number, name)")
db.execute("INSERT INTO names VALUES (7, 'seven')")
"""
SQLITE_LATER = """
import functools, sqlite3

@functools.lru_cache(maxsize=None)
def connection():
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE names AS SELECT 7 AS number, 'seven' AS name")
    return db
"""
SELECT = "execute('SELECT name FROM names WHERE number = 7').fetchone()[0]"

CASES = {
    "a connection of sqlite3": (SQLITE, f"return {{'seen': db.{SELECT}}}", "seven"),
    # What code makes of the error is no error.
    "one whose error is caught": (
        SQLITE,
        f"try:\n        return {{'seen': db.{SELECT}}}\n    except sqlite3.Error:\n        return {{'seen': 'nobody'}}",
        "seven",
    ),
    "one that is made when it is needed": (
        SQLITE_LATER,
        f"try:\n        return {{'seen': connection().{SELECT}}}\n"
        "    except sqlite3.Error:\n        return {'seen': 'nobody'}",
        "seven",
    ),
    "one in an object": (
        SQLITE + "class Names:\n    def __init__(self):\n        self.db = db\n\nnames = {'all': [Names()]}\ndel db",
        f"return {{'seen': names['all'][0].db.{SELECT}}}",
        "seven",
    ),
    "thread-local data": (
        "import threading\nlocal = threading.local()\nlocal.name = 'set'",
        "return {'seen': getattr(local, 'name', 'not set')}",
        "set",
    ),
    "a context variable": (
        "import contextvars\nname = contextvars.ContextVar('name', default='not set')\nname.set('set')",
        "return {'seen': name.get()}",
        "set",
    ),
    "the precision of decimal": (
        "import decimal\ndecimal.getcontext().prec = 5",
        "return {'seen': str(decimal.Decimal(1) / 3)}",
        "0.33333",
    ),
    "how NumPy handles errors": (
        "import numpy as np\nnp.seterr(all='raise')",
        "try:\n        np.float64(1) / np.float64(0)\n        return {'seen': 'inf'}\n"
        "    except FloatingPointError:\n        return {'seen': 'raised'}",
        "raised",
    ),
    "a loop that was made at import": (
        "import asyncio\nloop = asyncio.new_event_loop()\nasyncio.set_event_loop(loop)",
        "async def answer():\n        return 'awaited'\n"
        "    return {'seen': asyncio.get_event_loop().run_until_complete(answer())}",
        "awaited",
    ),
    "the thread's own loop": (
        "import asyncio, sys\n"
        "loop = asyncio.get_event_loop() if sys.version_info < (3, 14) else asyncio.new_event_loop()",
        "return {'seen': loop.run_until_complete(asyncio.sleep(0, 'awaited'))}",
        "awaited",
    ),
    "asyncio.run": ("import asyncio", "return {'seen': asyncio.run(asyncio.sleep(0, 'awaited'))}", "awaited"),
    "a locale": (
        "import locale\nlocale.setlocale(locale.LC_ALL, 'C')",
        "return {'seen': locale.setlocale(locale.LC_ALL)}",
        "C",
    ),
    "a handler that is set at import": (
        "import signal\nbefore = signal.signal(signal.SIGUSR2, lambda *_: None)",
        "return {'seen': repr(before) if callable(before) else int(before)}",
        0,
    ),
    "a handler that is set in each call": (
        "import signal",
        "before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)\n    return {'seen': before in (0, 1)}",
        True,
    ),
    "the thread itself": (
        "import threading\nmine = threading.get_ident()\nlocal = threading.local()",
        "return {'seen': threading.get_ident() == mine}",
        True,
    ),
}


@pytest.fixture
def ask(new_project: Callable[..., Path]) -> Callable[..., list[dict[str, Any]]]:
    """Call it with the head of a pipeline and the body of its verify_input: what that returns, one after the other."""

    def run(head: str, body: str, patience: float = 10) -> list[dict[str, Any]]:
        project = new_project()
        text = f"{head}\n\ndef verify_input(json_data):\n    {body}\n{REST}"
        (project / "app/logic/pipeline.py").write_text(text)
        (project / "ask.py").write_text(ASK)
        done = subprocess.run(
            [sys.executable, "ask.py", str(patience)],
            cwd=project, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.mark.parametrize("case", CASES)
def test_it_works_in_verify_input_as_often_as_it_is_called(ask: Callable[..., list[dict[str, Any]]], case: str) -> None:
    head, body, expected = CASES[case]
    assert ask(head, body) == [{"seen": expected}] * (3 * CALLS)


def test_a_time_limit_by_a_signal_ends_the_code_that_it_means(ask: Callable[..., list[dict[str, Any]]]) -> None:
    head = """
import signal

def too_late(number, frame):
    raise TimeoutError("it took too long", 42)
"""
    body = """
    signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        while json_data["number"] == 5:
            pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return json_data
"""
    answers = ask(head, body)
    assert answers.pop(5) == {"error": "TimeoutError: [Errno it took too long] 42"}
    assert [answer["number"] for answer in answers] == [number for number in range(3 * CALLS) if number != 5]


def test_after_a_call_that_hangs_what_belonged_to_its_thread_is_made_anew(
    ask: Callable[..., list[dict[str, Any]]],
) -> None:
    body = f"""
    import time
    if json_data["number"] == 3:
        time.sleep(60)
    return {{'seen': db.{SELECT}}}
"""
    answers = ask(SQLITE, body, patience=0.5)
    assert answers.pop(3) == {"error": "Stuck: verify_input did not return within 0.5 seconds"}
    assert answers == [{"seen": "seven"}] * (3 * CALLS - 1)


def test_plain_functions_still_run_on_the_event_loop(ask: Callable[..., list[dict[str, Any]]]) -> None:
    head = "import threading\nimport re\nPATTERN = re.compile('a')\nTABLE = {'a': [1, 2]}\nmine = threading.get_ident()"
    seen = [answer["seen"] for answer in ask(head, "return {'seen': threading.get_ident() == mine}")]
    assert seen[0] is True
    assert seen[-1] is False


def test_what_is_large_is_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_under_test, "_MOST", 100)
    assert thread_bound({"numbers": list(range(10**6))}) is None
    assert thread_bound([[threading.local()]]) == "thread.local"
    assert thread_bound({"a": ({"b": threading.local()},)}) == "thread.local"


# ---- The whole service


PIPELINE = textwrap.dedent(f"""
import decimal, os, signal
{SQLITE}
decimal.getcontext().prec = 5

def on_usr2(number, frame):
    open("usr2-" + str(os.getpid()), "w").close()

signal.signal(signal.SIGUSR2, on_usr2)

def look(json_data, stage):
    json_data[stage] = db.{SELECT} + str(decimal.Decimal(1) / 3)
    return json_data

def verify_input(json_data):
    return look(json_data, "verify_input")

def load_model():
    return look({{}}, "load_model")

def process(model, json_data):
    return look({{**json_data, **model}}, "process")

def predict(model, data):
    return look(data, "predict")
""")


@pytest.mark.parametrize("executor", ["queue", "inline"])
def test_a_database_of_the_module_serves_all_functions(new_service: Callable[..., Service], executor: str) -> None:
    service = new_service(EXECUTOR=executor)
    (service.project / "app/logic/pipeline.py").write_text(PIPELINE)
    service.start(*("redis", "api", "denzel") if executor == "queue" else ("api",))
    service.wait_ready() if executor == "queue" else eventually(lambda: service.get("/ready").ok, "it is ready")
    expected = dict.fromkeys(("verify_input", "load_model", "process", "predict"), "seven0.33333")
    for _ in range(3 * CALLS):
        response = service.predict({}, prefer="wait=10")
        assert (response.status_code, response.json()) == (200, expected)
    api = next(iter(children_of(service.pid("api"))))
    os.kill(api, signal.SIGUSR2)
    eventually((service.project / f"usr2-{api}").exists, "the handler was called")
    assert service.predict({}, prefer="wait=10").json() == expected
