"""What API processes and prediction processes say to each other."""

from __future__ import annotations

import pytest

from denzel.direct import frames

SENT = (
    b"".join(frames.task("one", b'{"data":{}}'))
    + frames.frame(frames.RECALL, b"one")
    + frames.ended(0.25, [("a", "SUCCESS", b'{"x":1}', b""), ("b", "FAILURE", b'{"args":[]}', b'"why"')], 3, 32)
    + frames.frame(frames.BYE)
)


@pytest.mark.parametrize("piece", [1, 7, 64, len(SENT)])
def test_frames_arrive_in_whatever_pieces_they_come(piece: int) -> None:
    reader = frames.Reader()
    found = [one for start in range(0, len(SENT), piece) for one in reader.feed(SENT[start : start + piece])]
    assert [kind for kind, _ in found] == [frames.TASK, frames.RECALL, frames.ENDED, frames.BYE]
    assert frames.parse_task(found[0][1]) == ("one", b'{"data":{}}')
    assert found[1][1] == b"one"
    assert frames.parse_ended(found[2][1]) == (
        0.25,
        3,
        32,
        [("a", "SUCCESS", b'{"x":1}', b""), ("b", "FAILURE", b'{"args":[]}', b'"why"')],
    )


def test_a_large_request_is_a_piece_of_its_own() -> None:
    request = b"x" * 1_000_000
    head, body = frames.task("one", request)
    assert body is request
    assert frames.parse_task((head + body)[5:]) == ("one", request)


def test_the_page_counts_for_each_connection() -> None:
    page = bytearray(frames.PAGE_SIZE)
    frames.write_sequence(page, 3, 2**40)
    assert [frames.read_sequence(page, slot) for slot in (2, 3, 4)] == [0, 2**40, 0]
