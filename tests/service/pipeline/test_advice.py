"""An answer that JSON cannot hold is refused with what to return instead."""

from __future__ import annotations

import math
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from denzel.pipeline import stages
from denzel.pipeline.errors import BadAnswer


async def answer(*_: Any) -> dict[str, int]:
    return {}


def refused(value: Any) -> str:
    with pytest.raises(BadAnswer) as caught:
        stages.dumps_predictions(value)
    return str(caught.value)


def test_not_a_number() -> None:
    assert refused({"a": {"score": math.nan}}) == "$.a.score: NaN is not valid JSON; None is, and becomes null"
    assert refused({"a": [math.inf]}) == "$.a[0]: Infinity is not valid JSON; None is, and becomes null"


def test_data_frames() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1]})
    assert refused({"a": frame}) == '$.a: DataFrame is not valid JSON; its to_dict("records") is'
    assert refused(frame) == (
        'predict must return a dictionary, not DataFrame, for example {"rows": frame.to_dict("records")}'
    )
    assert stages.dumps_predictions({"rows": frame.to_dict("records")}) == b'{"rows":[{"a":1}]}'
    assert refused({"a": pandas.NaT}) == "$.a: NaT (a missing time) is not valid JSON; None is, and becomes null"
    assert refused({"a": pandas.NA}) == "$.a: NAType is not valid JSON; None is, and becomes null"


@pytest.mark.filterwarnings("error")  # "never awaited" would be noise beside what is said
def test_coroutines() -> None:
    advice = "define the function with `def`, not with `async def`"
    assert refused(answer()) == f"predict must return a dictionary, not coroutine: {advice}"
    module: Any = SimpleNamespace(process=answer, predict=dict, verify_input=answer)
    with pytest.raises(BadAnswer, match=f"^process returned a coroutine: {advice}$"):
        stages.predictions(module, None, {})
    inside = answer()
    assert refused({"a": inside}) == f"$.a: coroutine is not valid JSON; {advice}"
    inside.close()


@pytest.mark.filterwarnings("ignore:coroutine")
def test_a_verify_input_that_is_a_coroutine() -> None:
    module = ModuleType("pipeline")
    module.verify_input = answer  # type: ignore[attr-defined]
    with pytest.raises(BadAnswer, match="coroutine is not valid JSON; define the function with `def`"):
        stages.verified_request(module, {})
