"""Options, their precedence, what the header says of them, and what wrong values are answered with."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project


def test_the_header_names_project_and_tier_and_where_they_come_from(project: Project) -> None:
    result = project.run("--collect-only")
    result.stdout.fnmatch_lines(
        [f"denzel: project doubling ({project.root})", "denzel: tier inline (default)"], consecutive=True
    )


def test_the_command_line_goes_before_the_environment_and_that_before_the_ini_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.ini("denzel_tier = local")
    project.run("--collect-only").stdout.fnmatch_lines(["denzel: tier local (denzel_tier in pytest.ini)"])
    monkeypatch.setenv("DENZEL_TIER", "docker")
    project.run("--collect-only").stdout.fnmatch_lines(
        [
            "denzel: tier docker (DENZEL_TIER in the environment), "
            "image doubling, built when needed (COMPOSE_PROJECT_NAME in .env)"
        ]
    )
    project.run("--collect-only", "--denzel-tier=inline").stdout.fnmatch_lines(["denzel: tier inline (--denzel-tier)"])


def test_the_header_names_what_else_was_set(project: Project) -> None:
    project.ini("denzel_tolerance = 0.01", "denzel_checks = none")
    result = project.run("--collect-only", "--denzel-keep", "--denzel-timeout=7")
    result.stdout.fnmatch_lines(
        [
            "denzel: keep=True (--denzel-keep), timeout=7.0 (--denzel-timeout), "
            "tolerance=0.01 (denzel_tolerance in pytest.ini), checks=none (denzel_checks in pytest.ini)"
        ]
    )


def test_the_header_names_the_image_that_was_asked_for(project: Project) -> None:
    result = project.run("--collect-only", "--denzel-tier=docker", "--denzel-image=mine:7")
    result.stdout.fnmatch_lines(["denzel: tier docker (--denzel-tier), image mine:7 (--denzel-image)"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "denzel_tier = podman",
            "ERROR: denzel_tier in pytest.ini: the tier must be one of inline, local, docker, not 'podman'.",
        ),
        (
            "denzel_timeout = 0",
            "ERROR: denzel_timeout in pytest.ini: the timeout must be a number of seconds greater than 0.",
        ),
        (
            "denzel_timeout = abc",
            "ERROR: denzel_timeout in pytest.ini: the timeout must be a number of seconds greater than 0.",
        ),
        (
            "denzel_tolerance = abc",
            "ERROR: denzel_tolerance in pytest.ini: the tolerance must be a number, 0 or greater.",
        ),
        (
            "denzel_tolerance = -1",
            "ERROR: denzel_tolerance in pytest.ini: the tolerance must be a number, 0 or greater.",
        ),
        (
            "denzel_tolerance = nan",
            "ERROR: denzel_tolerance in pytest.ini: the tolerance must be a number, 0 or greater.",
        ),
        ("denzel_require = perhaps", "ERROR: denzel_require in pytest.ini: it must be true or false."),
        ("denzel_checks = 'malformed", "ERROR: denzel_checks in pytest.ini: No closing quotation."),
        (
            "denzel_checks = malformed speed",
            "ERROR: denzel_checks in pytest.ini: there is no check speed; "
            "there are malformed, batchable, and none for no check.",
        ),
    ],
)
def test_a_wrong_setting_is_told_with_its_place(project: Project, line: str, message: str) -> None:
    project.ini(line)
    result = project.run()
    result.stderr.fnmatch_lines([message.replace("[", "[[]")])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_every_option_is_in_the_help(project: Project) -> None:
    result = project.run("--help")
    for name in ("tier", "project", "image", "require", "keep", "timeout"):
        result.stdout.fnmatch_lines([f"*--denzel-{name}*"])
    for name in ("tier", "project", "image", "require", "timeout", "checks", "tolerance"):
        result.stdout.fnmatch_lines([f"  denzel_{name} (*"])


def test_a_broken_setting_does_not_break_the_help(project: Project) -> None:
    project.ini("denzel_tier = podman")
    assert project.run("--help").ret == 0


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest 8 does not know pytest.toml")
def test_the_settings_can_stand_in_pytest_toml(project: Project) -> None:
    (project.root / "pytest.ini").unlink()
    project.write(
        "pytest.toml", '[pytest]\ntestpaths = ["tests"]\ndenzel_tolerance = 0.5\ndenzel_checks = ["malformed"]\n'
    )
    result = project.run("--collect-only")
    result.stdout.fnmatch_lines(
        ["denzel: tolerance=0.5 (denzel_tolerance in pytest.toml), checks=malformed (denzel_checks in pytest.toml)"]
    )


def test_tests_can_be_for_some_tiers_only(project: Project) -> None:
    project.test(
        """
        import pytest

        @pytest.mark.denzel_tier("local", "docker")
        def test_with_a_queue():
            pass

        @pytest.mark.denzel_tier("inline")
        def test_without():
            pass
        """
    )
    result = project.run("tests", "--strict-markers")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["SKIPPED [[]1] tests/test_it.py:4: This test is for the tier local or docker; this run is on inline."]
    )
    project.run("tests", "--denzel-tier=local").assert_outcomes(passed=1, skipped=1)
    project.run("--markers").stdout.fnmatch_lines(["@pytest.mark.denzel_tier(*tiers): the test needs one of *"])


def test_a_tier_that_there_is_none_of_is_told(project: Project) -> None:
    project.test("import pytest\n\n@pytest.mark.denzel_tier('podman')\ndef test_it():\n    pass\n")
    project.run("tests").stderr.fnmatch_lines(
        ["ERROR: tests/test_it.py::test_it: denzel_tier takes inline, local, docker; there is no tier 'podman'."]
    )
