"""What users are told to do about an error of their own code."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.shared import advice

MISSING = "app/logic/pipeline.py, line 1: ModuleNotFoundError: No module named {!r}"
NO_FILE = (
    "load_model raised FileNotFoundError: [Errno 2] No such file or directory: {!r} (app/logic/pipeline.py, line 9)"
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder."""
    (tmp_path / "app/logic").mkdir(parents=True)
    monkeypatch.setattr(advice, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "package"), [("unidecode", "unidecode"), ("sklearn", "scikit-learn"), ("PIL", "pillow")]
)
def test_a_missing_package(root: Path, module: str, package: str) -> None:
    added = f"add the package {package} to requirements.txt, then "
    assert advice.for_containers(MISSING.format(module)) == f'{added}run "make updatepipreqs"'
    assert advice.for_dev(MISSING.format(module)) == f'{added}end "make dev" and start it again'


def test_a_package_that_is_required_but_not_installed(root: Path) -> None:
    (root / "requirements.txt").write_text("# mine\nScikit_Learn>=1.7,<2\n\npandas\n")
    text = "the package scikit-learn, which stands in requirements.txt, is not installed yet: "
    assert advice.for_containers(MISSING.format("sklearn")) == f'{text}run "make updatepipreqs"'
    assert advice.for_dev(MISSING.format("sklearn")) == f'{text}end "make dev" and start it again'


@pytest.mark.parametrize("file", ["cleaning.py", "cleaning/__init__.py"])
def test_a_module_of_the_projects_own(root: Path, file: str) -> None:
    (root / "app/logic" / file).parent.mkdir(exist_ok=True)
    (root / "app/logic" / file).touch()
    how = 'import it as "from app.logic import cleaning" or "from app.logic.cleaning import ..."'
    assert advice.for_containers(MISSING.format("cleaning")) == f'{how}, then run "make restart"'
    assert advice.for_dev(MISSING.format("cleaning")) == how


def test_the_file_that_the_error_names_is_to_be_corrected(root: Path) -> None:
    error = "app/logic/cleaning.py, line 4: '(' was never closed"
    assert advice.for_containers(error) == 'correct app/logic/cleaning.py, then run "make restart"'
    error = "app/logic/pipeline.py must define predict; missing: predict"
    assert advice.for_containers(error) == 'correct app/logic/pipeline.py, then run "make restart"'
    # no line of the project's code is at fault
    assert advice.for_containers("killed") == 'correct what the error says, then run "make restart"'
    assert advice.for_dev(error) == ""


def test_a_file_that_containers_do_not_have(root: Path) -> None:
    (root / "model.joblib").touch()
    for path in ("model.joblib", str(root / "model.joblib")):
        text = advice.for_containers(NO_FILE.format(path))
        assert text.startswith(f"containers have nothing of this folder but app/: put {path} into app/assets/")
    text = advice.for_containers(NO_FILE.format("other.joblib"))
    assert text == 'correct app/logic/pipeline.py, then run "make restart"'


def test_a_model_that_was_saved_with_a_function_of_a_notebook(root: Path) -> None:
    module = "<module 'denzel.worker.process' from '/opt/x'>"
    error = f"load_model raised AttributeError: Can't get attribute 'clean' on {module}"
    assert advice.for_dev(error).startswith("move clean, which the model was saved with, from your notebook")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("add the package x to requirements.txt", "Add the package x to requirements.txt"),
        ("there is no module x", "There is no module x"),
        ("containers have nothing of this folder but app/", "Containers have nothing of this folder but app/"),
        ("app/logic/cleanin.py does not exist", "app/logic/cleanin.py does not exist"),
        ("ffmpeg is not in the image", "ffmpeg is not in the image"),
        ("sklearn is installed, but has no module sklearn.x", "sklearn is installed, but has no module sklearn.x"),
        ("libcudart.so.12 belongs to NVIDIA's CUDA", "libcudart.so.12 belongs to NVIDIA's CUDA"),
        ("", ""),
    ],
)
def test_a_name_at_the_start_of_a_sentence_stays_as_it_is(text: str, sentence: str) -> None:
    assert advice.sentence(text) == sentence
