"""Finds what user code holds that works only in the thread that made it, or is another one in each thread."""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
import threading
from collections import deque
from collections.abc import Iterator
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from denzel.pipeline.loading import MODULE

# What the user's modules are called, with the dot behind it.
_PACKAGE = MODULE.rpartition(".")[0] + "."
# Objects that are looked at, at the most.
_MOST = 20_000
_CONTAINERS = (dict, list, tuple, set, frozenset, deque, CellType, MethodType, functools.partial)
_CACHED = type(functools.lru_cache(lambda: None))


def thread_bound(*held: Any) -> str | None:
    """What was found among the user's modules and what else user code holds: `sqlite3.Connection`; None if nothing."""
    kinds = tuple(_kinds())
    waiting = deque([*_users_modules(), *held])
    seen = {id(one) for one in waiting}
    while waiting:
        value = waiting.popleft()
        if isinstance(value, kinds):
            return f"{type(value).__module__.lstrip('_')}.{type(value).__qualname__.lstrip('_')}"
        for inner in gc.get_referents(value) if _is_looked_into(value) else ():
            if id(inner) not in seen and len(seen) < _MOST:
                seen.add(id(inner))
                waiting.append(inner)
    return None


def _kinds() -> Iterator[type]:
    yield threading.local
    yield asyncio.AbstractEventLoop
    for module, names in {"sqlite3": ("Connection", "Cursor"), "tkinter": ("Misc",)}.items():
        if module in sys.modules:
            yield from (getattr(sys.modules[module], name) for name in names)


def _users_modules() -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if _is_users(name)]


def _is_users(name: Any) -> bool:
    return isinstance(name, str) and f"{name}.".startswith(_PACKAGE)


def _is_looked_into(value: Any) -> bool:
    """Whether it may hold what is looked for: containers, and what is defined in the user's modules."""
    if isinstance(value, (*_CONTAINERS, _CACHED)):
        return True
    if isinstance(value, ModuleType):
        return _is_users(value.__name__)
    if isinstance(value, FunctionType | type):
        return _is_users(value.__module__)
    return _is_users(type(value).__module__)
