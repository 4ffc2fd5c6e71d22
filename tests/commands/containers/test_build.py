"""What is shown of a build."""

from __future__ import annotations

from commands.containers.build import BuildProgress

BUILD = """\
#1 [api internal] load build definition from Dockerfile
#1 transferring dockerfile: 2.19kB done
#5 [api os 1/4] FROM docker.io/library/python:3.13-slim
#6 [os 3/4] COPY requirements.sh ./
#6 CACHED
#7 [os 4/4] RUN bash -ex ./requirements.sh
#7 0.112 + apt-get install -y htop
#7 DONE 2.0s
#8 [framework 3/3] RUN --mount=type=cache pip install --requirement requirements-denzel.txt
#8 CACHED
#9 [api pip 2/2] RUN --mount=type=cache pip install --upgrade
#9 1.001 Collecting scikit-learn<2 (from -r requirements.txt (line 4))
#9 1.002 Requirement already satisfied: falcon in /opt/venv
#9 1.003    ━━━━━━━ 9.1/9.1 MB
#9 1.100 ERROR: No matching distribution found for scikit-learn<2
#9 ERROR: process "/bin/sh -c pip install" did not complete successfully: exit code: 1
------
 > [pip 2/2] RUN pip install:
"""


def test_a_build_is_shown_as_its_states_and_its_news() -> None:
    progress = BuildProgress()
    assert list(progress.read(BUILD.splitlines(keepends=True))) == [
        ("OS COMMANDS...", ""),
        ("", "+ apt-get install -y htop"),
        ("PIP INSTALLING...", ""),
        ("", "Collecting scikit-learn<2"),
        ("", "ERROR: No matching distribution found for scikit-learn<2"),
    ]


def test_a_failed_build_ends_with_the_steps_own_lines_and_the_file_to_correct() -> None:
    progress = BuildProgress()
    list(progress.read(BUILD.splitlines()))
    failure = progress.failure()
    assert "ERROR: No matching distribution found for scikit-learn<2" in failure
    assert failure.endswith("Building the image failed at requirements.txt: correct it and try again.")


def test_a_build_from_the_cache_has_no_states() -> None:
    lines = ["#7 [os 4/4] RUN bash -ex ./requirements.sh", "#7 CACHED", "#9 [pip 2/2] RUN pip install", "#9 CACHED"]
    assert list(BuildProgress().read(lines)) == []


def test_a_build_that_fails_elsewhere_says_what_docker_says() -> None:
    progress = BuildProgress()
    lines = ["#2 [internal] load metadata", "#2 ERROR: pull access denied", "ERROR: failed to solve: nothing:1"]
    list(progress.read(lines))
    assert "pull access denied" in progress.failure()
