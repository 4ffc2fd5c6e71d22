"""Exactly the right files and settings for each combination of answers."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.support.bakery import TEMPLATE, bake
from tests.template import options, source

COMBINATIONS = options.combinations()

SECRETS = (
    "PROJECT_ID", "REDIS_PASSWORD", "REDIS_API_PASSWORD", "REDIS_DENZEL_PASSWORD", "REDIS_CALLBACKS_PASSWORD",
    "REDIS_MONITOR_PASSWORD", "MONITOR_PASSWORD", "CALLBACK_SECRET", "RABBITMQ_PASSWORD", "GRAFANA_PASSWORD",
)  # fmt: skip

IRIS_FILES = {
    "app/assets/examples/missing_feature.json",
    "app/assets/examples/one_flower.json",
    "app/assets/examples/two_flowers.json",
}


def settings(project: Path) -> dict[str, str]:
    lines = (project / ".env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("answers", COMBINATIONS, ids=options.name)
def test_the_files_and_settings_of_each_combination(answers: options.Answers, tmp_path: Path) -> None:
    project = bake(tmp_path, **answers)

    common = {name for name in source.template_files() if not source.staged(name)}
    placed = source.placed(answers.values())
    assert source.baked_files(project) == common | set(placed) | source.WRITTEN
    assert (source.baked_files(project) >= IRIS_FILES) == (answers["example"] == "iris")
    assert (project / ".github/workflows/ci.yml").exists() == (answers["ci"] == "github")
    assert not (project / "examples").exists()
    assert not (project / "ci").exists()

    for name, origin in placed.items():
        assert (project / name).read_bytes() == (TEMPLATE / origin).read_bytes()
    for name in source.framework_files():
        if name != "requirements-test.txt":
            assert (project / name).read_bytes() == (TEMPLATE / name).read_bytes()
    found = settings(project)
    assert found["SYNC_TIMEOUT"] == {"sync": "5.0", "async": "0"}[answers["response"]]
    compose = ["docker-compose.yml"]
    compose += ["docker-compose.gpu.yml"] * (answers["gpu"] is True)
    compose += ["docker-compose.rabbitmq.yml"] * (answers["broker"] == "rabbitmq" or answers["stack"] == "full")
    compose += ["docker-compose.nginx.yml"] * (answers["stack"] == "full")
    compose += ["docker-compose.data.yml"] * (answers["example"] == "regression")
    assert found["COMPOSE_FILE"] == ":".join(compose)


def test_the_skeleton_has_no_examples(tmp_path: Path) -> None:
    project = bake(tmp_path, example="none")
    assert source.baked_files(project / "app/assets/examples") == {".gitkeep"}
    assert (project / "app/logic/pipeline.py").read_bytes() == (TEMPLATE / "app/logic/pipeline.py").read_bytes()


def test_the_slug_follows_the_name(tmp_path: Path) -> None:
    project = bake(tmp_path, project_name="Führerschein 2 Klassifikator!")
    assert project.name == "fuhrerschein_2_klassifikator"
    assert settings(project)["COMPOSE_PROJECT_NAME"] == project.name


def test_a_name_without_letters_makes_a_slug_all_the_same(tmp_path: Path) -> None:
    assert bake(tmp_path, project_name="!!!").name == "my_model"


def test_env_is_complete_and_private(iris: Path) -> None:
    assert stat.S_IMODE((iris / ".env").stat().st_mode) == 0o600
    text = (iris / ".env").read_text(encoding="utf-8")
    assert "__GENERATED__" not in text
    found = settings(iris)
    assert len(found) == sum("=" in line and not line.startswith("#") for line in text.splitlines())
    for secret in SECRETS:
        assert len(found[secret]) >= 24
        assert not set(found[secret]) & set("'\"$# \\")
    assert int(found["DENZEL_UID"]) > 0
    assert "CALLBACK_ALLOW" in found


def test_secrets_are_different_in_each_project(tmp_path: Path) -> None:
    one, other = settings(bake(tmp_path / "a")), settings(bake(tmp_path / "b"))
    for secret in SECRETS:
        assert one[secret] != other[secret]


def test_secrets_are_nowhere_but_in_env(tmp_path: Path) -> None:
    project = bake(tmp_path)
    found = settings(project)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != ".env":
            text = path.read_text(encoding="utf-8")
            for secret in SECRETS:
                assert found[secret] not in text, path


def test_a_clone_finds_the_chosen_settings_without_secrets(tmp_path: Path) -> None:
    project = bake(tmp_path, response="async", broker="rabbitmq")
    example = (project / ".env.example").read_text(encoding="utf-8").splitlines()
    env = (project / ".env").read_text(encoding="utf-8").splitlines()
    different = {line.split("=")[0] for line, own in zip(example, env, strict=True) if line != own}
    assert different == {*SECRETS} | {name for name in different if name in ("DENZEL_UID", "DENZEL_GID")}
    assert "!.env.example" in (project / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_git_keeps_neither_secrets_nor_what_commands_make(iris: Path) -> None:
    assert {".env", ".venv/", ".denzel/", "logs/*"} <= set((iris / ".gitignore").read_text().splitlines())
    assert {".env", ".venv", ".denzel", ".git"} <= set((iris / ".dockerignore").read_text().splitlines())


def test_shell_files_stay_executable(iris: Path) -> None:
    for path in iris.rglob("*.sh"):
        assert path.stat().st_mode & stat.S_IXUSR, path


@pytest.mark.parametrize("path", sorted((TEMPLATE / "examples").rglob("*/examples/*.json")), ids=lambda path: path.stem)
def test_examples_have_a_request_and_what_it_should_get(path: Path) -> None:
    example = json.loads(path.read_text(encoding="utf-8"))
    assert set(example) - {"tolerance"} in ({"request", "response"}, {"request", "error"})


def test_info_describes_the_interface_of_the_example(iris: Path, tmp_path: Path) -> None:
    assert '"sepal-length": <number>' in (iris / "app/assets/info.txt").read_text(encoding="utf-8")
    info = (bake(tmp_path, example="none") / "app/assets/info.txt").read_text(encoding="utf-8")
    assert "describe it here" in info
    assert "sepal" not in info


def test_the_test_requirement_points_at_this_template(iris: Path) -> None:
    lines = (iris / "requirements-test.txt").read_text(encoding="utf-8").splitlines()
    assert lines[-1] == f"pytest-denzel[docker] @ {TEMPLATE.parent.as_uri()}"
