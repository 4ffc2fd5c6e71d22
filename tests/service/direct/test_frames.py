"""What API processes and prediction processes say to each other."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from denzel.direct import frames

SENT = (
    b"".join(frames.task("one", b'{"data":{}}', "request-7,,,"))
    + frames.frame(frames.RECALL, b"one")
    + frames.ended(
        0.25, [("a", "SUCCESS", b'{"x":1}', b""), ("b", "FAILURE", b'{"args":[]}', b'"why"')], 3, 32, 0.125, 0.0625
    )
    + frames.frame(frames.BYE)
)


def test_another_form_has_another_version() -> None:
    """Both sides of the same version meet, also during an update: change VERSION with these, and then this test."""
    forms = [frames._HEAD, frames._TASK, frames._CALL, frames._ENDED, frames._SEQUENCE]
    assert (frames.VERSION, [form.format for form in forms], frames.PAGE_SIZE) == (
        5,
        ["<IB", "<BH", "<dIIdd", "<BBII", "@Q"],
        64 * 129 * 8 + 16,
    )


@pytest.mark.parametrize("piece", [1, 7, 64, len(SENT)])
def test_frames_arrive_in_whatever_pieces_they_come(piece: int) -> None:
    reader = frames.Reader()
    found = [one for start in range(0, len(SENT), piece) for one in reader.feed(SENT[start : start + piece])]
    assert [kind for kind, _ in found] == [frames.TASK, frames.RECALL, frames.ENDED, frames.BYE]
    assert frames.parse_task(found[0][1]) == ("one", b'{"data":{}}', "request-7,,,")
    assert found[1][1] == b"one"
    assert frames.parse_ended(found[2][1]) == (
        0.25,
        3,
        32,
        0.125,
        0.0625,
        [("a", ("SUCCESS", b'{"x":1}', b"")), ("b", ("FAILURE", b'{"args":[]}', b'"why"'))],
    )


def test_a_large_request_is_a_piece_of_its_own() -> None:
    request = b"x" * 1_000_000
    head, body = frames.task("one", request)
    assert body is request
    assert frames.parse_task((head + body)[5:]) == ("one", request, "")


@pytest.fixture
def page() -> Iterator[mmap.mmap]:
    with mmap.mmap(-1, frames.PAGE_SIZE) as page:
        yield page


def test_the_page_counts_for_each_connection(page: mmap.mmap) -> None:
    assert frames.begin(page, 3, 2**40)
    assert [frames.begun(page, slot) for slot in (2, 3, 4)] == [0, 2**40, 0]
    frames.clear(page, 3)
    assert frames.begun(page, 3) == 0


def test_a_task_is_recalled_or_begins(page: mmap.mmap) -> None:
    last = frames.MOST_SLOTS - 1
    for number in range(1, 3 * frames.MOST_TASKS, 2):
        assert frames.begin(page, last, number)
        assert not frames.recall(page, last, number), "it has begun"
        assert frames.recall(page, last, number + 1)
        assert not frames.begin(page, last, number + 1), "it was recalled"
    assert frames.begin(page, 0, 1), "each connection has its own"


def test_at_the_same_moment_at_least_one_side_gives_way(page: mmap.mmap) -> None:
    """In threads that take turns after each step of the interpreter, as often as it can be had."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(1, 500):
            both = Barrier(2)

            def recall(number: int = number, both: Barrier = both) -> bool:
                both.wait()
                return frames.recall(page, 1, number)

            with ThreadPoolExecutor(1) as pool:
                recalled = pool.submit(recall)
                both.wait()
                begins = frames.begin(page, 1, number)
                assert not (begins and recalled.result()), "it runs twice"
    finally:
        sys.setswitchinterval(before)
