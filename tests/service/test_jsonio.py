"""JSON at the service's borders: what is refused, what is converted, which path is named."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections import OrderedDict, namedtuple
from datetime import date, datetime, timedelta, timezone
from datetime import time as clock
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any

import numpy as np
import pandas as pd
import pytest

from denzel import jsonio


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b" 1 ", 1),
        (b"18446744073709551615", 2**64 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"0000000000000000000"[:1], 0),
        (b'"12345678901234567890123"', "12345678901234567890123"),
        (b"1234567890123456789.5", 1234567890123456789.5),
        (b"1e308", 1e308),
        (b"0.1234567890123456789012345", 0.1234567890123456789012345),
        ('{"ü": ["\\u00fc", "😀", "\\ud83d\\ude00"]}'.encode(), {"ü": ["ü", "😀", "😀"]}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"__type__": "bytes", "__value__": "00"}', {"__type__": "bytes", "__value__": "00"}),
    ],
)
def test_json_is_parsed_as_it_is(text: bytes, value: Any) -> None:
    assert jsonio.loads(text) == value
    assert type(jsonio.loads(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"nul", b"NaN", b"[Infinity]", b"-Infinity", b"1e309", b"-1e400", b"18446744073709551616",
        b"-9223372036854775809", b'{"a": [99999999999999999999]}', b"\xff", b'"\xed\xa0\x80"', b'"\\ud800"',
        b"\xef\xbb\xbf1", b"[1,]", b"{'a': 1}", b"01", b"1 2", b"[" * 1025 + b"]" * 1025,
    ],
    ids=lambda text: repr(text[:20]),
)  # fmt: skip
def test_what_is_not_plain_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever; the API says the same of all
        jsonio.loads(text)


@pytest.mark.parametrize("depth", [500, 1000, 1024])
def test_deep_requests_are_parsed_or_refused_without_a_crash(depth: int) -> None:
    try:
        value = jsonio.loads(b"[" * depth + b"1234567890123456789" + b"]" * depth)
    except ValueError:  # a RecursionError is none
        assert depth > 500
        return
    for _ in range(depth):
        [value] = value
    assert value == 1234567890123456789


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30, 10**18, 10**19, 0.1234567890123456789, 1e300])
def test_what_was_dumped_is_parsed_as_it_was(number: float) -> None:
    [parsed] = jsonio.loads_dumped(jsonio.dumps([number]))
    assert parsed == number
    assert type(parsed) is type(number)


@pytest.mark.parametrize("huge", [2**64, -(2**63) - 1])
@pytest.mark.parametrize(
    "text", ["{}", " {}", "[{}]", "[1,{}]", "[1,\n\t{} ]", '{{"a":{}}}', '["18446744073709551616",{}]']
)
def test_integers_beyond_64_bits_are_refused_wherever_they_stand(text: str, huge: int) -> None:
    with pytest.raises(ValueError, match="beyond 64 bits"):
        jsonio.loads(text.format(huge).encode())


def test_digits_in_texts_are_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    value = ["1234567890123456789", "a18446744073709551616", {"99999999999999999999": 1}]
    text = json.dumps([*value, "a 18446744073709551616", "-18446744073709551616"]).encode()
    assert jsonio.loads(text) == json.loads(text)
    text = json.dumps(value).encode()
    monkeypatch.setattr(json, "loads", None)  # many times slower, so that it is used only where a number may be huge
    assert jsonio.loads(text) == value


def test_huge_numbers_cost_no_time() -> None:
    began = time.monotonic()
    for text in (b"7" * 300, b"[" + b"7," * 100_000 + b"7" * 20 + b"]", b"7" * 1_000_000, b"0." + b"7" * 1_000_000):
        try:
            jsonio.loads(text)
        except ValueError:
            continue
        assert text.startswith(b"0.")
    assert time.monotonic() - began < 1


class Colour(Enum):
    RED = "red"
    BOTH = ("red", "blue")


class Level(IntEnum):
    HIGH = 3


class Word(str):
    pass


Point = namedtuple("Point", "x y")
UTC_TIME = datetime(2020, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, 1.5, "ü\n"]}, '{"b":1,"a":[true,null,1.5,"ü\\n"]}'),
        (2**70, str(2**70)),
        ((1, Point(1, 2)), "[1,[1,2]]"),
        (OrderedDict(a=1), '{"a":1}'),
        ({1: "a", 2.5: "b", False: "c", None: "d"}, '{"1":"a","2.5":"b","false":"c","null":"d"}'),
        (Word("a"), '"a"'),
        ([Level.HIGH, Colour.RED, Colour.BOTH], '[3,"red",["red","blue"]]'),
        ([date(2020, 1, 2), clock(3, 4), UTC_TIME], '["2020-01-02","03:04:00","2020-01-02T03:04:05+02:00"]'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (np.float64(1.5), "1.5"),
        ([np.float32(0.1), np.float16(0.5), np.int8(-1), np.uint64(2**64 - 1)], None),
        ({"a": np.bool_(False), "b": np.str_("x")}, '{"a":false,"b":"x"}'),
        (np.array([[1, 2], [3, 4]]), "[[1,2],[3,4]]"),
        (np.array(5), "5"),
        (np.array([]), "[]"),
        (np.array(["a", "b"]), '["a","b"]'),
        (np.array([{"a": np.int64(1)}, None], dtype=object), '[{"a":1},null]'),
        ({np.str_("a"): 1, np.int64(2): 2, np.float64(0.5): 3}, '{"a":1,"2":2,"0.5":3}'),
        (np.datetime64("2020-01-02T03:04"), '"2020-01-02T03:04"'),
        (np.array(["2020-01-02"], dtype="datetime64[D]"), '["2020-01-02"]'),
        ({date(2020, 1, 2): 1}, '{"2020-01-02":1}'),
        ({uuid.UUID(int=2): np.int64(1)}, '{"00000000-0000-0000-0000-000000000002":1}'),
    ],
    ids=repr,
)
def test_what_users_return_becomes_json(value: Any, text: str | None) -> None:
    written = jsonio.dumps(value).decode()
    if text is None:
        assert json.loads(written) == [item.item() for item in value]
    else:
        assert written == text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "$: NaN is not valid JSON"),
        ({"a123": {"score": math.nan}}, "$.a123.score: NaN is not valid JSON"),
        ([0, [math.inf]], "$[1][0]: Infinity is not valid JSON"),
        ({"a b": -math.inf}, '$["a b"]: -Infinity is not valid JSON'),
        ({"": {'"': math.nan}}, '$[""]["\\""]: NaN is not valid JSON'),
        ({"x" * 100: math.nan}, f'$["{"x" * 80}"]: NaN is not valid JSON'),
        ({"a": np.array([1.0, math.nan])}, "$.a[1]: NaN is not valid JSON"),
        ({"a": np.float64("nan")}, "$.a: NaN is not valid JSON"),
        ([np.complex128(1)], "$[0]: complex is not valid JSON"),
        ({"a": {1}}, "$.a: set is not valid JSON"),
        ({"a": b"x"}, "$.a: bytes is not valid JSON"),
        ({"a": Decimal(1)}, "$.a: Decimal is not valid JSON"),
        ({"a": object()}, "$.a: object is not valid JSON"),
        ({"a": iter([])}, "$.a: list_iterator is not valid JSON"),
        ({(1, 2): 1}, "$: a key is of type tuple; keys must be text"),
        ({"a": {1: "x", "1": "y"}}, "$.a: two keys are the same when they are text"),
        ({"a": {b"k": 1}}, "$.a: bytes is not valid JSON"),
        ({"a": "\ud800"}, "$.a: the text holds a lone surrogate, which is not valid Unicode"),
        ({"\ud800": 1}, "$: the text holds a lone surrogate, which is not valid Unicode"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_json_cannot_hold_is_named_with_its_path(value: Any, message: str) -> None:
    with pytest.raises(jsonio.NotJSON) as caught:
        jsonio.dumps(value)
    assert str(caught.value) == message


def test_a_value_within_itself_is_named() -> None:
    value: dict[str, Any] = {"a": [1]}
    value["a"].append(value)
    with pytest.raises(jsonio.NotJSON, match=r"^\$\.a\[1\]: the value contains itself$"):
        jsonio.dumps(value)


def test_a_value_may_come_twice() -> None:
    shared = [np.int64(1)]
    assert jsonio.dumps({"a": shared, "b": [shared]}) == b'{"a":[1],"b":[[1]]}'


@pytest.mark.parametrize("inner", [1, np.int64(1)])
def test_deep_values_are_written_or_refused_without_a_crash(inner: Any) -> None:
    def nested(depth: int) -> Any:
        value = inner
        for _ in range(depth):
            value = [value]
        return value

    assert jsonio.dumps(nested(200)) == b"[" * 200 + b"1" + b"]" * 200
    with pytest.raises(jsonio.TooDeep, match="nested more than 250 levels deep"):
        jsonio.dumps(nested(100_000))


def test_conversion_leaves_the_value_as_it_is() -> None:
    value = {"a": [np.int64(1)], 1: None}
    jsonio.dumps(value)
    assert list(value) == ["a", 1]
    assert type(value["a"][0]) is np.int64


MISSING_TIMES = [
    ({"a": {"when": pd.NaT}}, r"\$\.a\.when"),
    ({"a": np.datetime64("NaT")}, r"\$\.a"),
    ({"a": np.timedelta64("NaT")}, r"\$\.a"),
    ({"a": np.array(["2020-01-01", "NaT"], dtype="datetime64[D]")}, r"\$\.a\[1\]"),
    ({"a": np.array([[1, 2], [3, "NaT"]], dtype="timedelta64[s]")}, r"\$\.a\[1\]\[1\]"),
    ({"a": pd.Series(pd.to_datetime(["2020-01-01", None]))}, r"\$\.a\[1\]"),
    ({"a": pd.DataFrame({"when": pd.to_datetime(["2020-01-01", None])}).to_dict("records")}, r"\$\.a\[1\]\.when"),
    ({"a": pd.to_datetime(["2020-01-01", None])}, r"\$\.a\[1\]"),
]


@pytest.mark.parametrize(("value", "path"), MISSING_TIMES, ids=[str(number) for number in range(len(MISSING_TIMES))])
def test_a_missing_time_is_an_error_with_its_path(value: Any, path: str) -> None:
    with pytest.raises(jsonio.NotJSON, match=f"^{path}: NaT .* is not valid JSON$"):
        jsonio.dumps(value)


def test_a_missing_value_of_pandas_is_an_error_with_its_path() -> None:
    with pytest.raises(jsonio.NotJSON, match=r"^\$\.a\[0\]: NAType is not valid JSON"):
        jsonio.dumps({"a": [pd.NA]})


def test_times_of_pandas_and_numpy_are_texts() -> None:
    value = {
        "timestamp": pd.Timestamp("2020-01-02 03:04"),
        "series": pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"])),
        "days": np.array(["2020-01-01"], dtype="datetime64[D]"),
    }
    assert json.loads(jsonio.dumps(value)) == {
        "timestamp": "2020-01-02T03:04:00",
        "series": ["2020-01-01", "2020-01-02"],
        "days": ["2020-01-01"],
    }


class Switch(Enum):
    ON = True


@pytest.mark.parametrize("key", [True, np.bool_(True), Switch.ON])
def test_keys_that_are_true_agree(key: Any) -> None:
    assert jsonio.dumps({key: 1}) == b'{"true":1}'


# ---- Long texts with few values --------------------------------------------------------------------------------------

IMAGE = "null 1234567890123456789012 " * 10_000  # looks like all that is searched for


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
def test_an_integer_beyond_64_bits_is_refused_beside_a_long_text(number: int) -> None:
    with pytest.raises(ValueError, match="an integer is beyond 64 bits"):
        jsonio.loads(json.dumps({"data": {"a": [IMAGE, {"b": number}]}}).encode())


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), 1e19, 1.5, None, True, IMAGE])
def test_all_others_are_kept_beside_a_long_text(value: object) -> None:
    request = {"data": {"a": [IMAGE, {"b": value}]}}
    assert jsonio.loads(json.dumps(request).encode()) == request
    assert jsonio.loads_dumped(jsonio.dumps(request)) == request


def test_of_any_size_where_they_were_written_by_dumps() -> None:
    value = {"data": [IMAGE, 10**30]}
    assert jsonio.loads_dumped(jsonio.dumps(value)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_found_beside_a_long_text(value: float) -> None:
    with pytest.raises(jsonio.NotJSON, match=r"^\$\.data\[1\]: "):
        jsonio.dumps({"data": [IMAGE, value]})


def test_what_is_nested_too_deep_is_refused_beside_a_long_text() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        jsonio.loads(b'{"a":' * 1000 + json.dumps(IMAGE * 10).encode() + b"}" * 1000)
