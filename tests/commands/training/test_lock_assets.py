"""`make lock-assets`, and what training makes of pinned assets."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.shared.project import CommandError
from commands.training import lock_assets, targets
from denzel import assets


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "app/assets").mkdir(parents=True)
    (tmp_path / "app/assets/model.json").write_text("1")
    for module in (lock_assets, targets):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(targets, "MARKERS", tmp_path / ".denzel")
    return tmp_path


def train(project: Path, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> int:
    def fit(*words: str) -> int:
        (project / "app/assets/model.json").write_text("2")
        return code

    monkeypatch.setattr(targets, "_run", fit)
    return targets.train([])


def test_it_says_what_it_has_done(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lock_assets.run([]) == 0
    assert "1 file of app/assets in app/assets.sha256" in capsys.readouterr().out


def test_a_model_that_was_trained_here_is_pinned_where_the_one_before_was(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(project, monkeypatch) == 0
    assert not (project / assets.LOCK).exists()
    assets.lock(project)
    assert train(project, monkeypatch) == 0
    assets.check(project)
    assert "app/assets.sha256 names the new model." in capsys.readouterr().out


def test_nothing_is_trained_beside_assets_that_were_exchanged(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets.lock(project)
    (project / "app/assets/model.json").write_text("3")
    with pytest.raises(CommandError, match="is not the file that was pinned"):
        train(project, monkeypatch)
    assert (project / "app/assets/model.json").read_text() == "3"
