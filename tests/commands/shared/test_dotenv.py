"""The syntax of .env, held against what Docker Compose itself makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from commands.shared import dotenv

# line -> value; HOME and the like come from the shell
LINES = {
    "plain": "plain",
    " spaced out ": "spaced out",
    "": "",
    "has#hash": "has#hash",
    "#hash": "#hash",
    "value  # comment": "value",
    "with\t#tab": "with\t#tab",
    "'a # b'": "a # b",
    '"a # b" # comment': "a # b",
    "'trail' ": "trail",
    '"a"b': "a",
    "a=b=c": "a=b=c",
    "it's": "it's",
    'a "b" c': 'a "b" c',
    "p@ss!w0rd%^&*()": "p@ss!w0rd%^&*()",
    "é ü": "é ü",
    "pa$$word": "pa$word",
    "pa$word": "pa",
    "a$1b": "a$1b",
    "end$": "end$",
    "a$-b": "a$-b",
    "$(command)": "$(command)",
    "'single $GIVEN'": "single $GIVEN",
    '"double $GIVEN"': "double given",
    "$GIVEN$GIVEN-${GIVEN}_": "givengiven-given_",
    "${NOPE:-default}": "default",
    "${NOPE-default}${GIVEN+alternative}${EMPTY:+no}${EMPTY-unset}": "defaultalternative",
    "${NOPE:-$GIVEN}": "given",
    "back\\slash\\n": "back\\slash\\n",
    "a\\$GIVEN": "a\\given",
    '"line\\nline\\ttab \\"q\\" \\\\ \\$GIVEN"': 'line\nline\ttab "q" \\ $GIVEN',
    "'line\\n it\\'s'": "line\\n it's",
    '"two\nlines $GIVEN"': "two\nlines given",
    "'two\nlines $GIVEN'": "two\nlines $GIVEN",
}
HEAD = "GIVEN=given\nEMPTY=\n"


@pytest.mark.parametrize("written", LINES)
def test_values_are_read(written: str) -> None:
    text = f"{HEAD}export NAME={written}\n# NAME=off\nno assignment\nLAST=1\n"
    assert dotenv.parse(text, {}) == {"GIVEN": "given", "EMPTY": "", "NAME": LINES[written], "LAST": "1"}


def test_names_of_the_shell_can_be_used() -> None:
    assert dotenv.parse("A=$HOME/x\nHOME=/own\nB=$HOME", {"HOME": "/home/me"})["A"] == "/home/me/x"
    assert dotenv.parse("HOME=/own\nB=$HOME", {"HOME": "/home/me"})["B"] == "/own"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('A=1\nB="never closed', "the quote after B= is never closed"),
        ("A=1\nB=${x", 'what follows "${" is no name'),
        ("A=1\nB=${X?tell why}", "X is not set: tell why"),
    ],
)
def test_what_compose_refuses_is_named(text: str, problem: str) -> None:
    with pytest.raises(dotenv.Malformed, match=problem.replace("$", r"\$").replace("{", r"\{")) as caught:
        dotenv.parse(text, {})
    assert caught.value.line == 2


@pytest.mark.skipif(not shutil.which("docker"), reason="needs Docker's command line")
def test_compose_reads_it_in_the_same_way(tmp_path: Path) -> None:
    """As the file of an env_file, and as the values that the compose files name."""
    names = {f"NAME_{number}": written for number, written in enumerate(LINES)}
    lines = [f"{name}={written}" for name, written in names.items()]
    (tmp_path / ".env").write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    service = {"image": "none", "env_file": ".env", "environment": {f"AGAIN_{n}": f"${{{n}}}" for n in names}}
    (tmp_path / "docker-compose.yml").write_text(json.dumps({"services": {"one": service}}), encoding="utf-8")
    done = subprocess.run(
        ["docker", "compose", "config", "--format", "json"],
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode and "is not a docker command" in done.stderr:
        pytest.skip("needs Docker Compose")
    assert done.returncode == 0, done.stderr
    seen = {n: v.replace("$$", "$") for n, v in json.loads(done.stdout)["services"]["one"]["environment"].items()}
    for name, written in names.items():
        assert seen[name] == LINES[written], f"env_file: {written}"
        assert seen[f"AGAIN_{name}"] == LINES[written], f"interpolated: {written}"
