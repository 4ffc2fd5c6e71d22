"""The lines at the head of a run: what was found, what was chosen, and where that was said."""

from __future__ import annotations

from pytest_denzel.project import Project
from pytest_denzel.settings import Settings


def lines(project: Project, settings: Settings) -> list[str]:
    """The header's lines."""
    sources = settings.sources
    named = "" if project.source == "found" else f", from {project.source}"
    found = [
        f"denzel: project {project.name} ({project.root}{named})",
        f"denzel: tier {settings.tier} ({sources['tier']})",
    ]
    if settings.tier == "docker":
        image = settings.image or f"{project.name}, built when needed"
        found[1] += f", image {image} ({sources['image'] if settings.image else 'COMPOSE_PROJECT_NAME in .env'})"
    also = [
        f"{name}={getattr(settings, name)!r} ({sources[name]})"
        for name in ("require", "keep", "timeout", "tolerance")
        if sources[name] != "default"
    ]
    if sources["checks"] != "default":
        also.append(f"checks={' '.join(settings.checks) or 'none'} ({sources['checks']})")
    return [*found, f"denzel: {', '.join(also)}"] if also else found
