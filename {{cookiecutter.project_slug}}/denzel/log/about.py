"""Whose task or request a line of the log is about: known where the line is written, whoever writes it.

There are three places, the first of which that tells something counts: the thread (where it runs user code for one
request), the context (of a request in the API), the process (the tasks that a prediction process is at).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from denzel import origin

# Of each task its id (empty: there is none yet) and its origin, as it travels.
About = Sequence[tuple[str, str]]

# Ids of more tasks than this are not shown.
MOST_SHOWN = 16

REQUEST: ContextVar[About] = ContextVar("denzel_about", default=())


class _Thread(threading.local):
    about: About = ()


class _Process:
    about: About = ()


THREAD, PROCESS = _Thread(), _Process()


def current() -> About:
    """What is written now is about this."""
    return THREAD.about or REQUEST.get() or PROCESS.about


def narrow(about: About) -> None:
    """Of what user code is called for, this part alone is meant from now on."""
    (THREAD if THREAD.about else PROCESS).about = about


def ids(about: About) -> dict[str, Any]:
    """The ids as a line of JSON has them: of one task as texts, of several as lists, bounded, and their number."""
    shown = [(task_id, origin.parse(text)) for task_id, text in about[:MOST_SHOWN]]
    found = {
        "task_id": [task_id for task_id, _ in shown if task_id],
        "request_id": [came.request_id or task_id for task_id, came in shown],
        "trace_id": [came.trace_id for _, came in shown if came.trace_id],
    }
    if len(about) == 1:
        return {name: values[0] for name, values in found.items() if values}
    return {"tasks": len(about), **{f"{name}s": values for name, values in found.items() if values}}


def suffix(about: About) -> str:
    """The same at the end of a line of text."""
    if not about:
        return ""
    shown = []
    for task_id, text in about[:MOST_SHOWN]:
        came = origin.parse(text)
        parts = [f"task {task_id}"] if task_id else []
        if came.request_id and came.request_id != task_id:
            parts.append(f"request {came.request_id}")
        if came.trace_id:
            parts.append(f"trace {came.trace_id}")
        shown.append(" ".join(parts))
    more = len(about) - len(shown)
    return f" [{', '.join(shown)}{f' and {more} more' if more else ''}]"
