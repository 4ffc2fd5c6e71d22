"""Both ends of the direct way, in one process: who has a task when something happens between two of their steps."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from denzel.direct import frames
from denzel.direct.door import Door
from denzel.direct.given import Given
from denzel.direct.links import Link, Links
from denzel.direct.place import Place
from denzel.log.about import REQUEST
from tests.support.waiting import eventually


class Heard:
    """What links told."""

    def __init__(self, place: Place) -> None:
        self.ended: dict[str, tuple[str, bytes, bytes]] = {}
        self.returned: list[str] = []
        self.lost: dict[str, str] = {}
        self.links = Links(place, 0.3, self._end, lambda given: self.returned.append(given.id), self._lose, self._long)
        self.running = asyncio.ensure_future(self.links.run())

    def _end(self, task_id: str, link: Link, ending: tuple[str, bytes, bytes]) -> None:
        self.ended[task_id] = ending

    def _lose(self, link: Link, tasks: list[tuple[Given, str]]) -> None:
        self.lost.update({given.id: fault for given, fault in tasks})

    def _long(self, given: Given) -> None:
        pass

    async def link(self, door: Door) -> Link:
        """The connection, once it is there."""
        while not (link := self.links.choose(10)):
            door.has_tasks()
            await asyncio.sleep(0.01)
        return link

    async def end(self) -> None:
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running
        self.links.close()
        await asyncio.sleep(0)


async def until(what: object, name: str) -> None:
    """Let the event loop run until something holds."""
    for _ in range(500):
        if what():  # type: ignore[operator]
            return
        await asyncio.sleep(0.01)
    raise AssertionError(name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def door(place: Place) -> Iterator[Door]:
    door = Door(place, uuid.uuid4().hex, "one@tested", merges=True)
    yield door
    door.close()


def test_what_is_recalled_as_it_begins_is_told_to_have_been_refused(place: Place, door: Door) -> None:
    async def run() -> None:
        heard = Heard(place)
        link = await heard.link(door)
        given = link.give("one", b"{}", 0.0)
        await asyncio.sleep(0)
        eventually(door.has_tasks, "it has come")
        frames.begin(link._page, link._slot, given.number)  # type: ignore[arg-type]
        assert not link.take_back("one"), "it has begun, as it seems"
        assert door.take(lambda waiting: waiting) == []
        await until(lambda: heard.returned == ["one"], "it goes another way")
        assert not link.given
        await heard.end()

    asyncio.run(run())


def test_answers_are_read_even_if_the_next_task_is_sent_to_one_that_leaves(place: Place, door: Door) -> None:
    async def run() -> None:
        heard = Heard(place)
        link = await heard.link(door)
        link.give("one", b"{}", 0.0)
        await asyncio.sleep(0)
        eventually(door.has_tasks, "it has come")
        tasks = door.take(lambda waiting: waiting)
        door.answer(tasks, [("one", "SUCCESS", b"1", b"")], 0.001, 1)
        leaving = threading.Thread(target=door.close)
        leaving.start()
        eventually(lambda: not place.names(), "it is leaving")
        link.give("two", b"{}", 0.0)  # the event loop has read nothing meanwhile
        await until(lambda: heard.lost, "the end is known")
        leaving.join()
        assert (list(heard.ended), heard.lost) == (["one"], {"two": ""}), "nobody is to blame"
        await heard.end()

    asyncio.run(run())


def test_no_more_is_sent_than_can_be_recalled_while_the_process_reads_nothing(place: Place, door: Door) -> None:
    async def run() -> None:
        heard = Heard(place)
        link = await heard.link(door)
        for number in range(frames.MOST_TASKS):
            link.give(str(number), b"{}", 0.0)
        for number in range(frames.MOST_TASKS):
            assert link.take_back(str(number))
        assert heard.links.choose(10) is None, "one more would take the place of the first one's recall"
        await asyncio.sleep(0)
        eventually(lambda: door._connections[link._slot].seen == frames.MOST_TASKS or door.has_tasks(), "all has come")
        eventually(lambda: not door.has_tasks(), "the recalls have come, too")
        assert door.take(lambda waiting: waiting) == [], "none of them runs"
        assert heard.links.choose(10) is link
        await heard.end()

    asyncio.run(run())


def test_of_tasks_that_were_merged_no_api_process_takes_its_own_for_the_culprit(place: Place, door: Door) -> None:
    async def run() -> None:
        both = [Heard(place), Heard(Place(place.folder))]
        links = [await heard.link(door) for heard in both[:1]]
        links[0]._release_lock()
        links.append(await both[1].link(door))
        for name, link in zip(("one", "two"), links, strict=True):
            link.give(name, b"{}", 0.0)
        await asyncio.sleep(0)
        eventually(lambda: door.has_tasks() and door.waiting == 2, "both have come")
        door.tell_call(len(door.take(lambda waiting: waiting)))
        for link in links:
            link._end(blame=True)
        assert [heard.lost for heard in both] == [{"one": "alone"}, {"two": "alone"}]
        for heard in both:
            await heard.end()

    asyncio.run(run())


@pytest.mark.parametrize("merged", [False, True])
def test_a_task_that_ran_alone_is_what_its_process_died_of(place: Place, door: Door, merged: bool) -> None:
    async def run() -> None:
        heard = Heard(place)
        link = await heard.link(door)
        names = ["one", "two"] if merged else ["one"]
        for name in names:
            link.give(name, b"{}", 0.0)
        await asyncio.sleep(0)
        eventually(lambda: door.has_tasks() and door.waiting == len(names), "all have come")
        door.tell_call(len(door.take(lambda waiting: waiting)))
        link._end(blame=True)
        assert heard.lost == dict.fromkeys(names, "alone" if merged else "death")
        await heard.end()

    asyncio.run(run())


def test_an_error_while_one_client_is_told_costs_no_other_its_answer(place: Place, door: Door) -> None:
    async def run() -> None:
        heard = Heard(place)
        link = await heard.link(door)
        told = heard.links.on_end

        def tell(task_id: str, link: Link, ending: tuple[str, bytes, bytes]) -> None:
            if task_id == "one":
                raise RuntimeError("its client has gone in an odd way")
            told(task_id, link, ending)

        heard.links.on_end = tell
        for name in ("one", "two"):
            link.give(name, b"{}", 0.0)
        await asyncio.sleep(0)
        eventually(lambda: door.has_tasks() and door.waiting == 2, "both have come")
        door.answer(
            door.take(lambda waiting: waiting), [(name, "SUCCESS", b"1", b"") for name in ("one", "two")], 0.001, 1
        )
        await until(lambda: heard.ended, "the second one is told")
        assert (list(heard.ended), link.given, link.is_open) == (["two"], {}, True)
        await heard.end()

    asyncio.run(run())


def test_a_fork_of_user_code_keeps_nothing_open(place: Place, door: Door) -> None:
    async def run() -> None:
        heard = Heard(place)
        await heard.link(door)
        descriptors = {fd: os.fstat(fd).st_ino for fd in door.descriptors() + heard.links.descriptors()}
        assert len(descriptors) == 6
        here, there = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(target=_tell_open, args=(descriptors, there))
        child.start()
        assert here.poll(10)
        assert here.recv() == []
        child.join()
        assert _open(descriptors) == [*descriptors], "here they are as before"
        await heard.end()

    asyncio.run(run())


def _tell_open(descriptors: dict[int, int], there: multiprocessing.connection.Connection) -> None:
    there.send(_open(descriptors))


def _open(descriptors: dict[int, int]) -> list[int]:
    """Those that are what they were: their numbers may be others' by now."""
    found = []
    for descriptor, inode in descriptors.items():
        with suppress(OSError):
            if os.fstat(descriptor).st_ino == inode:
                found.append(descriptor)
    return found


def test_no_other_request_is_meant_by_what_a_later_look_finds(place: Place, door: Door) -> None:
    async def run() -> None:
        heard = Heard(place)
        link = await heard.link(door)
        said = []
        heard.links.on_return = lambda _: said.append(REQUEST.get())
        REQUEST.set([("one", "")])
        link.give("one", b"{}", 0.0)
        await until(lambda: said, "it goes another way")
        assert said == [()]
        await heard.end()

    asyncio.run(run())


def test_what_can_be_merged_joins_whoevers_call_begins_next(place: Place, door: Door) -> None:
    async def run() -> None:
        mine, others = Heard(place), Heard(Place(place.folder))
        for heard in (mine, others):  # both learn that calls take long, and that many are merged
            link = await heard.link(door)
            link.give("first", b"{}", 0.0)
            await asyncio.sleep(0)
            eventually(door.has_tasks, "it has come")
            door.answer(door.take(lambda waiting: waiting), [("first", "SUCCESS", b"1", b"")], 0.02, 8)
            await until(lambda heard=heard: heard.ended, "it has ended")
        link = others.links.choose(10)
        assert link, "nobody works with it"
        link.give("theirs", b"{}", 0.0)
        await asyncio.sleep(0)
        eventually(door.has_tasks, "it has come")
        tasks = door.take(lambda waiting: waiting)
        door.tell_running(True)
        joined = mine.links.choose(10)
        assert joined, "it merges, and is at work for another API process"
        door.set_busy(True)
        assert mine.links.choose(10) is None, "slow tasks of the queue have their turn first"
        door.set_busy(False)
        joined.give("mine", b"{}", 0.0)
        eventually(door.has_tasks, "it has come while the call runs")
        door.tell_running(False)
        door.answer(tasks, [("theirs", "SUCCESS", b"1", b"")], 0.02, 8)
        door.answer(door.take(lambda waiting: waiting), [("mine", "SUCCESS", b"2", b"")], 0.02, 8)
        await until(lambda: "mine" in mine.ended and "theirs" in others.ended, "both are answered")
        await mine.end()
        await others.end()

    asyncio.run(run())


def test_of_two_that_merge_the_one_whose_call_begins_sooner_gets_more(place: Place, door: Door) -> None:
    second = Door(place, uuid.uuid4().hex, "two@tested", merges=True)

    async def run() -> None:
        heard = Heard(place)
        for one in (door, second):
            while not (link := next((link for link in heard.links._links.values() if link.token == one._token), None)):
                await asyncio.sleep(0.01)
            while not link.is_open:
                one.has_tasks()
                await asyncio.sleep(0.01)
            link.give(one._token, b"{}", 0.0)
            await asyncio.sleep(0)
            eventually(one.has_tasks, "it has come")
            one.answer(one.take(lambda waiting: waiting), [(one._token, "SUCCESS", b"1", b"")], 0.05, 8)
            await until(lambda one=one: one._token in heard.ended, "it has ended")
        for one in (door, second):
            link = heard.links.choose(10)
            assert link
            link.give(f"{one._token} again", b"{}", 0.0)
        assert heard.links.choose(10), "none has begun: more is merged"
        door.tell_running(True)
        for _ in range(3):
            chosen = heard.links.choose(10)
            assert chosen
            assert chosen.token == second._token
            chosen.give(uuid.uuid4().hex, b"{}", 0.0)
        second.tell_running(True)
        # The other one's call, which takes 0.05 s as a rule, has run for a second.
        frames._SEQUENCE.pack_into(door._page, frames.PAGE_SIZE - frames._SEQUENCE.size, time.monotonic_ns() - 10**9)
        chosen = heard.links.choose(10)
        assert chosen
        assert chosen.token == second._token, "the other one may be frozen"
        await heard.end()

    with closing(second):
        asyncio.run(run())
