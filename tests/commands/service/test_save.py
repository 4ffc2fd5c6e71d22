"""`make predict SAVE=1`: the answer becomes what the example expects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands.service import predict
from commands.shared.project import CommandError
from tests.commands.service.test_predict import ACCEPTED, Service, examples, service

__all__ = ["examples", "service"]

NUMBERS = {"embedding": [0.1 + number / 3 for number in range(384)]}


def test_the_answer_is_written_as_the_expected_one(service: Service, examples: Path) -> None:
    path = examples / "one.json"
    path.write_text('{"request": {"b": 2}, "tolerance": 0.001, "description": "mine", "error": "of before"}')
    service.answers = {"/predict": [NUMBERS]}
    assert predict.run(["EXAMPLE=one", "SAVE=1"]) == 0
    saved = json.loads(path.read_text())
    assert saved == {"request": {"b": 2}, "response": NUMBERS, "tolerance": 0.001, "description": "mine"}
    assert predict.run(["EXAMPLE=one"]) == 0


def test_an_asynchronous_one_is_waited_for(service: Service, examples: Path) -> None:
    (examples / "new.json").write_text('{"request": {"b": 3}}')
    service.answers = {"/predict": [ACCEPTED], "/status/one": [{"status": "SUCCESS", "result": NUMBERS}]}
    assert predict.run(["EXAMPLE=new", "SAVE=1"]) == 0
    assert json.loads((examples / "new.json").read_text())["response"] == NUMBERS


def test_an_answer_of_a_failure_is_not_saved(service: Service, examples: Path) -> None:
    before = (examples / "one.json").read_text()
    service.answers = {"/predict": [{"ready": False, "title": "Service busy", "description": "later"}]}
    with pytest.raises(CommandError, match="not saved"):
        predict.run(["EXAMPLE=one", "SAVE=1"])
    assert (examples / "one.json").read_text() == before


def test_which_one_must_be_said(service: Service, examples: Path) -> None:
    with pytest.raises(CommandError, match=r"Which example is to be saved\?.*There are: one"):
        predict.run(["SAVE=1"])


def test_a_single_example_without_a_response_is_sent(service: Service, examples: Path) -> None:
    (examples / "one.json").write_text('{"request": {"b": 2}}')
    service.answers = {"/predict": [NUMBERS]}
    assert predict.run([]) == 0


def test_a_task_that_failed_is_not_saved(service: Service, examples: Path) -> None:
    before = (examples / "one.json").read_text()
    failed = {"status": "FAILURE", "result": {"args": ["KeyError: 'size'"]}}
    service.answers = {"/predict": [ACCEPTED], "/status/one": [failed]}
    with pytest.raises(CommandError, match="not saved"):
        predict.run(["EXAMPLE=one", "SAVE=1"])
    assert (examples / "one.json").read_text() == before
