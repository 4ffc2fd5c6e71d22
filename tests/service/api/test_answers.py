"""How an error of the user's functions is told to the client: which stage, in which words."""

from __future__ import annotations

import re

import pytest

from tests.support.http import ASYNC, error_of
from tests.support.services import Service
from tests.support.waiting import eventually

# ---- verify_input ----------------------------------------------------------------------------------------------------


def test_what_looks_like_a_mistake_in_verify_input_is_in_the_log(service: Service) -> None:
    """One of many in some time, so that clients cannot fill the log; others only with LOG_LEVEL=debug."""
    mistake = {"verify_input": "request['no such key']"}
    eventually(lambda: [service.predict(mistake)] and "KeyError: 'no such key'" in service.log("api"), "it is told")
    for _ in range(20):
        service.predict(mistake)
        service.predict({"verify_input": "throw(ValueError('no such flower'))"})
    log = service.log("api")
    assert log.count("KeyError: 'no such key'") <= 4
    told = r"verify_input refused a request \[request [^\n]*\]\n  Traceback \(most recent call last\):\n    File"
    assert re.search(told, log)
    assert "no such flower" not in log


@pytest.mark.parametrize(
    ("expression", "description"),
    [
        ("throw(ValueError('no flowers'))", "no flowers"),
        ("throw(KeyError('data'))", "KeyError: 'data'"),
        ("throw(AssertionError())", "AssertionError"),
        ("request['data']", "KeyError: 'data'"),
        ("undefined", "name 'undefined' is not defined"),
        ("throw(ValueError('a', 1))", "('a', 1)"),
        ("throw(ValueError('ü' * 3))", "üüü"),
        ("throw(ValueError('\\ud800'))", "\\ud800"),
        ("throw(Unprintable())", "Unprintable"),
    ],
)
def test_an_error_of_verify_input_is_the_requests(service: Service, expression: str, description: str) -> None:
    for prefer in (None, ASYNC):
        response = service.predict({"verify_input": expression}, prefer)
        assert error_of(response) == (400, "Bad input format", description)
        assert "Denzel-Task-Id" not in response.headers


def test_exit_in_verify_input_refuses_the_request_and_nothing_more(service: Service) -> None:
    for expression in ("exit(3)", "throw(KeyboardInterrupt())", "throw(GeneratorExit())"):
        status, title, _ = error_of(service.predict({"verify_input": expression}))
        assert (status, title) == (400, "Bad input format")
    assert service.predict({"a": 1}).status_code == 200


@pytest.mark.parametrize(
    ("expression", "description"),
    [
        ("note('nothing')", "verify_input returned None; end it with `return json_data`"),
        (
            "{'a': {'b': float('nan')}}",
            "verify_input returned a value that JSON cannot hold: "
            "$.a.b: NaN is not valid JSON; None is, and becomes null",
        ),
        ("[object]", "verify_input returned a value that JSON cannot hold: $[0]: type is not valid JSON"),
    ],
)
def test_a_fault_of_verify_input_itself_is_not_the_requests(
    service: Service, expression: str, description: str
) -> None:
    response = service.predict({"verify_input": expression})
    assert error_of(response) == (500, "Error invoking predict", description)


# ---- process and predict ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["process", "predict"])
@pytest.mark.parametrize(
    ("expression", "message", "result"),
    [
        ("undefined", "name 'undefined' is not defined", ("NameError", ["name 'undefined' is not defined"])),
        ("throw(ValueError())", "ValueError", ("ValueError", [])),
        ("throw(KeyError('a'))", "KeyError: 'a'", ("KeyError", ["a"])),
        ("throw(OSError(2, 'gone', 'x'))", "[Errno 2] gone: 'x'", ("FileNotFoundError", [2, "gone"])),
        ("throw(ValueError('a', (1, None)))", "('a', (1, None))", ("ValueError", ["a", [1, None]])),
        ("throw(ValueError(np.float64(1.5)))", "1.5", ("ValueError", [1.5])),
        ("throw(ValueError(object))", "<class 'object'>", ("ValueError", ["<class 'object'>"])),
        ("throw(ValueError(float('nan')))", "nan", ("ValueError", ["nan"])),
        ("throw(ValueError('\\ud800'))", "\\ud800", ("ValueError", ["'\\ud800'"])),
        ("throw(Unprintable(1))", "Unprintable", ("Unprintable", [1])),
        ("throw(ValueError(Unprintable()))", "ValueError", ("ValueError", ["Unprintable"])),
        ("exit(3)", "SystemExit: 3", ("SystemExit", [3])),
        ("exit()", "SystemExit: None", ("SystemExit", [None])),
        ("throw(KeyboardInterrupt())", "KeyboardInterrupt", ("KeyboardInterrupt", [])),
        ("throw(asyncio.CancelledError())", "CancelledError", ("CancelledError", [])),
    ],
)
def test_an_error_of_a_task_is_told_to_who_waits_and_to_who_polls(
    service: Service, stage: str, expression: str, message: str, result: tuple[str, list]
) -> None:
    response = service.predict({stage: expression})
    assert error_of(response) == (500, "Error invoking predict", message)
    for task_id in (response.headers["Denzel-Task-Id"], service.submit({stage: expression})):
        record = service.wait(task_id)
        assert record["status"] == "FAILURE"
        assert record["result"] == {"args": result[1], "type": result[0]}
        assert record["attempts"] == 1


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("[1]", "predict must return a dictionary, not list"),
        ("note('nothing')", "predict must return a dictionary, not NoneType"),
        ("np.zeros(2)", "predict must return a dictionary, not ndarray"),
        ("{'a123': {'score': float('nan')}}", "$.a123.score: NaN is not valid JSON; None is, and becomes null"),
        ("{'a': [1, {'b c': -np.inf}]}", '$.a[1]["b c"]: -Infinity is not valid JSON; None is, and becomes null'),
        ("{'a': np.array([1, np.nan])}", "$.a[1]: NaN is not valid JSON; None is, and becomes null"),
        ("{'a': {1, 2}}", "$.a: set is not valid JSON"),
        ("{'a': b'bytes'}", "$.a: bytes is not valid JSON"),
        ("{'a': open}", "$.a: builtin_function_or_method is not valid JSON"),
        ("{('a', 'b'): 1}", "$: a key is of type tuple; keys must be text"),
        ("{'a': '\\ud800'}", "$.a: the text holds a lone surrogate, which is not valid Unicode"),
        ("(d := {}, d.update(a=d))[0]", "$.a: the value contains itself"),
    ],
)
def test_an_answer_that_cannot_be_json_fails_with_its_path(service: Service, expression: str, message: str) -> None:
    response = service.predict({"predict": expression})
    assert error_of(response) == (500, "Error invoking predict", message)
    assert service.status(response.headers["Denzel-Task-Id"])["status"] == "FAILURE"


def test_numpy_dates_and_the_like_are_converted(service: Service) -> None:
    response = service.predict(
        {
            "predict": """{
                'scalars': [np.float32(0.5), np.int64(-1), np.bool_(True), np.str_('a')],
                'array': np.arange(4).reshape(2, 2),
                'date': datetime.date(2020, 1, 2),
                'moment': np.datetime64('2020-01-02T03:04'),
                np.str_('key'): (1, 2),
                np.int64(7): None,
            }"""
        }
    )
    assert response.json() == {
        "scalars": [0.5, -1, True, "a"],
        "array": [[0, 1], [2, 3]],
        "date": "2020-01-02",
        "moment": "2020-01-02T03:04",
        "key": [1, 2],
        "7": None,
    }


def test_a_process_outlives_the_errors_of_its_tasks(service: Service) -> None:
    before = service.predictors()
    for expression in ("exit(1)", "undefined", "throw(Unprintable())"):
        service.predict({"predict": expression})
    assert service.predictors() == before
