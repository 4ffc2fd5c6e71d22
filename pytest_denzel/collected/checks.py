"""What every pipeline is checked for without a line of test code: malformed requests, and the promise of BATCHABLE."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from pytest_denzel.in_process.pipeline import Pipeline

__tracebackhide__ = True

BODIES = 200  # generated requests for verify_input
BUDGET = 5.0  # seconds for all of them
_MOST_IDS = 64  # in one merged request
_ROUNDING = 1e-5  # of the largest number of an answer, which float32 knows to about 1e-7
_LOW_PRECISION = 2e-2  # the same for numbers of 16 bits: who has them has to say so
_ALLOW = 'allow it by "tolerance" in an example, or by denzel_tolerance, if that is mere precision; else '
_MOST_SHOWN = 5  # problems that a failure lists

_ATOMS: list[Any] = [None, True, False, 0, -1, 1.5, "", "text", [], [1], {}]
_SIMPLE: list[Any] = [
    *_ATOMS,
    *({"data": atom} for atom in _ATOMS),
    *({"data": {"a": atom}} for atom in _ATOMS),
    *({"data": {"a": {"b": atom}}} for atom in _ATOMS),
    *([[]], [{}], ["data"], {"data": {"": {}}}, {"Data": {}}, {"data ": {}}, {"\u0000": 1}, {"callback_uri": 1}),
]
_WRONG: list[Any] = [
    *_ATOMS,
    *(2**63 - 1, -(2**63), 1e308, -1e-308, " ", "1", "NaN", "\u0000", "é" * 1000),
    *([None], [[]], {"": None}, [1] * 1000, {str(number): number for number in range(100)}),
]


class CheckFailed(AssertionError):
    """A pipeline that does not keep what it should; the message is all there is to say."""

    def __init__(self, message: str) -> None:
        # a lone surrogate cannot be printed, nor sent to another process
        super().__init__(message.encode(errors="backslashreplace").decode())


class _Hanging(BaseException):
    """Raised inside user code whose time is over; not an Exception, so that it is not taken for a refusal."""


def malformed_bodies(requests: list[Any], count: int = BODIES) -> Iterator[Any]:
    """Generated requests, always the same: simple ones first, then mutations of the good requests given."""
    yield from _SIMPLE[:count]
    chance = random.Random(20_240_229)
    sources = requests or [{"data": {"a": {"b": 1.0}}}]
    for _ in range(count - len(_SIMPLE)):
        body = copy.deepcopy(chance.choice(sources))
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            body = _mutated(body, chance)
        yield body


def check_malformed(pipeline: Pipeline, requests: list[Any]) -> int:
    """Check that `verify_input` accepts or refuses generated bodies, the latter by an exception with a message.

    Returns how many were tried: fewer than BODIES only where that would take longer than BUDGET seconds.

    Raises:
        CheckFailed: lists bodies and what happened.
    """
    pipeline.module  # noqa: B018 - a pipeline that cannot be imported is no failure of this check
    problems: list[str] = []
    tried, end = 0, time.monotonic() + BUDGET
    for body in malformed_bodies(requests):
        left = end - time.monotonic()
        if left <= 0 or len(problems) == _MOST_SHOWN:
            break
        tried += 1
        if problem := _refusal_problem(pipeline, body, max(left, 1.0)):
            problems.append(f"  {_shown(body)}\n      {problem}")
            if "did not return" in problem:
                break
    if problems:
        raise CheckFailed(
            "verify_input must refuse a malformed request by an ordinary exception with a message for the client; "
            "with these requests it did not:\n" + "\n".join(problems)
        )
    return tried


def mergeable(requests: list[Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The requests that the service may merge, as (rest, data): those alike in all but their data, with all ids.

    The ids are numbered, as the service does when it merges.
    """
    groups: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for request in requests:
        if isinstance(request, dict) and isinstance(request.get("data"), dict) and request["data"]:
            rest = {key: value for key, value in request.items() if key != "data"}
            _, data = groups.setdefault(json.dumps(rest, sort_keys=True), (rest, {}))
            for value in request["data"].values():
                data[str(len(data))] = value
    return [(rest, dict(list(data.items())[:_MOST_IDS])) for rest, data in groups.values()]


def check_batchable(pipeline: Pipeline, requests: list[Any], tolerance: float) -> None:
    """Check that the ids of `data` are independent of each other, as `BATCHABLE = True` promises.

    Each id alone, all together and all in another order must get the same answers.

    Raises:
        CheckFailed: lists the ids whose answers differ.
    """
    from denzel import testing

    problems: list[str] = []
    gross = False
    for rest, data in mergeable(requests):
        alone: dict[str, Any] = {}
        for key, value in data.items():
            answer = pipeline.run({**rest, "data": {key: value}})
            if set(answer) != {key}:
                gross = True
                problems.append(f"the request of the id {key!r} alone was answered with {_ids(answer)}")
            alone[key] = answer.get(key)
        orders = {"together": list(data), "in another order": list(data)[::-1]}
        for how, keys in orders.items():
            answer = pipeline.run({**rest, "data": {key: data[key] for key in keys}})
            if set(answer) != set(data):
                gross = True
                problems.append(f"all ids {how}: the answer has {_ids(answer)}, the request had {_ids(data)}")
                continue
            for key in data:
                problems += (
                    f"id {key!r}: {line.replace('expected', 'alone', 1).replace('got', how, 1)}"
                    for line in testing.differences(alone[key], _unrounded(alone[key], answer[key]), tolerance)
                )
                near = _unrounded(alone[key], answer[key], _LOW_PRECISION)
                gross = gross or any(testing.differences(alone[key], near, tolerance))
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems[: 2 * _MOST_SHOWN])
        raise CheckFailed(
            "BATCHABLE = True promises that the ids of a request do not depend on each other, but their answers do "
            f"({'' if gross else _ALLOW}remove BATCHABLE, or make them independent):\n{shown}"
        )


def _unrounded(alone: Any, answer: Any, rounding: float = _ROUNDING) -> Any:
    """The answer without differences that come of rounding: those of float32 depend on what is computed together."""
    slack = rounding * max((abs(number) for number in _numbers(alone)), default=0.0)

    def same(left: Any, right: Any) -> Any:
        if isinstance(left, dict) and isinstance(right, dict):
            return {key: same(left.get(key), value) for key, value in right.items()}
        if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
            return [same(*pair) for pair in zip(left, right, strict=True)]
        if isinstance(left, float) and isinstance(right, float) and abs(left - right) <= slack:
            return left
        return right

    return same(alone, answer)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)
    elif isinstance(value, float):
        yield value


def _refusal_problem(pipeline: Pipeline, body: Any, seconds: float) -> str | None:
    from denzel import testing

    try:
        with _time_limit(seconds):
            pipeline.verify_input(body)
    except _Hanging:
        return f"verify_input did not return within {seconds:.0f} s"
    except Exception as error:
        if testing.is_bad_answer(error):
            return f"{error}: the client gets a 500"
        if not str(error).strip():
            return f"raised {type(error).__name__} without a message: the client learns nothing"
    except SystemExit as error:
        return f"raised SystemExit({error}): raise an exception such as ValueError instead"
    return None


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Interrupt the body after `seconds`, where signals can do that (the main thread of Unix)."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise _Hanging

    started = time.monotonic()
    handler = signal.signal(signal.SIGALRM, interrupt)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:  # someone else's timer, such as pytest-timeout's
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - started)), interval)


def _mutated(body: Any, chance: random.Random) -> Any:
    """The body with one thing wrong: a value replaced, removed, renamed, added or nested."""
    places = list(_places(body))
    if not places:
        return chance.choice(_WRONG)
    holder, key = chance.choice(places)
    change: Callable[[], None] = chance.choice(
        (
            lambda: holder.__setitem__(key, chance.choice(_WRONG)),
            lambda: holder.__setitem__(key, chance.choice(_WRONG)),
            lambda: holder.__delitem__(key),
            lambda: holder.__setitem__(key, [holder[key]]),
            lambda: holder.__setitem__(key, str(holder[key])),
            lambda: _rename(holder, key, chance),
        )
    )
    change()
    return body


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _rename(holder: Any, key: Any, chance: random.Random) -> None:
    if isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    else:
        holder[chance.choice(("", key.upper(), f"{key} ", f"_{key}", "unknown"))] = holder.pop(key)


def _shown(body: Any) -> str:
    text = json.dumps(body)
    return text if len(text) <= 160 else f"{text[:157]}..."


def _ids(mapping: Any) -> str:
    return f"the ids {', '.join(map(repr, list(mapping)[:8]))}" + ("..." if len(mapping) > 8 else "")
