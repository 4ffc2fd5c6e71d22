"""JSON parsed in pieces: values and refusals are the same as at once, and other threads have turns."""

from __future__ import annotations

import json
import random
import string
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from denzel import json_pieces, jsonio

TEXTS = ["", "},", '],"', '\\"}],', "ü", "\U0001f600", "[[{{", "a\nb", "\x7f", ", ", ":"]
NUMBERS = [0, -1, 1.5, 1e300, -0.0, 2**64 - 1, -(2**63), 1234567890123456789, 0.1, 10**15]


@pytest.fixture(params=[8, 24, 100, 1000])
def window(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The length of a window."""
    monkeypatch.setattr(json_pieces, "_WINDOW", request.param)
    return request.param


def anything(chance: random.Random, levels: int = 5) -> Any:
    kind = chance.randrange(8 if levels else 4)
    if kind < 4:
        text = "".join(chance.choices(string.ascii_letters, k=chance.randrange(3)))
        return (chance.choice(NUMBERS), chance.choice([True, False, None]), text + chance.choice(TEXTS), 7)[kind]
    values = [anything(chance, levels - 1) for _ in range(chance.choice([0, 1, 2, 3, 9]))]
    return values if kind < 6 else {f"{chance.choice(TEXTS)}{number}": value for number, value in enumerate(values)}


def written(value: Any, chance: random.Random) -> bytes:
    spaces = chance.choice([(",", ":"), (", ", ": "), (" ,\n", " : \t")])
    return json.dumps(value, ensure_ascii=chance.random() < 0.3, separators=spaces).encode()


def outcome(parse: Any, text: bytes) -> Any:
    try:
        return "parsed", repr(parse(text))  # -0.0 is not 0.0
    except ValueError:
        return ("refused",)


def pieces(text: bytes) -> Any:
    return json_pieces.loads(text, 250)


@pytest.mark.parametrize("seed", range(10))
def test_values_are_the_same(window: int, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(15):
        text = b" \n"[: chance.randrange(3)] + written(anything(chance), chance)
        assert outcome(pieces, text) == outcome(jsonio.loads, text), text


@pytest.mark.parametrize("seed", range(10))
def test_mistakes_are_found(window: int, seed: int) -> None:
    """A character left out, put in or exchanged: both say the same of what that makes."""
    chance = random.Random(seed)
    for _ in range(15):
        text = bytearray(written(anything(chance), chance))
        for _ in range(chance.choice([1, 1, 2])):
            at = chance.randrange(len(text) + 1)
            text[at : at + chance.randrange(2)] = bytes(chance.choices(b'[]{},:"\\0e-nul \xc3', k=chance.randrange(2)))
        assert outcome(pieces, bytes(text)) == outcome(jsonio.loads, bytes(text)), bytes(text)


@pytest.mark.parametrize(
    "text",
    [
        b"", b" ", b"[", b'["', b"{", b'{"a"', b'{"a":', b'{"a":1,}', b"[1,]", b"[,1]", b"[1 2]", b"NaN", b"[Infinity]",
        b"[-Infinity]", b"1e999", b"[01]", b"[1.]", b"[.5]", b"[+1]", b"[18446744073709551616]", b"\xef\xbb\xbf[]",
        b'["\\ud800"]', b'{"\\udc00":1}', b'["\\ud83d\\ude00"]', b'["\xff"]', b'["\x01"]', b"[] []", b'{1:2}', b"'a'",
        b"[1]]", b"nul", b"[true,fals]", b'{"a":1 "b":2}', b'{"a" 1}', b'{"a":1,"a":2}',
    ],
)  # fmt: skip
def test_what_is_refused_is_refused(window: int, text: bytes) -> None:
    for around in (text, b"[" + b"[1,2],\n" * 500 + text + b"]", b'{"a":' + text + b"}"):
        assert outcome(pieces, around) == outcome(jsonio.loads, around)


def test_what_is_nested_too_deep_is_refused() -> None:
    for begin, end in ((b"[", b"]"), (b'{"a":', b"}"), (b"[1,", b"]")):
        long = b"1," * 100_000 + b"1"
        assert pieces(begin * 240 + b"[" + long + b"]" + end * 240)
        with pytest.raises(ValueError, match="nested too deep"):
            pieces(begin * 260 + b"[" + long + b"]" + end * 260)


def texts() -> Iterator[tuple[str, bytes]]:
    row = {"width": 0.1, "length": 5, "kind": "a, or }, or ]"}
    yield "rows", json.dumps({"data": {f"row{number}": row for number in range(40_000)}}).encode()
    yield "a matrix", json.dumps({"data": [[number / 7] * 50 for number in range(4000)]}).encode()
    yield "empty lists", b"[" + b"[]," * 400_000 + b"[]]"
    yield "levels", b"[1," * 240 + b"{}," * 300_000 + b"1" + b"]" * 240
    yield "texts", json.dumps(["[{" + "x" * 20] * 100_000).encode()


@pytest.mark.parametrize(("what", "text"), [pytest.param(*one, id=one[0]) for one in texts()])
def test_other_threads_have_turns(what: str, text: bytes) -> None:
    """Far more of them than one before and one after: by the parser at once, it has these alone."""
    turns, ended = [], threading.Event()

    def take_turns() -> None:
        while not ended.is_set():
            time.sleep(0.001)
            turns.append(time.perf_counter())

    thread = threading.Thread(target=take_turns)
    thread.start()
    try:
        begin = time.perf_counter()
        value = pieces(text)
        end = time.perf_counter()
    finally:
        ended.set()
        thread.join()
    assert value == jsonio.loads(text)
    assert sum(begin < turn < end for turn in turns) >= 3, what
