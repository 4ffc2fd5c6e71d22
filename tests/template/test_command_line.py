"""Cookiecutter's command: prompts, wrong answers, places to bake from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.bakery import REPOSITORY
from tests.template import source
from tests.template.cli import cookiecutter


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- Prompts ---------------------------------------------------------------------------------------


def test_prompts_ask_in_human_words(tmp_path: Path) -> None:
    done = cookiecutter(folder=tmp_path, typed="My Model\n\nGuesses.\n2\ny\n2\n1\n2\n2\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[1/9] Name of the project (Iris Classifier): " in done.stdout
    assert "[2/9] Name of its folder and of its containers (a-z, 0-9, _ and -) (my_model): " in done.stdout
    assert "2 - the empty skeleton: four functions to fill" in done.stdout
    assert (tmp_path / "my_model/app/assets/info.txt").read_text().startswith("My Model\n\nGuesses.\n")
    assert "[5/9] Whether the predictions run on an NVIDIA GPU (can be changed in .env) [y/n] (n): " in done.stdout
    env = (tmp_path / "my_model/.env").read_text()
    assert "SYNC_TIMEOUT=0\n" in env
    assert "\nCOMPOSE_FILE=docker-compose.yml:docker-compose.gpu.yml:docker-compose.rabbitmq.yml\n" in env
    assert not (tmp_path / "my_model/.github").exists()


@pytest.mark.parametrize(("word", "chosen"), [("yes", True), ("1", True), ("no", False), ("false", False)])
def test_a_boolean_can_be_given_on_the_command_line(word: str, chosen: bool, tmp_path: Path) -> None:
    done = cookiecutter(f"gpu={word}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "docker-compose.gpu.yml\n"
        in re.findall("COMPOSE_FILE=.*\n", (tmp_path / "iris_classifier/.env").read_text())[0]
    ) == chosen


def test_next_steps_are_printed(tmp_path: Path) -> None:
    done = cookiecutter(folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\n  cd iris_classifier\n" in done.stdout
    assert "make launch" in done.stdout


def test_no_secret_is_printed(tmp_path: Path) -> None:
    done = cookiecutter(folder=tmp_path)
    for line in (tmp_path / "iris_classifier/.env").read_text().splitlines():
        if re.match(
            "(REDIS_(?:[A-Z]+_)?PASSWORD|MONITOR_PASSWORD|CALLBACK_SECRET|RABBITMQ_PASSWORD|GRAFANA_PASSWORD)=", line
        ):
            assert line.split("=", 1)[1] not in done.stdout + done.stderr


# ---- Wrong answers ---------------------------------------------------------------------------------


def test_every_problem_is_named_at_once_and_nothing_is_left_behind(tmp_path: Path) -> None:
    done = cookiecutter("project_name= ", "project_slug=My Model", "description=", folder=tmp_path)
    assert done.returncode != 0
    message = done.stderr.split("Stopping generation")[0]
    assert message == (
        "\nThe project was not generated:\n"
        "  - project_name: it is empty. Say it in a few words.\n"
        "  - description: it is empty. Say it in a few words.\n"
        "  - project_slug: 'My Model' cannot name a folder and containers. Use lowercase letters, digits and single "
        "'_' or '-' between them, starting with a letter (for example iris_classifier).\n\n"
    )
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("slug", ["a/b/c", "../outside/b", "..", ".", ""])
def test_slugs_that_lead_elsewhere_leave_nothing_behind(slug: str, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    done = cookiecutter(f"project_slug={slug}", folder=folder)
    assert done.returncode != 0
    assert left_behind(folder) == []
    assert left_behind(tmp_path) == ["here"]


def test_folders_that_were_there_before_stay(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/notes.txt").write_text("mine")
    cookiecutter("project_slug=a/b", folder=tmp_path)
    assert source.baked_files(tmp_path) == {"a/notes.txt"}
    assert left_behind(tmp_path / "a") == ["notes.txt"]


def test_an_unknown_choice_is_named_with_what_is_allowed(tmp_path: Path) -> None:
    done = cookiecutter("response=later", folder=tmp_path)
    assert done.returncode != 0
    assert "later provided for choice variable response, but the choices are ['sync', 'async']" in done.stderr
    assert left_behind(tmp_path) == []


def test_a_folder_that_exists_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "iris_classifier").mkdir()
    (tmp_path / "iris_classifier/notes.txt").write_text("mine")
    done = cookiecutter(folder=tmp_path)
    assert done.returncode != 0
    assert "already exists" in done.stdout
    assert source.baked_files(tmp_path) == {"iris_classifier/notes.txt"}


def test_wrong_answers_do_not_touch_a_project_that_is_baked_over(tmp_path: Path) -> None:
    cookiecutter(folder=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = cookiecutter("-f", "-s", "description=", folder=tmp_path)
    assert done.returncode != 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# ---- Places ----------------------------------------------------------------------------------------


def requirement(project: Path) -> str:
    return (project / "requirements-test.txt").read_text(encoding="utf-8").splitlines()[-1]


def test_a_relative_path_to_the_template_becomes_absolute(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "my templates").mkdir()
    (tmp_path / "my templates/denzel").symlink_to(REPOSITORY)
    done = cookiecutter("-o", "out put", folder=tmp_path / "work", template="../my templates/denzel")
    assert done.returncode == 0, done.stderr
    expected = f"{tmp_path.as_uri()}/my%20templates/denzel"
    assert requirement(tmp_path / "work/out put/iris_classifier") == f"pytest-denzel[docker] @ {expected}"


def test_a_git_url_and_a_checkout_are_kept(tmp_path: Path) -> None:
    """What `gh:owner/name` comes to: git clones the template, and the project points there."""
    clone = tmp_path / "template.git"
    git = ["git", "-c", "protocol.file.allow=always", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    leave_out = shutil.ignore_patterns(".*_cache", ".git", ".tox", ".venv", "__pycache__")
    shutil.copytree(REPOSITORY, clone, ignore=leave_out)
    subprocess.run([*git, "init", "-q", "-b", "main"], cwd=clone, check=True)
    subprocess.run([*git, "add", "-A", "-f"], cwd=clone, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "A template"], cwd=clone, check=True)
    subprocess.run([*git, "tag", "v1"], cwd=clone, check=True)

    done = cookiecutter("--checkout", "v1", folder=tmp_path, template=clone.as_uri())
    assert done.returncode == 0, done.stderr
    assert requirement(tmp_path / "iris_classifier") == f"pytest-denzel[docker] @ git+{clone.as_uri()}@v1"
    expected = {name for name in source.template_files() if not source.staged(name)}
    assert expected <= source.baked_files(tmp_path / "iris_classifier")


def test_a_replay_file_bakes_the_same_again(tmp_path: Path) -> None:
    cookiecutter("description=Once.", folder=tmp_path)
    replay = Path(os.environ["COOKIECUTTER_CONFIG"]).parent / "replay" / f"{REPOSITORY.name}.json"
    (tmp_path / "again").mkdir()
    done = cookiecutter("--replay-file", str(replay), folder=tmp_path / "again", typed="")
    assert done.returncode == 0, done.stderr
    assert "\nOnce.\n" in (tmp_path / "again/iris_classifier/app/assets/info.txt").read_text()
