"""The template's options and their combinations."""

from __future__ import annotations

import itertools

from tests.template import source

Answers = dict[str, str | bool]

CHOICES: dict[str, list[str | bool]] = {
    key: [value, not value] if isinstance(value, bool) else value
    for key, value in source.COOKIECUTTER_JSON.items()
    if not key.startswith("_") and isinstance(value, list | bool)
}


def combinations() -> list[Answers]:
    """Return every combination of answers, the defaults first."""
    return [dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())]


def name(answers: Answers) -> str:
    """Return a short name for a combination: async-gpu-redis-iris-github."""
    words = [key if value is True else value for key, value in answers.items() if value is not False]
    return "-".join(str(word) for word in words)
