"""Requirement files of all the forms that pip knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from denzel import requirements


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's folder with requirement files that name others."""
    project = tmp_path / "it's a project"
    for name, text in {
        "requirements.txt": "-r more/base.txt\n--constraint=constraints.txt\n-e ./lib\n./wheels/a-1-py3-none-any.whl\n"
        "b @ file:./other ; python_version > '3'\n-fwheels\nnumpy==2.0  # a note\ngit+https://example.org/x.git\n"
        "c @ https://example.org/c.whl\n",
        "more/base.txt": "-r deeper.txt\npandas\n",
        "more/deeper.txt": "scipy\n",
        "constraints.txt": "numpy<3\n",
        "requirements-denzel.txt": "falcon\n",
        "lib/pyproject.toml": "",
        "lib/src/lib.py": "",
        "lib/src/__pycache__/lib.pyc": "",
        "other/setup.py": "",
        "wheels/a-1-py3-none-any.whl": "",
        "app/logic/pipeline.py": "",
    }.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    return project


def test_what_they_name_is_found(project: Path) -> None:
    found = requirements.read(project)
    assert found.files == ["requirements.txt", "more/base.txt", "more/deeper.txt", "constraints.txt"]
    assert found.local == ["lib", "wheels/a-1-py3-none-any.whl", "other", "wheels"]
    assert found.editable == ["lib"]
    assert found.pins == ["numpy==2.0"]
    assert not found.hashed


@pytest.mark.parametrize("form", ["{uri}", "d @ {uri}", "-e {uri}", "d[extra] @ {uri}#sha256=aa", "{local}"])
def test_a_url_of_a_file_may_hold_escaped_characters(project: Path, form: str) -> None:
    wheel = project / "wheels" / "a-1-py3-none-any.whl"
    uri = wheel.as_uri()
    assert "it%27s%20a%20project" in uri
    (project / "requirements.txt").write_text(form.format(uri=uri, local=uri.replace("file://", "file://localhost")))
    assert requirements.read(project).local == ["wheels/a-1-py3-none-any.whl"]


def test_the_image_gets_it_and_nothing_else(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gathered"
    requirements.gather(project, folder)
    gathered = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert gathered == {
        "requirements.txt", "more/base.txt", "more/deeper.txt", "constraints.txt", "lib/pyproject.toml",
        "lib/src/lib.py", "other/setup.py", "wheels/a-1-py3-none-any.whl", "requirements.json",
    }  # fmt: skip
    assert json.loads((folder / "requirements.json").read_text()) == requirements.digests(project)


def test_an_edit_counts_where_it_changes_what_is_installed(project: Path) -> None:
    before = requirements.digests(project)
    (project / "lib/src/lib.py").write_text("edited = True")
    (project / "app/logic/pipeline.py").write_text("edited = True")
    assert requirements.digests(project) == before
    for name in ("constraints.txt", "more/deeper.txt", "other/setup.py", "lib/pyproject.toml"):
        (project / name).write_text("# edited\n")
        assert requirements.digests(project) != before
        before = requirements.digests(project)


def test_everything_is_resolved_together_unless_there_are_hashes(project: Path, tmp_path: Path) -> None:
    framework, mine = (f"--requirement={project}/requirements{name}.txt" for name in ("-denzel", ""))
    assert requirements.runs(project, [], tmp_path) == [[framework, mine]]
    (project / "requirements.txt").write_text(
        "numpy==2.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via pandas\n"
        'Pandas[excel]==3.1.0 ; python_version >= "3.10" \\\n    --hash=sha256:cc\n'
    )
    first, second = requirements.runs(project, [], tmp_path)
    assert first == [mine]
    assert second == [framework, f"--constraint={tmp_path}/pins.txt"]
    assert (tmp_path / "pins.txt").read_text() == 'numpy==2.0\nPandas==3.1.0 ; python_version >= "3.10"\n'


def write_lock(project: Path, name: str, *files: str, python: tuple[int, int] = (3, 10)) -> None:
    """A lock of these files as they are."""
    head = requirements.lock_head(project, list(files), python)
    (project / name).write_text(f"# made for a test\n{head}\nfalcon==4.4.0 \\\n    --hash=sha256:{'a' * 64}\n")


def test_the_framework_comes_by_its_lock_and_the_rest_needs_no_hash(project: Path, tmp_path: Path) -> None:
    framework, mine = (f"--requirement={project}/requirements{name}.txt" for name in ("-denzel", ""))
    (project / "requirements-denzel.txt").write_text("falcon\ncelery[redis]>=5\n")
    write_lock(project, "requirements-denzel.lock", "requirements-denzel.txt")
    locked = ["--no-deps", "--require-hashes", f"--requirement={project}/requirements-denzel.lock"]
    assert requirements.runs(project, [], tmp_path) == [locked, [framework, mine]]
    within = f"--constraint={tmp_path / 'framework.txt'}"
    runs = requirements.runs(project, [], tmp_path, upgrade=True)
    assert runs == [locked, ["--upgrade", mine, within], [framework, mine]]
    assert (tmp_path / "framework.txt").read_text() == "falcon\ncelery>=5\n", "pip takes no extras in constraints"
    (project / "requirements.txt").write_text("# nothing\n")
    assert requirements.runs(project, [], tmp_path) == [locked]
    (project / "requirements-bench.txt").write_text("locust\n")
    bench = f"--requirement={project}/requirements-bench.txt"
    assert requirements.runs(project, ["requirements-bench.txt"], tmp_path) == [locked, [framework, bench, mine]]
    (project / "requirements.txt").write_text(f"numpy==2.0 --hash=sha256:{'b' * 64}\n")
    assert requirements.runs(project, [], tmp_path, upgrade=True) == [
        locked, ["--upgrade", mine], [framework, f"--constraint={tmp_path}/pins.txt"],
    ]  # fmt: skip


def test_a_lock_of_other_framework_requirements_is_not_used(project: Path, tmp_path: Path) -> None:
    write_lock(project, "requirements-denzel.lock", "requirements-denzel.txt")
    (project / "requirements-denzel.txt").write_bytes(b"falcon\r\n")
    assert requirements.usable_lock(project, (3, 13)) == ("requirements-denzel.lock", ""), "line endings say nothing"
    (project / "requirements-denzel.txt").write_text("falcon>=5\n")
    lock, note = requirements.usable_lock(project, (3, 13))
    assert lock == ""
    assert "requirements-denzel.txt is not the one that requirements-denzel.lock was made of" in note
    framework, mine = (f"--requirement={project}/requirements{name}.txt" for name in ("-denzel", ""))
    assert requirements.runs(project, [], tmp_path) == [[framework, mine]]


def test_the_lock_of_everything_comes_before_and_what_is_new_needs_no_hash(project: Path, tmp_path: Path) -> None:
    framework, mine = (f"--requirement={project}/requirements{name}.txt" for name in ("-denzel", ""))
    write_lock(project, "requirements-denzel.lock", "requirements-denzel.txt")
    write_lock(project, "requirements.lock", "requirements-denzel.txt", "requirements.txt", "more/base.txt")
    assert requirements.usable_lock(project, (3, 10)) == ("requirements.lock", "")
    assert "requirements.lock" in requirements.digests(project)
    sources = f"--requirement={tmp_path}/sources.txt"
    locked = ["--no-deps", "--require-hashes", f"--requirement={project}/requirements.lock", sources]
    assert requirements.runs(project, [], tmp_path, upgrade=True) == [locked, [framework, mine]]
    assert (tmp_path / "sources.txt").read_text() == "-fwheels\n"
    (project / "more/base.txt").write_text("pandas\nanother\n")
    lock, note = requirements.usable_lock(project, (3, 10))
    assert lock == "requirements.lock"
    assert note.startswith("more/base.txt changed after requirements.lock was made; what is new in it is installed")


@pytest.mark.parametrize("reason", ["python", "framework"])
def test_a_lock_of_everything_that_does_not_fit_gives_way_to_the_frameworks(project: Path, reason: str) -> None:
    write_lock(project, "requirements.lock", "requirements-denzel.txt", "requirements.txt", python=(3, 12))
    if reason == "framework":
        (project / "requirements-denzel.txt").write_text("falcon>=4\n")
    write_lock(project, "requirements-denzel.lock", "requirements-denzel.txt")
    lock, note = requirements.usable_lock(project, (3, 11) if reason == "python" else (3, 13))
    assert lock == "requirements-denzel.lock"
    assert "`make lock` makes it anew" in note
    assert ("is for Python 3.12 and newer" if reason == "python" else "is not the one that") in note


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("-e ../elsewhere", "outside of the project's folder"),
        ("/opt/wheels/x.whl", "outside of the project's folder"),
        ("-r missing.txt", "missing.txt, which the requirement files name, does not exist"),
        ("./missing", "missing, which the requirement files name, does not exist"),
    ],
)
def test_what_the_image_could_not_have_is_refused(project: Path, line: str, text: str) -> None:
    (project / "requirements.txt").write_text(f"{line}\n")
    with pytest.raises(requirements.RequirementsError, match=text):
        requirements.digests(project)
