"""Bake projects for tests: with Cookiecutter's own code, apart from the developer's configuration."""

from __future__ import annotations

import json
from pathlib import Path

from cookiecutter.main import cookiecutter

REPOSITORY = Path(__file__).resolve().parents[2]
TEMPLATE = REPOSITORY / "{{cookiecutter.project_slug}}"


def configuration(folder: Path) -> Path:
    """Write a Cookiecutter configuration that keeps everything in this folder, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cookiecutter.yml"
    settings = {"cookiecutters_dir": str(folder / "templates"), "replay_dir": str(folder / "replay")}
    path.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return path


def bake(destination: Path, *, template: Path = REPOSITORY, **answers: str | bool) -> Path:
    """Bake a project into this folder and return the project's path; defaults for what is not answered.

    The template is this checkout's own, or another one in a folder.
    Cookiecutter renders answers that are given this way, as it does those on the command line.
    """
    destination.mkdir(parents=True, exist_ok=True)
    return Path(
        cookiecutter(
            str(template),
            no_input=True,
            extra_context=answers,
            output_dir=str(destination),
            config_file=str(configuration(destination / ".cookiecutter")),
        )
    )


def rebake(project: Path, **answers: str | bool) -> Path:
    """Bake over a project as `cookiecutter -f -s` does: of the files that exist only the verbatim change."""
    answers.setdefault("project_slug", project.name)
    return Path(
        cookiecutter(
            str(REPOSITORY),
            no_input=True,
            extra_context=answers,
            output_dir=str(project.parent),
            config_file=str(configuration(project.parent / ".cookiecutter")),
            overwrite_if_exists=True,
            skip_if_file_exists=True,
        )
    )
