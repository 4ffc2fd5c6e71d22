"""The post-generation hook, as a module."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.support.bakery import TEMPLATE
from tests.template import hooks, options, source

post_gen = hooks.load("post_gen_project")


# ---- Options ---------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_choice() -> None:
    choices = {key: set(values) for key, values in options.CHOICES.items()}
    assert {key: set(table) for key, table in post_gen.OPTIONS.items()} == choices


def test_the_table_names_what_exists() -> None:
    files = source.template_files()
    env = (TEMPLATE / ".env").read_text(encoding="utf-8")
    for table in post_gen.OPTIONS.values():
        for choice in table.values():
            assert not choice.places or (TEMPLATE / choice.places).is_dir()
            assert not choice.compose or {*choice.compose.split(":")} <= {*files}
            assert all(f"\n{key}=" in env for key in choice.env)


def test_the_staging_folders_are_those_of_the_table() -> None:
    placed = {choice.places for table in post_gen.OPTIONS.values() for choice in table.values() if choice.places}
    assert placed == set(post_gen.STAGING) == set(hooks.load("pre_gen_project").STAGING)
    assert placed == set(source.STAGING.values())


def test_the_skeleton_is_known_by_its_digests() -> None:
    """What an example replaces must be recognised: after an edit of the skeleton, copy the digests from here."""
    staged = {
        Path(name).relative_to(folder).as_posix()
        for folder in post_gen.STAGING
        for name in source.template_files()
        if name.startswith(f"{folder}/")
    }
    both = sorted(staged & set(source.template_files()))
    assert {name: post_gen.digest(TEMPLATE / name) for name in both} == post_gen.SKELETON


# ---- Examples --------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The skeleton and the staged Iris example, as they are just after generating."""
    for name in source.template_files():
        if name.startswith(("app/logic", "app/assets/examples", "examples/")) or name == "requirements.txt":
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((TEMPLATE / name).read_bytes())
    return tmp_path


def example(name: str) -> bytes:
    return (TEMPLATE / "examples/iris" / name).read_bytes()


def test_an_example_takes_the_place_of_the_skeleton(project: Path) -> None:
    assert post_gen.place(project, project / "examples/iris")
    assert (project / "app/logic/pipeline.py").read_bytes() == example("app/logic/pipeline.py")
    assert (project / "requirements.txt").read_bytes() == example("requirements.txt")
    assert (project / "app/assets/examples/two_flowers.json").exists()


def test_windows_line_endings_do_not_make_a_skeleton_the_users(project: Path) -> None:
    skeleton = project / "requirements.txt"
    skeleton.write_bytes(skeleton.read_bytes().replace(b"\n", b"\r\n"))
    assert post_gen.replaceable(skeleton, "requirements.txt")


def test_a_pipeline_of_the_user_keeps_the_whole_example_out(project: Path) -> None:
    (project / "app/logic/pipeline.py").write_text("mine = True\n")
    before = source.baked_files(project)
    assert not post_gen.place(project, project / "examples/iris")
    assert (project / "app/logic/pipeline.py").read_text() == "mine = True\n"
    assert source.baked_files(project) == before


def test_edited_files_beside_an_untouched_pipeline_stay(project: Path) -> None:
    (project / "requirements.txt").write_text("polars\n")
    (project / "app/assets/examples/two_flowers.json").write_text("{}")
    assert post_gen.place(project, project / "examples/iris")
    assert (project / "requirements.txt").read_text() == "polars\n"
    assert (project / "app/assets/examples/two_flowers.json").read_text() == "{}"
    assert (project / "app/logic/pipeline.py").read_bytes() == example("app/logic/pipeline.py")


def test_a_folder_without_a_pipeline_is_placed_whatever_the_pipeline_is(project: Path) -> None:
    (project / "app/logic/pipeline.py").write_text("mine = True\n")
    (project / "staged/.github").mkdir(parents=True)
    (project / "staged/.github/ci.yml").write_text("on: push\n")
    assert post_gen.place(project, project / "staged")
    assert (project / ".github/ci.yml").read_text() == "on: push\n"


def test_the_staging_folder_goes_and_what_lies_beside_it_stays(project: Path) -> None:
    post_gen.remove_staging(project)
    assert not (project / "examples").exists()
    post_gen.remove_staging(project)

    (project / "examples/iris").mkdir(parents=True)
    (project / "examples/notes.txt").write_text("mine")
    post_gen.remove_staging(project)
    assert source.baked_files(project / "examples") == {"notes.txt"}


# ---- .env ------------------------------------------------------------------------------------------

NEW_ENV = """\
# Settings
COMPOSE_PROJECT_NAME=iris
COMPOSE_FILE=docker-compose.yml

PROJECT_ID=__GENERATED__
REDIS_PASSWORD=__GENERATED__
REDIS_API_PASSWORD=__GENERATED__
REDIS_DENZEL_PASSWORD=__GENERATED__
REDIS_CALLBACKS_PASSWORD=__GENERATED__
REDIS_MONITOR_PASSWORD=__GENERATED__
MONITOR_PASSWORD=__GENERATED__
CALLBACK_SECRET=__GENERATED__
RABBITMQ_PASSWORD=__GENERATED__
GRAFANA_PASSWORD=__GENERATED__
SYNC_TIMEOUT=5.0
DENZEL_UID=10001
DENZEL_GID=10001
"""
ASYNC = post_gen.OPTIONS["response"]["async"]


def settings(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture
def env(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text(NEW_ENV)
    path.chmod(0o644)
    return path


def test_a_new_env_gets_its_secrets(env: Path) -> None:
    post_gen.complete_env(env, [])
    found = settings(env)
    for key in ("REDIS_PASSWORD", "MONITOR_PASSWORD"):
        assert len(found[key]) >= 24
        assert found[key].isalnum()
    secret = found["CALLBACK_SECRET"]
    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64
    assert len({found[key] for key in ("REDIS_PASSWORD", "MONITOR_PASSWORD", "CALLBACK_SECRET")}) == 3


def test_the_secrets_work_with_the_library_of_the_standard() -> None:
    assert Webhook(post_gen.webhook_secret()).sign("id", datetime.now(timezone.utc), "{}").startswith("v1,")


def test_env_is_private_from_the_moment_it_holds_secrets(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (modes.append(Path(a).stat().st_mode & 0o777), replace(a, b)))
    post_gen.complete_env(env, [])
    assert modes == [0o600]
    assert env.stat().st_mode & 0o777 == 0o600
    assert source.baked_files(env.parent) == {".env", ".env.example"}


def test_a_new_env_is_set_to_what_was_chosen(env: Path) -> None:
    post_gen.complete_env(env, [ASYNC])
    assert settings(env)["SYNC_TIMEOUT"] == "0"


def test_compose_files_of_several_choices_join() -> None:
    gpu, rabbitmq = post_gen.Choice(compose="gpu.yml"), post_gen.Choice(compose="rabbitmq.yml", env={"A": "1"})
    assert post_gen.chosen_settings([gpu, ASYNC, rabbitmq]) == {
        "COMPOSE_FILE": "docker-compose.yml:gpu.yml:rabbitmq.yml",
        "SYNC_TIMEOUT": "0",
        "A": "1",
    }


def test_a_clone_gets_what_was_chosen_and_no_secret(env: Path) -> None:
    post_gen.complete_env(env, [ASYNC])
    assert env.with_name(".env.example").read_text() == NEW_ENV.replace("SYNC_TIMEOUT=5.0", "SYNC_TIMEOUT=0")


def test_comments_and_order_stay(env: Path) -> None:
    post_gen.complete_env(env, [ASYNC])
    before = [line.split("=")[0] for line in NEW_ENV.splitlines()]
    assert [line.split("=")[0] for line in env.read_text().splitlines()] == before


def test_an_env_in_use_keeps_every_value(env: Path) -> None:
    post_gen.complete_env(env, [])
    used = env.read_text().replace("SYNC_TIMEOUT=5.0", "SYNC_TIMEOUT=2.5").replace("DENZEL_UID=", "DENZEL_UID=7")
    env.write_text(used)
    post_gen.complete_env(env, [ASYNC])
    assert env.read_text() == used


def test_an_env_in_use_keeps_a_secret_that_was_emptied(env: Path) -> None:
    post_gen.complete_env(env, [])
    env.write_text(re.sub("CALLBACK_SECRET=.*", "CALLBACK_SECRET=", env.read_text()))
    post_gen.complete_env(env, [ASYNC])
    assert settings(env)["CALLBACK_SECRET"] == ""


def test_an_env_of_an_older_template_gets_what_it_lacks(env: Path) -> None:
    env.write_text("REDIS_PASSWORD=old-password\nDENZEL_UID=1\nDENZEL_GID=1\n")
    post_gen.complete_env(env, [ASYNC])
    found = settings(env)
    assert found["REDIS_PASSWORD"] == "old-password"
    assert found["SYNC_TIMEOUT"] == "0"
    assert len(found["MONITOR_PASSWORD"]) >= 24


def test_a_hook_that_was_killed_half_way_can_run_again(env: Path) -> None:
    env.with_name(".env.new").write_text("half of")
    post_gen.complete_env(env, [])
    assert settings(env)["COMPOSE_PROJECT_NAME"] == "iris"


@pytest.mark.parametrize(("found", "wanted"), [(1000, "1000"), (0, "10001")])
def test_the_containers_never_run_as_root(found: int, wanted: str) -> None:
    assert post_gen.owner_id(found) == wanted


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_the_containers_run_as_the_owner_of_the_folder(env: Path) -> None:
    os.chown(env.parent, 1234, 5678)
    post_gen.complete_env(env, [])
    found = settings(env)
    assert (found["DENZEL_UID"], found["DENZEL_GID"]) == ("1234", "5678")


# ---- The requirement on pytest-denzel --------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "checkout", "url"),
    [
        ("gh:org/denzel-template", None, "git+https://github.com/org/denzel-template.git"),
        ("gh:org/denzel-template", "v1.2", "git+https://github.com/org/denzel-template.git@v1.2"),
        ("gl:org/template", None, "git+https://gitlab.com/org/template.git"),
        ("bb:org/template", None, "git+https://bitbucket.org/org/template"),
        ("https://example.com/a.git", "a b", "git+https://example.com/a.git@a%20b"),
        ("https://me:token@example.com/a.git", "v1", "git+https://example.com/a.git@v1"),
        ("https://example.com/a.zip", None, "https://example.com/a.zip"),
        ("git@example.com:org/a.git", "main", "git+ssh://git@example.com/org/a.git@main"),
        ("ssh://git@example.com/a.git", None, "git+ssh://git@example.com/a.git"),
        ("git+https://example.com/a.git", None, "git+https://example.com/a.git"),
        ("file:///srv/a b", "feature/x", "git+file:///srv/a%20b@feature/x"),
        ("/srv/my templates/a", "ignored", "file:///srv/my%20templates/a"),
        ("../a", None, "file:///home/a"),
    ],
)
def test_pip_installs_from_where_the_template_came(template: str, checkout: str | None, url: str) -> None:
    assert post_gen.template_url(template, checkout, ["/home/me"]) == url


def test_a_relative_path_starts_where_it_leads_to_something(tmp_path: Path) -> None:
    (tmp_path / "here" / "template").mkdir(parents=True)
    url = post_gen.template_url("template", None, [str(tmp_path / "elsewhere"), str(tmp_path / "here")])
    assert url == (tmp_path / "here" / "template").as_uri()


def requirement(folder: Path, **answers: Any) -> str:
    path, before = folder / "requirements-test.txt", (TEMPLATE / "requirements-test.txt").read_text()
    path.write_text(before)
    post_gen.write_test_requirements(path, {"_output_dir": str(folder), **answers})
    *comments, line = path.read_text().splitlines()
    assert comments == before.splitlines()[:-1]
    return line


def test_the_requirement_is_written_into_its_file(tmp_path: Path) -> None:
    line = requirement(tmp_path, _template="gh:org/t", _repo_dir="/home/me/.cookiecutters/t", _checkout="v1")
    assert line == "pytest-denzel[docker] @ git+https://github.com/org/t.git@v1"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with a commit that has the tag v1, and one after it on the branch main."""
    git = ["git", "-C", str(tmp_path / "clone"), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    (tmp_path / "clone").mkdir()
    for words in (["init", "-q", "-b", "main"], ["commit", "-q", "--allow-empty", "-m", "1"], ["tag", "v1"],
                  ["commit", "-q", "--allow-empty", "-m", "2"]):  # fmt: skip
        subprocess.run([*git, *words], check=True)
    return tmp_path / "clone"


def commit_of(clone: Path, name: str) -> str:
    return subprocess.run(
        ["git", "-C", str(clone), "rev-parse", name], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
@pytest.mark.parametrize(
    ("checkout", "stands_at", "written"),
    [(None, "main", "main"), ("main", "main", "main"), ("v1", "v1", None), (None, "v1^0", "v1^0")],
)
def test_the_requirement_is_pinned_to_the_tag_or_the_commit(
    tmp_path: Path, clone: Path, checkout: str | None, stands_at: str, written: str | None, packed: bool
) -> None:
    subprocess.run(["git", "-C", str(clone), "checkout", "-q", stands_at], check=True)
    if packed:
        subprocess.run(["git", "-C", str(clone), "pack-refs", "--all"], check=True)
    line = requirement(tmp_path, _template="gh:org/t", _repo_dir=str(clone), _checkout=checkout)
    expected = commit_of(clone, written) if written else checkout
    assert line == f"pytest-denzel[docker] @ git+https://github.com/org/t.git@{expected}"


def test_the_commit_that_cruft_names_is_taken(tmp_path: Path) -> None:
    line = requirement(tmp_path, _template="gh:org/t", _repo_dir="/tmp/gone", _checkout=None, _commit="a" * 40)
    assert line == f"pytest-denzel[docker] @ git+https://github.com/org/t.git@{'a' * 40}"


def test_a_template_named_by_its_cached_name_is_found(tmp_path: Path) -> None:
    line = requirement(tmp_path, _template="t", _repo_dir="/home/me/.cookiecutters/t", _checkout=None)
    assert line == "pytest-denzel[docker] @ file:///home/me/.cookiecutters/t"


def test_a_local_archive_is_named_itself_and_not_its_temporary_folder(tmp_path: Path) -> None:
    line = requirement(tmp_path, _template="/srv/t.zip", _repo_dir="/tmp/tmpabc/t", _checkout=None)
    assert line == "pytest-denzel[docker] @ file:///srv/t.zip"


# ---- Next steps ------------------------------------------------------------------------------------


def test_next_steps_can_be_copied_from_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", "/home/me")
    steps = post_gen.next_steps(Path("/home/me/iris"), {"_output_dir": "/home/me", "example": "iris"})
    assert "\n  cd iris\n" in steps
    assert "make predict" in steps
    steps = post_gen.next_steps(Path("/srv/a b/iris"), {"_output_dir": "/srv/a b", "example": "none"})
    assert "\n  cd '/srv/a b/iris'\n" in steps
    assert "Fill the four functions in app/logic/pipeline.py" in steps
