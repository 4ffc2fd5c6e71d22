"""Where a task comes from: which headers are taken, and how that travels with it."""

from __future__ import annotations

import pytest

from denzel import origin

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


def came(**headers: str) -> origin.Origin:
    return origin.from_headers([(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()])


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (GOOD, GOOD),
        (f"  {GOOD}\t", GOOD),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-09", GOOD),  # a flag of tomorrow
        (f"cc-{TRACE}-{SPAN}-01", GOOD),  # so is a version
        (f"cc-{TRACE}-{SPAN}-01-what-comes", GOOD),
        (f"cc-{TRACE}-{SPAN}-01what", ""),
        (f"00-{TRACE}-{SPAN}-01-more", ""),
        (f"ff-{TRACE}-{SPAN}-01", ""),
        (f"00-{TRACE.upper()}-{SPAN}-01", ""),
        (f"00-{'0' * 32}-{SPAN}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE[:-1]}-{SPAN}-01", ""),
        (f"00-{TRACE}-{SPAN}", ""),
        (f"{GOOD},{GOOD}", ""),
        ("", ""),
        ("00-\u0661" * 3, ""),
    ],
)
def test_a_traceparent_is_taken_as_the_standard_says(sent: str, taken: str) -> None:
    assert origin.usable_traceparent(sent) == taken


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ("rojo=00f067aa0ba902b7, congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("a@tenant=1,,b=2 3", "a@tenant=1,b=2 3"),
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a=1=2", ""),
        ("a=\u00e4", ""),
        ("a", ""),
        (",".join(f"k{number}=1" for number in range(33)), ""),
    ],
)
def test_a_tracestate_is_taken_as_the_standard_says(sent: str, taken: str) -> None:
    assert origin.usable_tracestate(sent) == taken


@pytest.mark.parametrize(
    ("sent", "taken"), [("abc-1.2:3/4@5", True), ("a b", False), ("a,b", False), ("x" * 129, False), ("a\nb", False)]
)
def test_a_request_id_that_would_spoil_logs_or_headers_is_not_taken(sent: str, taken: bool) -> None:
    assert origin.usable_request_id(sent) == (sent if taken else "")


def test_it_travels_as_one_word() -> None:
    whole = came(x_request_id="abc", traceparent=GOOD, tracestate="a=1 2;3|4, b=%,c=t~")
    assert whole == origin.Origin("abc", GOOD, "a=1 2;3|4,b=%,c=t~")
    for one in (whole, came(x_request_id="abc"), came(traceparent=GOOD), origin.Origin("", GOOD, "", 1.5)):
        assert " " not in one.text
        assert origin.parse(one.text) == one
    assert came(other="x") == origin.NOWHERE
    assert (origin.NOWHERE.text, origin.parse("")) == ("", origin.NOWHERE)


def test_a_state_without_its_parent_and_headers_that_come_twice_say_nothing() -> None:
    assert came(tracestate="a=1") == origin.NOWHERE
    twice = [(b"traceparent", GOOD.encode()), (b"traceparent", GOOD.encode())]
    assert origin.from_headers(twice) == origin.NOWHERE
    assert origin.from_headers([(b"x-request-id", b"a"), (b"x-request-id", b"b")]).request_id == ""


def test_the_receiver_of_a_callback_is_told() -> None:
    assert origin.for_receiver("task", origin.NOWHERE) == {"X-Request-Id": "task"}
    told = origin.for_receiver("task", origin.Origin("abc", GOOD, "a=1"))
    assert told == {"X-Request-Id": "abc", "traceparent": GOOD, "tracestate": "a=1"}
