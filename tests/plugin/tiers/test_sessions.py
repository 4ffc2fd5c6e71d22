"""Sessions: shared by the workers of xdist, kept on request, and never left behind, whatever ends them."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_denzel.tiers import sweep
from tests.plugin.conftest import Project, eventually
from tests.support.processes import command_line, processes_with

HANGS = """
    import time
    from pathlib import Path

    def test_it({fixture}):
        Path("started").touch()
        time.sleep(60)
"""


@pytest.fixture
def hanging(project: Project, sessions: Callable[[], list[Path]]) -> Iterator[Callable[..., Any]]:
    """Call it with options: a pytest run that has started its services and hangs; its process and its session."""
    started: list[subprocess.Popen] = []
    project.test(HANGS.format(fixture="denzel_service"))

    def start(*options: str) -> tuple[subprocess.Popen, Path]:
        (project.root / "started").unlink(missing_ok=True)
        before = set(sessions())
        process = project.popen("tests", *options)
        started.append(process)
        eventually((project.root / "started").exists, "the test has started", 60)
        (session,) = set(sessions()) - before
        assert sweep.processes(session)
        return process, session

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    for session in sessions():
        sweep.remove(session)


def nothing_is_left(session: Path, sessions: Callable[[], list[Path]]) -> bool:
    return not sweep.processes(session) and session not in sessions()


@pytest.mark.parametrize("tier", ["inline", "local"])
def test_ctrl_c_leaves_nothing(hanging: Any, sessions: Callable[[], list[Path]], tier: str) -> None:
    process, session = hanging(f"--denzel-tier={tier}")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in output
    assert nothing_is_left(session, sessions)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_pytest_leaves_nothing(
    hanging: Any, sessions: Callable[[], list[Path]], number: signal.Signals
) -> None:
    process, session = hanging("--denzel-tier=local")
    process.send_signal(number)
    process.wait(10)
    eventually(lambda: nothing_is_left(session, sessions), "the janitor has cleaned up")


def test_a_killed_controller_of_xdist_leaves_nothing(hanging: Any, sessions: Callable[[], list[Path]]) -> None:
    process, session = hanging("--denzel-tier=local", "-n1")
    process.kill()
    eventually(lambda: nothing_is_left(session, sessions), "the janitor has cleaned up")


def test_what_even_the_janitor_could_not_remove_the_next_run_does(
    hanging: Any, project: Project, sessions: Callable[[], list[Path]]
) -> None:
    living, living_session = hanging("--denzel-tier=inline")
    dead, dead_session = hanging("--denzel-tier=inline")
    janitors = processes_with(f"sweep.py watch {dead_session}")
    assert len(janitors) == 1
    os.kill(janitors[0], signal.SIGKILL)
    dead.kill()
    dead.wait(10)
    time.sleep(1)
    assert sweep.processes(dead_session), "nobody is there to remove them"
    project.test("def test_it(denzel_service):\n    pass\n")
    project.run("tests", "--denzel-tier=inline").assert_outcomes(passed=1)
    assert nothing_is_left(dead_session, sessions)
    assert sweep.processes(living_session), "a session whose owner lives is not touched"
    living.send_signal(signal.SIGINT)
    living.communicate(timeout=30)
    assert nothing_is_left(living_session, sessions)


def test_services_can_be_kept(project: Project, sessions: Callable[[], list[Path]]) -> None:
    project.test("def test_it(denzel_service):\n    denzel_service.predict({'data': {'a': 1}})\n")
    result = project.run("tests", "--denzel-tier=local", "--denzel-keep")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "kept running (--denzel-keep) for doubling:",
            "  api_url: http://127.0.0.1:*",
            "  redis_url: redis://*",
            "remove it with: * remove *",
        ]
    )
    (folder,) = sessions()
    try:
        time.sleep(1.5)  # the janitor has seen that its owner is gone
        url = re.search(r"api_url: (\S+)", result.stdout.str())
        assert url
        with urllib.request.urlopen(f"{url[1]}/ready") as answer:
            assert json.load(answer)["ready"]
        project.test("def test_it(denzel_service):\n    pass\n")
        project.run("tests", "--denzel-tier=inline").assert_outcomes(passed=1)
        assert folder.exists(), "another run does not sweep it"
    finally:
        remove = re.search(r"remove it with: (.*)", result.stdout.str())
        assert remove
        subprocess.run(shlex.split(remove[1]), check=True)
    assert nothing_is_left(folder, sessions)


# ---- xdist --------------------------------------------------------------------------------------------------------


def test_the_workers_of_xdist_share_one_stack_and_do_not_disturb_each_other(
    project: Project, sessions: Callable[[], list[Path]]
) -> None:
    for name in ("test_one", "test_two"):
        project.test(
            """
            import time
            from pathlib import Path

            import pytest

            @pytest.mark.parametrize("number", range(8))
            def test_predictions_and_callbacks(denzel_service, callback_receiver, number):
                request = {"data": {"a": number}, "callback_uri": callback_receiver.url}
                assert denzel_service.predict(request) == {"a": 2 * number}
                task_id = denzel_service.predict_async(request)
                assert callback_receiver.wait_for(task_id).json() == {"a": 2 * number}
                assert {delivery.task_id for delivery in callback_receiver.deliveries} == {task_id}
                with Path("urls").open("a") as file:
                    print(denzel_service.url, file=file)

            @pytest.mark.parametrize("number", range(3))
            def test_one_that_changes_the_setting(denzel_service, number):
                assert denzel_service.post({"data": {"a": 1}}).json() == {"a": 2}
                denzel_service.set_response("async")
                for _ in range(5):
                    assert "task_id" in denzel_service.post({"data": {"a": 1}}).json()["data"]
                    time.sleep(0.02)

            def test_one_that_disturbs(denzel_service, denzel_chaos):
                denzel_chaos.restart_redis()
                denzel_chaos.kill_worker_process()
                assert denzel_service.predict({"data": {"a": 1}}) == {"a": 2}

            @pytest.mark.parametrize("number", range(4))
            def test_a_database_of_its_own(denzel_redis, worker_id, number):
                with denzel_redis.client(decode_responses=True) as client:
                    assert client.get("worker") is None
                    client.set("worker", worker_id)
                    time.sleep(0.05)
                    assert client.get("worker") == worker_id
            """,
            name,
        )
    result = project.run("tests", "--denzel-tier=local", "-n2")
    result.assert_outcomes(passed=32)
    assert len(set((project.root / "urls").read_text().splitlines())) == 1
    assert sessions() == []


def test_more_workers_than_databases_are_told(project: Project) -> None:
    project.test("def test_it(denzel_redis):\n    pass\n")
    project.write(
        "conftest.py",
        """
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_configure(config):
            config.workerinput = {
                "denzel_session": {"name": "many", "owner": 1}, "workerid": "gw15", "testrunuid": "1"
            }
        """,
    )
    try:
        result = project.run("tests", "--denzel-tier=local", "-p", "no:xdist")
        result.stdout.fnmatch_lines(["*Redis has databases for 15 workers of xdist; run with -n 15 or fewer.*"])
    finally:
        for folder in Path(os.environ["TMPDIR"]).glob("pytest-denzel-*/many"):
            sweep.remove(folder)


def test_what_did_not_start_is_told_to_all_workers_once(project: Project) -> None:
    source = (project.root / "app/logic/pipeline.py").read_text()
    project.pipeline(source.replace('return {"factor"', 'raise OSError("no model")\n    return {"factor"'))
    project.test(
        "import pytest\n\n@pytest.mark.parametrize('n', range(6))\ndef test_it(denzel_service, n):\n    pass\n"
    )
    result = project.run("tests", "--denzel-tier=inline", "-n2")
    result.assert_outcomes(errors=6)
    assert len(re.findall(r"^The end of its log:$", result.stdout.str(), re.MULTILINE)) == 1


# ---- Owners -------------------------------------------------------------------------------------------------------


def test_an_owner_is_known_by_more_than_its_number() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = sweep.identity(process.pid)
    assert sweep.is_alive(owner)
    assert not sweep.is_alive({**owner, "started": "another boot 1"})
    assert sweep.is_alive({**owner, "machine": "another", "started": "x"}), "what cannot be judged is left alone"
    process.kill()
    eventually(lambda: not sweep.is_alive(owner), "a process that was not waited for counts as dead")
    process.communicate()
    assert not sweep.is_alive(owner)


def test_owners_and_processes_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on macOS."""
    monkeypatch.setattr(sweep, "_PROC", tmp_path / "nowhere")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = sweep.base_folder() / "mac"
    (folder / "logs").mkdir(parents=True)
    subprocess.run(sweep.command("run", folder, "sleeper", "sh", "-c", "sleep 60 & sleep 60"), check=True)
    keeper = json.loads((folder / "sleeper.json").read_text())["keeper"]
    keeper = sweep.identity(keeper["pid"])
    sweep.write_json(folder / "sleeper.json", {"keeper": keeper})
    assert sweep.is_alive(keeper)
    assert sweep.processes(folder) == [-keeper["pid"]]
    assert sorted(sweep.members(keeper["pid"]).values()) == ["sh -c sleep 60 & sleep 60", "sleep 60", "sleep 60"]
    sweep.remove(folder)
    eventually(lambda: not sweep.is_alive(keeper), "the keeper is gone")
    assert not folder.exists()


# ---- What is ended, and what is not ---------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a session that nobody owns."""
    folder = tmp_path / f"session-{os.getpid()}"
    (folder / "logs").mkdir(parents=True)
    yield folder
    sweep.end_processes(folder)


def test_a_service_whose_keeper_was_killed_is_still_found(folder: Path) -> None:
    """As Redis, which overwrites the environment that carries the mark."""
    program = ["env", "-u", sweep.MARK, "sh", "-c", "sleep 60 & sleep 60"]
    subprocess.run(
        sweep.command("run", folder, "redis", *program), env={**os.environ, sweep.MARK: folder.name}, check=True
    )
    record = json.loads((folder / "redis.json").read_text())
    eventually(lambda: len(sweep.members(record["keeper"]["pid"])) == 3, "the service and its children are there")
    os.kill(record["keeper"]["pid"], signal.SIGKILL)
    eventually(lambda: not sweep.is_alive(record["keeper"]), "the keeper is gone")
    assert len(sweep.processes(folder)) == 3
    sweep.end_processes(folder)
    assert sweep.processes(folder) == []
    assert sweep.members(record["keeper"]["pid"]) == {}


def test_of_the_terminal_that_a_marked_process_runs_in_nothing_else_is_ended(folder: Path) -> None:
    """As `docker compose`, which runs in the session of the user's shell."""
    script = f"sleep 61 & {sweep.MARK}={folder.name} sleep 62 & wait"
    shell = subprocess.Popen(["sh", "-c", script], start_new_session=True)
    try:
        eventually(lambda: len(sweep.processes(folder)) == 1, "the marked process is there")
        assert command_line(sweep.processes(folder)[0]).split() == ["sleep", "62"]
        sweep.end_processes(folder)
        assert sweep.processes(folder) == []
        assert [program.split() for program in sweep.members(shell.pid).values()] == [["sleep", "61"]]
        assert shell.poll() is None
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


def test_a_number_that_belongs_to_someone_else_by_now_is_left_alone(folder: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        other = {**sweep.identity(stranger.pid), "started": "an earlier boot 1"}
        sweep.write_json(folder / "redis.json", {"keeper": other, "service": other, "pid": stranger.pid})
        assert sweep.processes(folder) == []
        sweep.end_processes(folder)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
