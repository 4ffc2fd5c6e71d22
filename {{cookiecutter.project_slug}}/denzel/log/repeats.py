"""Lines of one kind that come again and again are counted, not repeated: they must not drive all others out of the log.

Of one kind are lines of the same logger, level and template, about the same type of error; where that says too little
(whatever goes wrong in user code has the same one), a record brings `kind`, which may not hold what clients send. The
first ones of a minute are written, the others told as a number when it is over. While it goes on, a minute grows to an
hour, doubling each time.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field

MINUTE, HOUR = 60.0, 3600.0
# Kinds that are told apart; what comes beyond them counts as one.
_MOST_KINDS = 500
# The loggers whose lines are counted; what the user's own code logs is not.
_OURS = ("denzel", "celery", "kombu", "redis", "gunicorn", "uvicorn", "asyncio", "aiohttp")
_OTHERS = ("", 0, "others")


@dataclass(slots=True)
class _Kind:
    until: float = 0.0
    seconds: float = MINUTE
    written: int = 0
    left_out: int = 0
    last: logging.LogRecord | None = field(default=None)


class Repeats(logging.Filter):
    """Lets warnings and errors through, and whatever brings a kind, of each kind so many a minute.

    Args:
        most: of one kind; 0: all.
        minute: seconds.
    """

    def __init__(self, most: int, minute: float = MINUTE) -> None:
        super().__init__()
        self._most, self._minute = most, minute
        self._kinds: dict[tuple[str, int, str], _Kind] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        if "admitted" not in record.__dict__:  # several handlers may ask
            record.__dict__["admitted"] = self._admits(record)
        return bool(record.__dict__["admitted"])

    def _admits(self, record: logging.LogRecord) -> bool:
        named = getattr(record, "kind", "")
        if not record.name.startswith(_OURS):
            return True
        if not self._most or (record.levelno < logging.WARNING and not named) or getattr(record, "counted", False):
            return True
        key = (record.name, record.levelno, f"{record.msg}{named}{_errors(record)}"[:1000])
        now = time.monotonic()
        with self._lock:
            if key not in self._kinds and len(self._kinds) >= _MOST_KINDS:
                self._forget(now)
                key = key if len(self._kinds) < _MOST_KINDS else _OTHERS
            kind = self._kinds.setdefault(key, _Kind(seconds=self._minute))
            if now >= kind.until:
                kind.seconds = self._minute if now > kind.until + kind.seconds or not kind.until else kind.seconds
                kind.until, kind.written = now + kind.seconds, 0
            kind.written += 1
            if kind.written <= self._most:
                return True
            kind.left_out += 1
            kind.last = record
            if kind.left_out == 1:
                timer = threading.Timer(kind.until - now, self._tell, (kind,))
                timer.daemon = True
                timer.start()
            return False

    def _forget(self, now: float) -> None:
        self._kinds = {key: kind for key, kind in self._kinds.items() if kind.left_out or now < kind.until}

    def _tell(self, kind: _Kind) -> None:
        """One line for all that were left out: the last of them, and their number."""
        with self._lock:
            count, last, seconds = kind.left_out, kind.last, kind.seconds
            kind.left_out, kind.last = 0, None
            kind.seconds = max(seconds, min(HOUR, 2 * seconds))
        if last is None:
            return
        template = str(last.msg).partition("\n")[0]
        logging.getLogger(last.name).log(
            last.levelno, "%d more within %g s like: %s", count, seconds, template,
            extra={"counted": True, "fields": {"left_out": count}},
        )  # fmt: skip


def _errors(record: logging.LogRecord) -> str:
    """The types of errors that a record is about: another one is news."""
    args = record.args if isinstance(record.args, tuple) else ()
    return "".join(type(arg).__name__ for arg in args if isinstance(arg, BaseException))
