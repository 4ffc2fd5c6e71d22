"""The tutorial's journey on four containers, from the first command to the last.

The tests are one story and build on each other: each starts where the one before it ended.
"""

from __future__ import annotations

import base64
import re
import socket
import time

import pytest
import requests

from tests.e2e.project import Project
from tests.support.docker import docker_names
from tests.support.http import answers
from tests.support.receivers import Inbox
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

NOT_CREATED = 'Haven\'t been created yet. Did you forget to run "make launch"?'
SETOSA = {"sepal-length": 4.6, "sepal-width": 3.6, "petal-length": 1.0, "petal-width": 0.2}
VIRGINICA = {"sepal-length": 6.5, "sepal-width": 3.0, "petal-length": 5.2, "petal-width": 2.0}
PREDICTIONS = {"a123": "Iris-setosa", "b456": "Iris-virginica"}
TRAIN = """
python - <<'END' > {target}
import pickle, sys
from sklearn.datasets import load_iris
from sklearn.svm import SVC
iris = load_iris()
names = [f"Iris-{{name}}" for name in iris.target_names[iris.target]]
sys.stdout.buffer.write(pickle.dumps(SVC().fit(iris.data, names)))
END
"""


def up(project: Project) -> str:
    """What `make status` prints when everything is up."""
    return (
        "Services:\n"
        "\tdenzel - UP\n"
        f"\tmonitor - UP [ Port: {project.monitor_port} ]\n"
        f"\tapi - UP [ Port: {project.api_port} ]\n"
        "\tredis - UP\n"
        f"Worker: worker@{project.slug} - UP\n"
    )


def request_body(inbox: Inbox) -> dict[str, object]:
    return {"callback_uri": inbox.url, "data": {"a123": SETOSA, "b456": VIRGINICA}}


# ------------------------------------------------------------------------------------------- before launch


@pytest.mark.parametrize(
    "command", ["status", "start", "stop", "restart", "logs", "shell", "response MODE=sync", "updatereqs"]
)
def test_a_project_that_was_not_launched_says_how_to(project: Project, command: str) -> None:
    assert project.refuse(*command.split()) == NOT_CREATED


def test_logworker_says_that_there_is_no_log_yet(project: Project) -> None:
    assert project.refuse("logworker") == "Worker log hasn't been created yet"


@pytest.mark.parametrize("name", ["API_PORT", "MONITOR_PORT"])
def test_launch_refuses_a_taken_port_before_anything_is_built(project: Project, name: str) -> None:
    ports = {"API_PORT": project.api_port, "MONITOR_PORT": project.monitor_port}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports[name] = taken.getsockname()[1]
        said = project.refuse("launch", *(f"{key}={value}" for key, value in ports.items()))
    message = rf"Port {ports[name]} is already taken! Pass an available port using {name}, for example {name}=\d+\."
    assert re.fullmatch(message, said), said
    assert project.slug not in docker_names("images", "--format", "{{.Repository}}")
    assert project.env("API_PORT") == "8000"


# -------------------------------------------------------------------------------------------------- launch


def test_launch_of_the_skeleton_shows_what_it_does_until_everything_is_up(project: Project) -> None:
    # a line of its own, so that this layer is built and not taken from the cache
    requirements = project.path / "requirements.txt"
    requirements.write_text(f"# {project.slug}\nscikit-learn>=1.7,<2\n", encoding="utf-8")
    ports = [f"API_PORT={project.api_port}", f"MONITOR_PORT={project.monitor_port}"]

    seen = set()
    with project.start_make("launch", *ports) as launch:
        while launch.poll() is None:
            status = project.make("status")
            seen |= set(re.findall(r"^\t(\w+ - .+?)(?: \[|$)", status.out, re.MULTILINE))
            time.sleep(1)
        assert launch.stdout
        said = launch.stdout.read()

    assert launch.returncode == 0, said
    assert {f"{service} - PIP INSTALLING..." for service in ("denzel", "monitor", "api")} <= seen
    assert said.index("PIP INSTALLING...") < said.index("Successfully installed") < said.index("Waiting: ")
    assert f"{project.slug} is UP" in said
    assert f"{project.url}/info" in said
    assert f"http://127.0.0.1:{project.monitor_port}" in said
    assert "MONITOR_PASSWORD" in said
    assert project.env("MONITOR_PASSWORD") not in said
    assert project.env("API_PORT") == str(project.api_port)


def test_status_shows_four_services_and_the_worker(project: Project) -> None:
    assert project.shown_status() == up(project)


def test_status_live_shows_it_again_every_second(project: Project) -> None:
    with project.start_make("status", "LIVE=1") as live:
        assert live.stdout
        lines = [live.stdout.readline() for _ in range(14)]
        live.terminate()
    text = re.sub(r"\033\[\d*[A-Z]", "", "".join(lines))
    text = re.sub(r"(?m)^(Queue|Responses): .*\n", "", text)
    assert text == up(project) * 2


def test_launching_twice_is_refused(project: Project) -> None:
    assert project.refuse("launch") == 'Project already launched! Did you mean to run "make restart"?'


def test_redis_is_not_published_and_the_others_only_to_this_machine(project: Project) -> None:
    label = f"label=com.docker.compose.project={project.slug}"
    ports = docker_names("ps", "--filter", label, "--format", "{{.Ports}}") - {"8000/tcp", "8000/tcp,", "5555/tcp,"}
    published = {port for port in ports if "->" in port}
    assert {port.split(":")[0] for port in published} == {"127.0.0.1"}
    assert {port.split("->")[1].rstrip(",") for port in published} == {"8000/tcp", "5555/tcp"}


def test_the_monitor_wants_its_password(project: Project) -> None:
    url = f"http://127.0.0.1:{project.monitor_port}/workers"
    assert requests.get(url, timeout=10).status_code == 401
    assert requests.get(url, auth=("admin", project.env("MONITOR_PASSWORD")), timeout=10).status_code == 200


def test_the_skeleton_answers_a_prediction_with_what_is_to_be_done(project: Project, inbox: Inbox) -> None:
    response = project.predict(request_body(inbox))
    assert response.status_code == 400
    assert "app/logic/pipeline.py" in response.json()["description"]


def test_info_is_the_text_of_info_txt_and_applies_at_once(project: Project) -> None:
    text = "# --- The Iris classifier ---\nÄsthetisch\n"
    (project.path / "app/assets/info.txt").write_text(text, encoding="utf-8")
    response = requests.get(f"{project.url}/info", timeout=10)
    assert (response.status_code, response.content.decode()) == (200, text)


# ------------------------------------------------------------------------------------ the tutorial's pipeline


def test_a_shell_in_the_denzel_container_has_the_projects_packages(project: Project) -> None:
    project.run("shell", stdin=TRAIN.format(target="/tmp/iris_svc.pkl") + "base64 /tmp/iris_svc.pkl > logs/model\n")
    encoded = project.path / "logs/model"
    (project.path / "app/assets/iris_svc.pkl").write_bytes(base64.b64decode(encoded.read_bytes()))
    encoded.unlink()


def test_a_shell_opens_in_each_service_and_never_as_root(project: Project) -> None:
    for service in ("api", "denzel", "monitor", "redis"):
        said = project.run("shell", f"SERVICE={service}", stdin="id -u; hostname\n")
        uid, hostname = said.out.split()
        assert int(uid) > 0
        assert hostname


def test_restart_applies_the_tutorials_pipeline(project: Project, inbox: Inbox) -> None:
    project.use_pipeline("tutorial")
    assert f"{project.slug} is UP" in project.run("restart").out
    response = project.predict(request_body(inbox))
    assert (response.status_code, response.json()) == (200, PREDICTIONS)


def test_the_model_is_loaded_in_the_denzel_container_only(project: Project) -> None:
    for service in ("api", "monitor"):
        assert "load_model" not in project.run("logs", f"SERVICE={service}").out
    assert "load_model" in project.run("logs", "SERVICE=denzel").out


def test_response_async_applies_at_once_and_the_callback_arrives(project: Project, inbox: Inbox) -> None:
    project.run("response", "MODE=async")
    task_id = project.predict_async(request_body(inbox))
    assert inbox.wait_for(task_id) == PREDICTIONS
    status = project.wait(task_id)
    assert (status["status"], status["result"]) == ("SUCCESS", PREDICTIONS)


def test_response_refuses_wrong_values(project: Project) -> None:
    assert project.refuse("response") == "Must pass MODE=sync or MODE=async"
    assert "sync, async" in project.refuse("response", "MODE=both")
    assert "Sync timeout must be greater than 0" in project.refuse("response", "MODE=sync", "TIMEOUT=0")
    assert "Sync timeout must be greater than 0" in project.refuse("response", "MODE=sync", "TIMEOUT=soon")


def test_response_says_when_redis_is_down(project: Project) -> None:
    project.compose("stop", "redis")
    assert project.refuse("response", "MODE=sync").startswith("Failed to change response manner: ")
    assert "\tredis - DOWN\n" in project.run("status").out
    project.run("start")


# --------------------------------------------------------------------------------------- errors in each stage


def test_errors_of_each_stage_appear_where_the_tutorial_says(project: Project) -> None:
    project.use_pipeline("faulty")
    project.run("restart")

    refused = project.predict({"fail": "verify_input"})
    assert refused.status_code == 400
    assert refused.json() == {"title": "Bad input format", "description": "refused by verify_input"}

    status = project.wait(project.predict_async({"fail": "process"}))
    assert status["status"] == "FAILURE"
    assert status["result"] == {"args": ["name 'np' is not defined"], "type": "NameError"}

    status = project.wait(project.predict_async({"fail": "predict"}))
    assert status["status"] == "FAILURE"
    assert status["result"] == {"args": ["refused by predict"], "type": "RuntimeError"}

    project.run("response", "MODE=sync", "TIMEOUT=10")
    for stage, message in {"process": "name 'np' is not defined", "predict": "refused by predict"}.items():
        failed = project.predict({"fail": stage})
        assert failed.status_code == 500
        assert failed.json() == {"title": "Error invoking predict", "description": message}
    no_dictionary = project.predict({"fail": "answer"})
    assert no_dictionary.status_code == 500
    assert "dict" in no_dictionary.json()["description"]
    assert "NameError" in project.run("logworker").out


def test_restart_with_an_error_in_load_model_leaves_the_old_code_at_work(project: Project) -> None:
    project.use_pipeline("without_model")
    said = project.refuse("restart")
    assert f"Worker: worker@{project.slug} - ERROR" in said
    assert "./app/assets/missing.pkl" in said
    assert "The version from before goes on serving" in said
    status = project.shown_status()
    note = "Note: The version from before serves; the new one does not load: load_model raised FileNotFoundError: "
    assert status.startswith(f"{up(project)}{note}"), status
    assert project.predict({"fail": "verify_input"}).json()["description"] == "refused by verify_input"


def test_an_error_in_load_model_is_seen_in_start_status_and_logs(project: Project) -> None:
    project.run("stop")
    said = project.refuse("start")
    assert f"Worker: worker@{project.slug} - ERROR" in said
    assert "./app/assets/missing.pkl" in said
    assert 'then run "make restart"' in said

    status = project.run("status").out
    shown = rf"^Worker: worker@{project.slug} - ERROR\n\t.*missing\.pkl.*\nQueue: \d+ tasks? waits?\nResponses: "
    assert re.search(shown, status, re.MULTILINE), status
    assert "missing.pkl" in project.run("logs", "SERVICE=denzel").out
    assert "missing.pkl" in project.run("logworker").out
    assert requests.get(f"{project.url}/ready", timeout=10).status_code == 503


def test_a_syntax_error_is_answered_with_its_line(project: Project) -> None:
    pipeline = project.path / "app/logic/pipeline.py"
    pipeline.write_text("def verify_input(json_data):\n    return json_data)\n", encoding="utf-8")
    assert "app/logic/pipeline.py, line 2: unmatched ')'" in project.refuse("restart")
    response = project.predict({})
    assert response.status_code == 500
    assert "app/logic/pipeline.py, line 2" in response.json()["description"]


def test_a_corrected_pipeline_is_noticed_without_a_restart(project: Project) -> None:
    (project.path / "app/assets/missing.pkl").write_bytes(b"there")
    project.use_pipeline("without_model")
    eventually(lambda: answers(f"{project.url}/ready"), "the pipeline is loaded", 60, interval=0.5)
    assert project.shown_status() == up(project)


# ------------------------------------------------------------------------------------------------ stop, start


def test_restart_applies_corrections_and_settings(project: Project) -> None:
    project.run("stop")
    with (project.path / "app/logic/pipeline.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef load_model():\n    raise OSError('no model')\n")
    assert "load_model raised OSError: no model (app/logic/pipeline.py, line " in project.refuse("start")
    project.use_pipeline("tutorial")
    project.set_env(MAX_BODY_BYTES="1000")
    assert f"{project.slug} is UP" in project.run("restart").out
    assert project.shown_status() == up(project)
    assert project.predict({"data": "x" * 2000}).status_code == 413


def test_stop_and_start(project: Project, inbox: Inbox) -> None:
    project.run("stop")
    assert project.run("status").out == (
        "Services:\n\tdenzel - DOWN\n\tmonitor - DOWN\n\tapi - DOWN\n\tredis - DOWN\nWorker: all - UNAVAILABLE\n"
    )
    assert project.refuse("shell") == 'The service denzel is not running. Start it: "make start"'
    with socket.create_server(("127.0.0.1", project.api_port)):
        said = project.refuse("start")
    assert said.startswith(
        f"Port {project.api_port} is already taken! Set an available port in .env, for example API_PORT="
    )
    assert f"{project.slug} is UP" in project.run("start").out
    assert project.predict(request_body(inbox)).json() == PREDICTIONS


def test_logs_of_one_service_and_of_all(project: Project) -> None:
    everything = project.run("logs")
    for service in ("api", "denzel", "monitor", "redis"):
        assert re.search(rf"^{service}-1 +\| ", everything.out, re.MULTILINE)
    assert set(re.findall(r"^(\w+)-1 +\|", project.run("logs", "SERVICE=redis").out, re.MULTILINE)) == {"redis"}
    assert project.refuse("logs", "SERVICE=flower").startswith("SERVICE must be one of api, denzel, monitor, redis")
    for secret in ("REDIS_PASSWORD", "MONITOR_PASSWORD", "CALLBACK_SECRET"):
        assert project.env(secret) not in everything.out


def test_logs_live_follows(project: Project) -> None:
    for command, marker in {"logs": "Ready to accept", "logworker": "load_model"}.items():
        with project.start_make(command, "LIVE=1") as live:
            assert live.stdout
            assert any(marker in line for line in live.stdout)
            assert live.poll() is None
            live.terminate()


# ----------------------------------------------------------------------------------------------- requirements


def test_a_requirement_that_fails_says_so_and_leaves_the_service_untouched(project: Project, inbox: Inbox) -> None:
    before = docker_names("ps", "--quiet", "--filter", f"label=com.docker.compose.project={project.slug}")
    requirements = project.path / "requirements.txt"
    text = requirements.read_text(encoding="utf-8")
    requirements.write_text(f"{text}celery==4.0\n", encoding="utf-8")
    said = project.refuse("updatepipreqs")
    requirements.write_text(text, encoding="utf-8")

    assert "ResolutionImpossible" in said
    assert "celery==4.0" in said
    assert said.endswith("Building the image failed at requirements.txt: correct it and try again.")
    assert docker_names("ps", "--quiet", "--filter", f"label=com.docker.compose.project={project.slug}") == before
    assert project.predict(request_body(inbox)).json() == PREDICTIONS


def test_updatepipreqs_installs_what_is_missing(project: Project, inbox: Inbox) -> None:
    with (project.path / "requirements.txt").open("a", encoding="utf-8") as file:
        file.write("colorama==0.4.6\n")
    hint = "requirements.txt has changed since the image was built: make updatepipreqs installs that."
    assert hint in project.run("restart").err
    said = project.run("updatepipreqs").out
    assert "PIP INSTALLING..." in said
    assert "OS COMMANDS..." not in said
    installed = project.run("shell", stdin="python -c 'import colorama; print(colorama.__version__)'\n")
    assert installed.out.strip() == "0.4.6"
    assert hint not in project.run("restart").err
    assert project.predict(request_body(inbox)).json() == PREDICTIONS
    # what was replaced is not left behind
    label = f"label=denzel.project={project.slug}"
    assert not docker_names("images", "--quiet", "--filter", "dangling=true", "--filter", label)


# --------------------------------------------------------------------------------------------------- shutdown


def test_shutdown_keeps_the_queue_and_the_response_setting(project: Project, inbox: Inbox) -> None:
    project.run("response", "MODE=async")
    project.compose("stop", "denzel")
    task_id = project.predict_async(request_body(inbox))
    assert project.status(task_id)["status"] == "PENDING"

    output = project.run("shutdown")
    assert "rror" not in output.out + output.err
    assert project.refuse("status") == NOT_CREATED
    assert project.slug in docker_names("images", "--format", "{{.Repository}}")

    project.launch()
    assert project.wait(task_id)["result"] == PREDICTIONS
    assert inbox.wait_for(task_id) == PREDICTIONS
    project.predict_async(request_body(inbox))


def test_purge_removes_what_is_the_projects_own_and_nothing_else(project: Project) -> None:
    output = project.run("shutdown", "PURGE=1")
    assert "rror" not in output.out + output.err
    images = docker_names("images", "--format", "{{.Repository}}:{{.Tag}}")
    assert f"{project.slug}:latest" not in images
    assert "redis:8" in images
    assert not docker_names("volume", "ls", "--quiet", "--filter", f"name={project.slug}")
    assert not docker_names("ps", "--all", "--quiet", "--filter", f"name={project.slug}")
    assert not docker_names("network", "ls", "--quiet", "--filter", f"name={project.slug}")
    assert project.refuse("status") == NOT_CREATED
