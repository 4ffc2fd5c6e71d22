"""The outside world, mocked: what user code sends by `requests` stays in the process."""

from __future__ import annotations

from tests.plugin.conftest import Project


def test_what_user_code_posts_is_received(project: Project) -> None:
    project.pipeline(
        """
        import requests

        def verify_input(json_data):
            return json_data

        def load_model():
            return None

        def process(model, json_data):
            return requests.get(f"https://features.example/{json_data['id']}", timeout=5).json()

        def predict(model, data):
            answer = requests.post("https://receiver.example/callback", json=data, timeout=5)
            return {"status": answer.status_code}
        """
    )
    project.test(
        """
        import pytest
        import requests

        def test_it(pipeline, outside_world):
            outside_world.add("GET", "https://features.example/7", json={"size": 3})
            assert pipeline.run({"id": 7}) == {"status": 200}
            assert outside_world.received == [{"size": 3}]
            assert [call.request.method for call in outside_world.calls] == ["GET", "POST"]

        def test_the_receiver_fails(predict, outside_world):
            outside_world.receiver_answers(503)
            assert predict({"size": 3}) == {"status": 503}

        def test_what_was_not_declared_is_refused(process, outside_world):
            with pytest.raises(requests.ConnectionError, match="features.example/8"):
                process({"id": 8})

        def test_each_test_has_its_own(outside_world):
            assert outside_world.received == []
            assert len(outside_world.calls) == 0
        """
    )
    project.run("tests").assert_outcomes(passed=4)
