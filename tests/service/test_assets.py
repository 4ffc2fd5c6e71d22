"""What the digests of the assets allow, and what they refuse."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from denzel import assets


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("model.bin", "deep/er/part 1.bin", "info.txt", "examples/one.json", ".hidden", "old.bin~"):
        path = tmp_path / "app/assets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def test_without_pinned_assets_nothing_is_checked(project: Path) -> None:
    assets.check(project)
    assets.check(project / "nowhere")


def test_what_a_model_is_loaded_from_is_pinned_and_sha256sum_can_check_it(project: Path) -> None:
    assert assets.lock(project) == ["app/assets/deep/er/part 1.bin", "app/assets/model.bin"]
    assets.check(project)
    done = subprocess.run(["sha256sum", "--check", assets.LOCK], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("info.txt", "examples/one.json", "examples/two.json", ".hidden", "old.bin~"):
        (project / "app/assets" / name).write_text("edited")
    assets.check(project)


def edit(project: Path) -> None:
    (project / "app/assets/model.bin").write_text("other")


def remove(project: Path) -> None:
    (project / "app/assets/deep/er/part 1.bin").unlink()


def add(project: Path) -> None:
    (project / "app/assets/deep/more.bin").write_text("")


def link(project: Path) -> None:
    (project / "elsewhere").mkdir()
    (project / "elsewhere/more.bin").write_text("")
    (project / "app/assets/linked").symlink_to(project / "elsewhere")


def damage(project: Path) -> None:
    (project / assets.LOCK).write_text("no digest\n")


def spoil(project: Path) -> None:
    (project / assets.LOCK).write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (edit, "app/assets/model.bin is not the file that was pinned: its SHA-256 is "),
        (remove, "app/assets/deep/er/part 1.bin cannot be read (No such file or directory); app/assets.sha256 expects"),
        (add, "app/assets/deep/more.bin is not in app/assets.sha256, so the model is not loaded"),
        (link, "app/assets/linked/more.bin is not in app/assets.sha256"),
        (damage, "app/assets.sha256, line 1: this is no SHA-256 and a path"),
        (spoil, "app/assets.sha256 cannot be read"),
    ],
)
def test_anything_else_is_refused_with_the_file_and_the_command(project: Path, change, told: str) -> None:
    assets.lock(project)
    change(project)
    with pytest.raises(assets.AssetsError) as refused:
        assets.check(project)
    assert told in str(refused.value)
    assert "make lock-assets" in str(refused.value)
    assets.lock(project)
    assets.check(project)


def test_a_link_in_a_circle_ends(project: Path) -> None:
    (project / "app/assets/deep/up").symlink_to(project / "app/assets")
    assert assets.lock(project)
    assets.check(project)
