"""The API in this process: Falcon's client, the session's model, real callbacks."""

from __future__ import annotations

from tests.plugin.conftest import Project


def test_the_api_answers_as_the_service_does(project: Project) -> None:
    project.test(
        """
        import time

        REQUEST = {"data": {"a": 1}}

        def test_sync(api_client):
            answer = api_client.post("/predict", json=REQUEST)
            assert (answer.status_code, answer.json) == (200, {"a": 2})
            assert api_client.simulate_post("/predict", body=b'{"data": {"a": 1.5}}').json == {"a": 3.0}

        def test_errors(api_client):
            assert api_client.post("/predict", body=b"{").json["title"] == "Malformed JSON"
            refused = api_client.post("/predict", json={"data": {"a": "1"}})
            assert refused.status_code == 400
            assert refused.json == {"title": "Bad input format", "description": "a must be a number"}
            failed = api_client.post("/predict", json={"data": {"a": -1}})
            assert failed.json == {"title": "Error invoking predict", "description": "process does not like -1"}

        def test_async_with_a_signed_callback(api_client, callback_receiver):
            request = {**REQUEST, "callback_uri": callback_receiver.url}
            answer = api_client.post("/predict", json=request, headers={"Prefer": "respond-async"})
            task_id = answer.json["data"]["task_id"]
            assert callback_receiver.secret == api_client.secret
            assert callback_receiver.wait_for(task_id).json() == {"a": 2}
            assert api_client.get(f"/status/{task_id}").json["status"] == "SUCCESS"

        def test_a_task_can_be_cancelled(api_client):
            headers = {"Prefer": "respond-async"}
            request = {"data": {"a": -3}}
            ids = [api_client.post("/predict", json=request, headers=headers).json["data"]["task_id"] for _ in range(3)]
            assert api_client.delete(f"/status/{ids[-1]}").status_code == 202
            assert api_client.get(f"/status/{ids[-1]}").json["status"] == "REVOKED"

        def test_the_rest(api_client):
            assert api_client.get("/ping").status_code == 200
            assert api_client.get("/info").status_code == 200
            assert api_client.get("/ready").json["ready"] is True
            assert api_client.get("/status/nothing").status_code == 404

        def test_the_model_is_that_of_the_session(api_client, pipeline, monkeypatch):
            monkeypatch.setitem(pipeline.model, "factor", 7)
            assert api_client.post("/predict", json=REQUEST).json == {"a": 7}
            monkeypatch.setattr(pipeline.module, "predict", lambda model, data: {"replaced": model["factor"]})
            assert api_client.post("/predict", json=REQUEST).json == {"replaced": 7}
        """
    )
    project.run("tests").assert_outcomes(passed=6)


def test_a_model_that_cannot_be_loaded_is_told_with_the_user_s_traceback(project: Project) -> None:
    project.edit_pipeline('return {"factor": 2, "pid": os.getpid()}', 'raise OSError("no model")')
    project.test("def test_it(api_client):\n    pass\n")
    result = project.run("tests")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ['>*raise OSError("no model")', "E *OSError: no model", "E *stage: load_model (app/logic/pipeline.py)"]
    )
