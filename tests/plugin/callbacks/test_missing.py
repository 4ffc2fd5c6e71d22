"""A callback that does not arrive is told with what the service knows of it."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

TEST = """
    import json

    import pytest

    def missing(callback_receiver, task_id):
        with pytest.raises(AssertionError) as failure:
            callback_receiver.wait_for(task_id, timeout=2)
        return str(failure.value).splitlines()[0].partition(" within 2 s")[2].partition(". What arrived")[0]

    def test_no_uri(submit, callback_receiver):
        why = missing(callback_receiver, submit({"data": {"a": 1}}))
        assert why == ": the request had no callback_uri (its status is SUCCESS)"

    def test_another_uri(submit, callback_receiver):
        why = missing(callback_receiver, submit({"data": {"a": 1}, "callback_uri": "http://127.0.0.1:9/other"}))
        assert why == ": its callback_uri is http://127.0.0.1:9/other, which is not this receiver's"

    def test_it_runs(submit, callback_receiver):
        why = missing(callback_receiver, submit({"data": {"a": -4}, "callback_uri": callback_receiver.url}))
        assert why == ": the task has not ended, its status is STARTED"

    def test_out_of_reach(submit, callback_receiver):
        callback_receiver.will_answer(500)
        why = missing(callback_receiver, submit({"data": {"a": 1}, "callback_uri": callback_receiver.url}))
        head, _, said = why.partition("; the service says of its callback: ")
        assert head == ": the task has ended (SUCCESS)"
        said = json.loads(said)
        assert (said["state"], said["attempts"], said["last_status"]) == ("pending", 1, 500)

    def test_unknown(submit, callback_receiver):
        why = missing(callback_receiver, "nonsense")
        assert why.startswith(": the service says of the task: 404 "), why

    @pytest.fixture
    def submit({fixture}):
        return lambda request: {submit}
"""
IN_PROCESS = 'api_client.post("/predict", json=request, headers={"Prefer": "respond-async"}).json["data"]["task_id"]'


@pytest.mark.parametrize(
    ("tier", "fixture", "submit"),
    [
        ("inline", "api_client", IN_PROCESS),
        ("inline", "denzel_service", "denzel_service.predict_async(request)"),
        ("local", "denzel_service", "denzel_service.predict_async(request)"),
    ],
)
def test_why_a_callback_is_missing(project: Project, tier: str, fixture: str, submit: str) -> None:
    sleeps = '    if -4 in json_data["data"].values():\n        time.sleep(4)\n'
    project.edit_pipeline("    if -3 in", f"{sleeps}    if -3 in")
    project.test(TEST.replace("{fixture}", fixture).replace("{submit}", submit))
    project.run("tests", f"--denzel-tier={tier}").assert_outcomes(passed=5)
