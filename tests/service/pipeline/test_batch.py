"""Merging: each request keeps its own answer or error, whatever shares its call."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

from denzel.pipeline.batch import BatchRunner
from denzel.pipeline.on_loop import Overdue


class Pipeline(ModuleType):
    """Doubles numbers; counts its calls."""

    def __init__(self, batchable: Any = True) -> None:
        super().__init__("pipeline")
        self.BATCHABLE = batchable
        self.calls: list[int] = []

    def process(self, model: Any, json_data: Any) -> Any:
        self.calls.append(len(json_data["data"]))
        return json_data["data"], json_data.get("factor", 2)

    def predict(self, model: Any, data: Any) -> dict[str, Any]:
        numbers, factor = data
        return {name: model[number] * factor for name, number in numbers.items()}


MODEL = {number: number for number in range(100)}


def run(pipeline: Pipeline, *requests: Any, max_ids: int = 512) -> list[Any]:
    """The answers in order; of a failure its message."""
    runner = BatchRunner(pipeline, MODEL, max_ids)
    texts = [json.dumps(request).encode() for request in requests]
    outcomes: dict[int, Any] = {}
    for call in runner.calls(texts):
        for position, outcome in zip(call.positions, runner.run(call), strict=True):
            outcomes[position] = json.loads(outcome[1] if outcome[0] == "SUCCESS" else outcome[2])
    return [outcomes[position] for position in range(len(requests))]


def test_requests_with_the_same_ids_are_merged_and_split_again() -> None:
    pipeline = Pipeline()
    assert run(pipeline, {"data": {"a": 1, "b": 2}}, {"data": {"a": 3}}) == [{"a": 2, "b": 4}, {"a": 6}]
    assert pipeline.calls == [3]


def test_integers_of_any_size_can_be_merged() -> None:
    pipeline = Pipeline()
    pipeline.predict = lambda model, data: {name: number + 1 for name, number in data[0].items()}
    assert run(pipeline, {"data": {"a": 2**70}}, {"data": {"a": 10**18}}) == [{"a": 2**70 + 1}, {"a": 10**18 + 1}]
    assert pipeline.calls == [2]


@pytest.mark.parametrize("digits", ["1", "1234567890123456789"])
@pytest.mark.parametrize("depth", [1000, 100_000])
def test_what_is_nested_too_deep_keeps_nobody_else_from_running(digits: str, depth: int) -> None:
    runner = BatchRunner(Pipeline(), MODEL, max_ids=512)
    deep = '{"data": {"a": "no number"}, "more": ' + "[" * depth + digits + "]" * depth + "}"
    good = '{"data": {"a": 3}}'
    outcomes = {}
    for call in runner.calls([good.encode(), deep.encode(), good.encode()]):
        outcomes.update(zip(call.positions, runner.run(call), strict=True))
    assert [outcomes[position][0] for position in range(3)] == ["SUCCESS", "FAILURE", "SUCCESS"]


def test_a_merged_call_that_is_made_again_gets_its_requests_anew() -> None:
    class Spoiling(Pipeline):
        def process(self, model: Any, json_data: Any) -> Any:
            for features in json_data["data"].values():
                features.append(0)
            self.calls.append(max(map(len, json_data["data"].values())))
            return json_data["data"], 1

        def predict(self, model: Any, data: Any) -> Any:
            return dict.fromkeys(data[0], 1)

    pipeline = Spoiling()
    [call] = BatchRunner(pipeline, MODEL, max_ids=512).calls([b'{"data": {"a": [1]}}', b'{"data": {"a": [2]}}'])
    runner = BatchRunner(pipeline, MODEL, max_ids=512)
    assert runner.run(call) == runner.run(call)
    assert pipeline.calls == [2, 2]


@pytest.mark.parametrize("batchable", [False, None, 1, "yes"])
def test_without_batchable_true_nothing_is_merged(batchable: Any) -> None:
    pipeline = Pipeline(batchable)
    assert run(pipeline, {"data": {"a": 1}}, {"data": {"a": 2}}) == [{"a": 2}, {"a": 4}]
    assert pipeline.calls == [1, 1]


def test_only_requests_alike_but_for_their_data_and_callback_are_merged() -> None:
    pipeline = Pipeline()
    answers = run(
        pipeline,
        {"data": {"a": 1}, "callback_uri": "http://one.example/"},
        {"data": {"a": 1}, "factor": 3},
        {"data": {"a": 2}, "callback_uri": "http://two.example/"},
        {"factor": 3, "data": {"b": 5}},
    )
    assert answers == [{"a": 2}, {"a": 3}, {"a": 4}, {"b": 15}]
    assert sorted(pipeline.calls) == [2, 2]


def test_a_poisoned_request_fails_alone() -> None:
    pipeline = Pipeline()
    assert run(pipeline, {"data": {"a": 1}}, {"data": {"a": 999}}, {"data": {"a": 3}}) == [
        {"a": 2},
        "KeyError: 999",
        {"a": 6},
    ]
    assert pipeline.calls == [3, 1, 1, 1]


@pytest.mark.parametrize(
    "predict",
    [
        lambda model, data: {},
        lambda model, data: dict.fromkeys(list(data[0])[1:], 0),
        lambda model, data: {**dict.fromkeys(data[0], 0), "more": 1},
        lambda model, data: {f"x{name}": 0 for name in data[0]},
        lambda model, data: [0 for name in data[0]],
    ],
    ids=["none", "one less", "one more", "others", "a list"],
)
def test_a_merged_answer_that_is_not_for_exactly_these_ids_is_not_used(predict: Any) -> None:
    pipeline = Pipeline()
    pipeline.predict = predict  # type: ignore[method-assign]
    alone = Pipeline(batchable=False)
    alone.predict = predict  # type: ignore[method-assign]
    requests = {"data": {"a": 1, "b": 2}}, {"data": {"a": 3, "b": 4}}
    assert run(pipeline, *requests) == run(alone, *requests)


def test_one_answer_that_is_no_json_fails_alone_within_a_merged_call() -> None:
    pipeline = Pipeline()
    pipeline.predict = lambda model, data: {  # type: ignore[method-assign]
        name: float("nan") if number == 2 else number for name, number in data[0].items()
    }
    assert run(pipeline, {"data": {"a": 1}}, {"data": {"b": 2}}) == [
        {"a": 1},
        "$.b: NaN is not valid JSON; None is, and becomes null",
    ]
    assert pipeline.calls == [2]


def test_a_merged_call_is_bounded_in_ids_and_a_larger_request_goes_alone() -> None:
    pipeline = Pipeline()
    large = {str(number): number for number in range(20)}
    run(
        pipeline, {"data": {"a": 1, "b": 2}}, {"data": {"a": 1, "b": 2}}, {"data": large}, {"data": {"a": 1}}, max_ids=4
    )
    assert pipeline.calls == [4, 20, 1]


def test_requests_without_data_by_id_are_run_one_by_one() -> None:
    pipeline = Pipeline()
    pipeline.process = lambda model, json_data: ({"n": 1}, 2)  # type: ignore[method-assign]
    assert run(pipeline, 5, {"data": [1]}, {}, None) == [{"n": 2}] * 4


def test_a_process_that_changes_its_request_does_not_change_the_second_try() -> None:
    pipeline = Pipeline()

    def process(model: Any, json_data: Any) -> Any:
        json_data["data"].pop("poison", None)
        if len(json_data["data"]) > 1:
            json_data.clear()
            raise ValueError("together")
        return json_data["data"], 2

    pipeline.process = process  # type: ignore[method-assign]
    assert run(pipeline, {"data": {"a": 1}}, {"data": {"a": 2}}) == [{"a": 2}, {"a": 4}]


def test_an_exit_in_user_code_is_a_failure_of_that_request() -> None:
    pipeline = Pipeline()

    def predict(model: Any, data: Any) -> Any:
        raise SystemExit("bye")

    pipeline.predict = predict  # type: ignore[method-assign]
    assert run(pipeline, {"data": {"a": 1}}) == ["bye"]


@pytest.mark.parametrize("count", [1, 3])
def test_an_interrupted_call_is_nobodys_failure_and_ends_at_once(count: int) -> None:
    pipeline = Pipeline()

    def predict(model: Any, data: Any) -> Any:
        raise Overdue

    pipeline.predict = predict  # type: ignore[method-assign]
    with pytest.raises(Overdue):
        run(pipeline, *[{"data": {"a": 1}}] * count)
    assert pipeline.calls == [count], "it is run again elsewhere, not here one by one"
