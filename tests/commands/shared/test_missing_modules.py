"""What is said where an import finds nothing: never to install what was only misspelt."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.shared import advice

MISSING = "app/logic/pipeline.py, line 1: ModuleNotFoundError: No module named {!r}"
NO_NAME = "app/logic/pipeline.py, line 1: ImportError: cannot import name {!r} from {!r} (/opt/denzel/app/logic/x.py)"


@pytest.fixture
def logic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a project's code, with two helpers."""
    monkeypatch.setattr(advice, "ROOT", tmp_path)
    logic = tmp_path / "app/logic"
    (logic / "text").mkdir(parents=True)
    (logic / "text/__init__.py").touch()
    (logic / "pipeline.py").touch()
    (logic / "cleaning.py").write_text("WORDS = []\n_private = 1\n\n\ndef clean(text):\n    return text\n")
    return logic


def test_a_misspelt_helper(logic: Path) -> None:
    for_dev = advice.for_dev(MISSING.format("app.logic.cleanin"))
    assert for_dev == "app/logic/cleanin.py does not exist; there are: cleaning.py, pipeline.py, text/"
    for_containers = advice.for_containers(MISSING.format("app.logic.cleanin"))
    assert for_containers == f'{for_dev}, then run "make restart"'
    assert advice.for_dev(NO_NAME.format("cleanin", "app.logic")) == for_dev
    assert advice.for_dev(MISSING.format("app.logc")) == "app/logc.py does not exist"


def test_a_misspelt_name_of_a_helper(logic: Path) -> None:
    text = advice.for_dev(NO_NAME.format("clena", "app.logic.cleaning"))
    assert text == "app/logic/cleaning.py has no clena; there are: clean, WORDS"


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("cleanin", 'there is no module cleanin; for cleaning.py write "from app.logic import cleaning"'),
        ("sklearn.ensembl", "sklearn is installed, but has no module sklearn.ensembl"),
        ("commands.shared", "containers have app/ and denzel/ of this folder, not commands/"),
        ("denzel.jsonoi", "denzel/jsonoi.py does not exist; there is: jsonio.py"),
    ],
)
def test_nothing_is_to_be_installed(logic: Path, module: str, text: str) -> None:
    for folder in ("denzel", "commands/shared"):
        (logic.parents[1] / folder).mkdir(parents=True)
    (logic.parents[1] / "denzel/jsonio.py").touch()
    said = advice.for_dev(MISSING.format(module))
    assert said.startswith(text)
    assert "add the package" not in said


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("google.cloud", "that brings google.cloud"),
        ("sentence_transformers", "sentence_transformers"),
        ("jwt", "pyjwt"),
    ],
)
def test_packages(logic: Path, module: str, package: str) -> None:
    assert advice.for_dev(MISSING.format(module)).startswith(f"add the package {package} to requirements.txt")


@pytest.mark.parametrize(("module", "meant"), [("nunpy", "numpy"), ("jsonn", "json"), ("sklaern", "sklearn")])
def test_a_slip_is_not_installed_from_the_index_unseen(logic: Path, module: str, meant: str) -> None:
    text = f'if "{meant}" is meant, correct it; if not, add the package {module} to requirements.txt'
    assert advice.for_dev(MISSING.format(module)).startswith(text)


def test_a_required_package_is_recognized_by_its_modules_name(logic: Path) -> None:
    (logic.parents[1] / "requirements.txt").write_text("sentence-transformers\n")
    assert "is not installed yet" in advice.for_dev(MISSING.format("sentence_transformers"))
