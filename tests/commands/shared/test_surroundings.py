"""What is said where not the code is wrong but something around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.shared import advice

RAISED = "load_model raised {} (app/logic/pipeline.py, line 2)"


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's pipeline.py."""
    monkeypatch.setattr(advice, "ROOT", tmp_path)
    path = tmp_path / "app/logic/pipeline.py"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


@pytest.mark.parametrize(
    ("error", "package"),
    [
        ("OSError: libgomp.so.1: cannot open shared object file: No such file or directory", "libgomp1"),
        ("ImportError: libGL.so.1: cannot open shared object file: No such file or directory", "libgl1"),
        ("ImportError: libgthread-2.0.so.0: cannot open shared object file: No such file or directory", "libglib2.0-0"),
        ("OSError: sndfile library not found using ctypes.util.find_library", "libsndfile1"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'ffmpeg'", "ffmpeg"),
        ("TesseractNotFoundError: tesseract is not installed or it's not in your PATH. See README", "tesseract-ocr"),
    ],
)
def test_a_missing_library_or_program_of_the_system(pipeline: Path, error: str, package: str) -> None:
    text = advice.for_containers(RAISED.format(error))
    assert f'install -y --no-install-recommends {package}" to requirements.sh, then run "make updateosreqs"' in text
    text = advice.for_dev(RAISED.format(error))
    assert f"sudo apt install {package} " in text
    assert "requirements.sh" in text


def test_a_library_that_is_not_known(pipeline: Path) -> None:
    error = RAISED.format("OSError: libfoo.so.3: cannot open shared object file: No such file or directory")
    for text in (advice.for_containers(error), advice.for_dev(error)):
        assert "requirements.sh" in text
        assert "keywords=libfoo.so.3" in text


def test_a_library_of_the_gpu(pipeline: Path) -> None:
    error = RAISED.format("OSError: libcudart.so.12: cannot open shared object file: No such file or directory")
    assert "docker-compose.gpu.yml" in advice.for_containers(error)


@pytest.mark.parametrize(
    "error",
    [
        "PermissionError: [Errno 13] Permission denied: '/opt/denzel/cache.db'",
        "OSError: [Errno 30] Read-only file system: '/opt/denzel/app/assets/cache.db'",
        "PermissionError: [Errno 13] Permission denied: 'cache.db'",
    ],
)
def test_a_file_that_cannot_be_written(pipeline: Path, error: str) -> None:
    text = advice.for_containers(RAISED.format(error))
    assert "containers can write to /tmp, to the home folder (~) and to new files of the working directory only" in text
    assert "correct" not in text


def test_a_file_that_cannot_be_read(pipeline: Path) -> None:
    (pipeline.parents[1] / "model.pkl").touch()
    error = RAISED.format("PermissionError: [Errno 13] Permission denied: 'app/model.pkl'")
    assert "may not read app/model.pkl" in advice.for_containers(error)


def test_a_missing_variable(pipeline: Path) -> None:
    error = RAISED.format("KeyError: 'MY_KEY'")
    pipeline.write_text("import os\nkey = os.environ['MY_KEY']\n")
    how = "there is no variable MY_KEY: set it in .env, as MY_KEY=value"
    assert advice.for_containers(error) == f'{how}, then run "make restart"'
    assert advice.for_dev(error) == how
    pipeline.write_text("row = {}\nkey = row['MY_KEY']\n")  # no variable
    assert advice.for_containers(error) == 'correct app/logic/pipeline.py, then run "make restart"'
    assert advice.for_dev(error) == ""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("MemoryError: Unable to allocate 8.00 GiB for an array", "WORKER_CONCURRENCY"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("ConnectionError: ('localhost', 6333): Connection refused", "host.docker.internal"),
    ],
)
def test_no_code_is_to_be_corrected(pipeline: Path, error: str, told: str) -> None:
    text = advice.for_containers(RAISED.format(error))
    assert told in text
    assert "correct app" not in text
