"""The pages in which processes count, whoever ends or is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import types
from typing import Any

import pytest

from denzel.metrics import layout, machine
from denzel.metrics.counts import Counts
from denzel.metrics.pages import Pages, inherited
from denzel.pipeline import stages
from denzel.timings import Stopwatch

SUCCESS = layout.REQUESTS["success"]
FORK = multiprocessing.get_context("fork")


def counting(pages: Pages, number: int) -> Counts:
    counts = Counts()
    counts.use(pages, number, "api")
    return counts


def in_child(function: Any, *arguments: Any) -> int:
    """Call it in a process of its own; that one's exit code."""
    process = FORK.Process(target=function, args=arguments)
    process.start()
    process.join(30)
    assert process.exitcode is not None
    return process.exitcode


def test_all_processes_are_added_up_and_a_page_goes_on_counting() -> None:
    pages = Pages.create(4)
    first, second = counting(pages, 1), counting(pages, 3)
    for _ in range(3):
        first.add(SUCCESS)
    second.add(SUCCESS)
    counting(pages, 1).add(SUCCESS)  # another process has it now
    assert pages.totals()[SUCCESS] == 5
    assert pages.pids() == {1: os.getpid(), 3: os.getpid()}


def test_a_killed_process_takes_nothing_along() -> None:
    pages = Pages.create(2)

    def count() -> None:
        counts = counting(pages, 1)
        for _ in range(1000):
            counts.add(SUCCESS)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(count) == -signal.SIGKILL
    assert pages.totals()[SUCCESS] == 1000


def test_a_measured_number_is_in_the_bucket_that_it_does_not_exceed() -> None:
    pages = Pages.create(1)
    counts = counting(pages, 0)
    for tasks in (1, 2, 2.5, 4, 1000):
        counts.observe(layout.BATCH, tasks)
    totals = dict(zip(layout.NAMES, pages.totals(), strict=True))
    found = [totals[name] for name in layout.BATCH.names]
    assert found == [1, 1, 2, 0, 0, 0, 0, 0, 1, 1009.5 * layout.MILLIONTHS]


def test_what_was_counted_before_there_was_a_page_is_kept() -> None:
    counts = Counts()
    counts.add(SUCCESS)
    assert counts.share().totals()[SUCCESS] == 1
    assert counts.share() is counts.pages


def test_a_message_tells_what_is_new() -> None:
    pages = Pages.create(1)
    counts = counting(pages, 0)
    assert pages.message() == (0, {})
    counts.add(SUCCESS)
    assert pages.message() == (1, {"requests:success": 1})
    pages.arrived()
    assert pages.message() == (1, {})
    counts.add(SUCCESS)
    counts.observe(layout.STAGE["verify"], 0.00021)
    assert pages.message() == (
        2,
        {"requests:success": 1, "stage:verify:0.00025": 1, "stage:verify:millionths": 210},
    )


def test_a_message_that_may_have_arrived_is_repeated_as_it_was() -> None:
    pages = Pages.create(1)
    counts = counting(pages, 0)
    counts.add(SUCCESS)
    first = pages.message()
    counts.add(SUCCESS)
    assert pages.message() == first
    pages.arrived()
    assert pages.message() == (2, {"requests:success": 1})


def test_whoever_dies_over_a_message_another_one_sends_the_same() -> None:
    pages = Pages.create(1)
    counting(pages, 0).add(SUCCESS)

    def die() -> None:
        assert pages.lock()
        assert pages.message() == (1, {"requests:success": 1})
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(die) == -signal.SIGKILL
    assert pages.lock()
    assert pages.message() == (1, {"requests:success": 1})


def test_one_process_at_a_time_passes_on() -> None:
    pages = Pages.create(1)
    assert pages.lock()
    assert in_child(lambda: os._exit(int(pages.lock()))) == 0
    pages.unlock()
    assert in_child(lambda: os._exit(int(pages.lock()))) == 1
    assert pages.lock()  # that one has ended


def test_totals_never_fall_while_processes_count() -> None:
    pages = Pages.create(3)
    stop = FORK.Event()

    def count(number: int) -> None:
        while not stop.is_set():
            counts = counting(pages, number)  # one process after the other has this page
            for _ in range(50):
                counts.predicted(0.0, 0.0)

    processes = [FORK.Process(target=count, args=(number,)) for number in (1, 2)]
    for process in processes:
        process.start()
    last = pages.totals()
    for _ in range(300):
        now = pages.totals()
        assert all(after >= before for before, after in zip(last, now, strict=True))
        last = now
    stop.set()
    for process in processes:
        process.join(30)
    assert last[SUCCESS] > 0


def test_a_child_finds_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages.create(3)
    for name, value in pages.environment(2).items():
        monkeypatch.setenv(name, value)
    found = inherited()
    assert found
    counting(*found).add(SUCCESS)
    assert pages.totals()[SUCCESS] == 1
    assert inherited() is None  # it is not handed on to children of its own


def test_a_child_of_another_version_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    [(name, value)] = Pages.create(2).environment(1).items()
    monkeypatch.setenv(name, value.replace(layout.FINGERPRINT, "00000000"))
    assert inherited() is None


def test_the_waits_of_tasks_are_told_by_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    from denzel.api.task_id import TaskIds

    counts = Counts()
    ids = TaskIds("secret")
    monkeypatch.setattr("time.time", lambda: 1_700_000_010.0)
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_008_000_000_000)
    counts.waited([ids.new(), "not an id", "00000000-0000-0000-0000-000000000000"])
    totals = dict(zip(layout.NAMES, counts.share().totals(), strict=True))
    assert sum(totals[name] for name in layout.STAGE["queue"].names[:-1]) == 1
    assert totals["stage:queue:2.5"] == 1


def test_a_stage_that_fails_is_measured_and_one_that_is_not_reached_is_not() -> None:
    counts, module = Counts(), types.ModuleType("pipeline")
    module.predict = lambda model, data: data[model]  # type: ignore[attr-defined]
    for process, error in ((lambda model, data: data, KeyError), (lambda model, data: data.no, AttributeError)):
        module.process = process  # type: ignore[attr-defined]
        watch = Stopwatch()
        with pytest.raises(error):
            stages.predictions(module, 1, {}, watch)
        counts.called(watch.process, watch.predict)
    totals = counts.share().totals()
    counted = {name: sum(totals[layout.STAGE[name].first : layout.STAGE[name].total]) for name in layout.STAGE}
    assert {name: number for name, number in counted.items() if number} == {"process": 2, "predict": 1}


def test_a_process_is_told_of_while_it_lives() -> None:
    pages = Pages.create(3)
    first, again = FORK.Event(), FORK.Event()

    def live() -> None:
        counting(pages, 2)
        first.set()
        again.wait(30)

    process = FORK.Process(target=live)
    process.start()
    assert first.wait(30)
    [told] = machine.told("denzel", pages)["processes"]
    assert told["pid"] == process.pid
    assert told["memory"] > 1_000_000
    assert machine.told("denzel", pages)["memory"]["limit"] > 0
    again.set()
    process.join(30)
    pages.own(2)[layout.PID] = os.getpid()  # whoever has its id now is another one
    assert machine.told("denzel", pages)["processes"] == []
