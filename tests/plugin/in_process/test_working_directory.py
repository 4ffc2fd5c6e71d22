"""User code runs in the project's folder in all threads, wherever pytest was started."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project


def test_a_background_task_of_the_api_runs_in_the_project_s_folder(project: Project, pytester: pytest.Pytester) -> None:
    project.pipeline(
        """
        import os
        import time
        from pathlib import Path

        def verify_input(json_data):
            return json_data

        def load_model():
            return None

        def process(model, json_data):
            time.sleep(0.2)  # the request has been answered by now
            return Path("app/assets/info.txt").exists()

        def predict(model, data):
            return {"process": data, "predict": Path("app/assets/info.txt").exists(), "at": os.getcwd()}
        """
    )
    project.test(
        """
        import os
        import threading

        HEADERS = {"Prefer": "respond-async"}

        def test_it(api_client, callback_receiver, denzel_project):
            before = os.getcwd()
            assert before != str(denzel_project.root)
            request = {"callback_uri": callback_receiver.url}
            tasks = [api_client.post("/predict", json=request, headers=HEADERS) for _ in range(3)]
            for task in tasks:
                answer = callback_receiver.wait_for(task.json["data"]["task_id"]).json()
                assert answer == {"process": True, "predict": True, "at": str(denzel_project.root)}
            assert os.getcwd() == before

        def test_threads(pipeline):
            before = os.getcwd()
            answers = []
            threads = [threading.Thread(target=lambda: answers.append(pipeline.run({}))) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [answer["predict"] for answer in answers] == [True] * 4
            assert os.getcwd() == before
        """
    )
    pytester.chdir()
    project.run("doubling/tests").assert_outcomes(passed=2)
