"""How a delivery stands: the field `callback` of a task's record, what an attempt makes of it, when the next is due."""

from __future__ import annotations

import random
from typing import Any

import orjson

from denzel import jsonio
from denzel.callbacks.sender import Attempt
from denzel.record import status_body

FIRST_DELAY, LONGEST_DELAY = 5.0, 3600.0
HISTORY = 10  # attempts shown in /status


def advance(state: dict[str, Any], answer: Attempt, now: float, span: float) -> tuple[dict[str, Any], float | None]:
    """The state after an attempt, and the seconds until the next one (None: this was the last)."""
    attempt = {"at": round(now - answer.seconds, 3), "status": answer.status, "error": answer.error}
    state = {
        **state,
        "attempts": state.get("attempts", 0) + 1,
        "since": state.get("since", round(now, 3)),
        "last_status": answer.status,
        "last_error": answer.error,
        "history": [*state.get("history", ()), {**attempt, "seconds": round(answer.seconds, 3)}][-HISTORY:],
    }
    if answer.error is None:
        return {**state, "state": "delivered", "next_attempt": None, "delivered_at": round(now, 3)}, None
    if answer.status == 410:
        return {**state, "state": "gone", "next_attempt": None}, None
    delay = None if answer.refused else _next_delay(state, now, span, answer.retry_after)
    return _planned(state, delay, now), delay


def postpone(state: dict[str, Any], reason: str, now: float, span: float) -> tuple[dict[str, Any], float | None]:
    """The state after an attempt that was left out, and the seconds until the next one (None: give up)."""
    state = {**state, "postponed": state.get("postponed", 0) + 1, "since": state.get("since", round(now, 3))}
    state.update(attempts=state.get("attempts", 0), last_error=reason)
    delay = _next_delay(state, now, span, None)
    return _planned(state, delay, now), delay


def _planned(state: dict[str, Any], delay: float | None, now: float) -> dict[str, Any]:
    if delay is None:
        return {**state, "state": "failed", "next_attempt": None}
    return {**state, "state": "pending", "next_attempt": round(now + delay, 3)}


def _next_delay(state: dict[str, Any], now: float, span: float, retry_after: float | None) -> float | None:
    """Growing, with jitter, no earlier than the receiver wishes; the last attempt comes as the span ends."""
    left = state["since"] + span - now
    if left < 1:
        return None
    tries = state["attempts"] + state.get("postponed", 0)
    delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(tries - 1, 20)) * random.uniform(0.8, 1.2)
    return min(left, max(delay, retry_after or 0.0))


def _read_state(text: bytes) -> dict[str, Any]:
    try:
        return dict(orjson.loads(text or b"{}"))
    except (TypeError, ValueError):  # damaged by hand: better delivered again than stuck
        return {}


def body_of(record: dict[bytes, bytes]) -> bytes:
    """What a callback says: the predictions exactly as the synchronous answer, or the body of /status."""
    if record[b"status"] == b"SUCCESS":
        return record[b"result"]
    # What the failure's arguments may be, orjson cannot always write.
    body = {key: value for key, value in status_body(record).items() if key != "callback"}
    return jsonio.dumps(body, jsonio.DEEPER)
