"""Redis' data in containers that are damaged: the commands say so, and repair them without a loss."""

from __future__ import annotations

import pytest

from tests.e2e.project import Project

APPENDED = "appendonlydir/appendonly.aof.1.incr.aof"


@pytest.fixture
def damaged(project: Project) -> Project:
    """Three keys were written; then the machine lost its power."""
    assert up(project) == 0
    cli(project, "MSET", "one", "1", "two", "2", "three", "3")
    project.compose("stop", "redis")
    in_volume(project, f"head -c 5000 /dev/zero >> {APPENDED}")
    return project


def up(project: Project) -> int:
    return project.compose("up", "--detach", "--wait", "redis").code


def cli(project: Project, *words: str) -> str:
    password = project.env("REDIS_PASSWORD")
    return project.compose("exec", "--no-TTY", "--env", f"REDISCLI_AUTH={password}", "redis", "redis-cli", *words).out


def in_volume(project: Project, command: str) -> str:
    rights = ["--user", "root", "--cap-add", "DAC_OVERRIDE", "--cap-add", "CHOWN", "--cap-add", "FOWNER"]
    options = [
        "--rm",
        "--no-deps",
        "--no-TTY",
        *rights,
        "--workdir",
        f"/redis-data/{project.slug}",
        "--entrypoint",
        "sh",
    ]
    done = project.compose("run", *options, "redis", "-c", command)
    assert done.code == 0, done
    return done.out


def doctor(project: Project) -> str:
    return project.make("doctor").out


def test_they_are_told_and_repaired(damaged: Project) -> None:
    project = damaged
    assert up(project) != 0
    assert "end in zeros, as after a power cut" in doctor(project)
    assert "To make them readable: make repair" in doctor(project)
    assert "are readable again" in project.run("repair").out
    assert up(project) == 0
    assert cli(project, "MGET", "one", "two", "three").split() == ["1", "2", "3"]
    assert "Redis tells of no problem" in doctor(project)
    assert "there is nothing to repair" in project.run("repair").out
    assert int(in_volume(project, f"tail -c 5000 before-repair-*/{APPENDED} | tr -d '\\0' | wc -c")) == 0, "it is kept"
    project.compose("stop", "redis")
    in_volume(project, "chown -R 12345 . && chmod -R go= .")
    assert up(project) != 0
    assert "belong to user 12345" in doctor(project)
    project.run("repair")
    assert up(project) == 0
    assert cli(project, "GET", "three").strip() == "3"
