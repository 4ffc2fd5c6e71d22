"""Known weaknesses are told and fail; where nobody can be asked, that is said, and is no failure."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from commands.local import audit

WEAK = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"]}


def stand_in(folder: Path, answer: Any, code: int = 0, error: str = "") -> list[str]:
    """The words that start a program that answers as pip-audit does."""
    program = folder / "pip_audit.py"
    text = answer if isinstance(answer, str) else json.dumps(answer)
    program.write_text(f"import sys\nprint({text!r})\nprint({error!r}, file=sys.stderr)\nsys.exit({code})\n")
    return [sys.executable, str(program)]


def test_a_weakness_is_told_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"dependencies": [{"name": "a", "version": "1.0", "vulns": [WEAK]}, {"name": "b", "skip_reason": "no"}]}
    code = audit.report(*audit.weaknesses(stand_in(tmp_path, answer, code=1), [], {}))
    assert code == 1
    assert "a 1.0: PYSEC-1, CVE-1; mended in 1.1" in capsys.readouterr().err


def test_what_is_well_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"dependencies": [{"name": "a", "version": "1.0", "vulns": []}, {"name": "b", "skip_reason": "no"}]}
    assert audit.report(*audit.weaknesses(stand_in(tmp_path, answer), [], {})) == 0
    assert "No known weakness in 1 package." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "code", "error", "told"),
    [
        ("", 1, "ERROR:pip_audit._cli:Could not connect to PyPI", "Could not connect to PyPI"),
        ({"dependencies": [{"name": "a", "skip_reason": "not found on PyPI"}]}, 0, "", "not found on PyPI"),
        ({"dependencies": []}, 0, "", "nothing was audited"),
    ],
    ids=["no network", "an index that knows nothing", "nothing"],
)
def test_where_nobody_can_be_asked_that_is_said_and_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: Any, code: int, error: str, told: str
) -> None:
    assert audit.report(*audit.weaknesses(stand_in(tmp_path, answer, code, error), [], {})) == 0
    said = capsys.readouterr().err
    assert "The service that tells of weaknesses cannot be asked from here; nothing was audited." in said
    assert told in said


def test_an_answer_that_takes_too_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(audit, "_LONGEST", 0.5)
    found, why = audit.weaknesses([sys.executable, str(tmp_path / "slow.py")], [], {})
    assert (found, why) == (None, "It did not answer within 0.5 s.")
