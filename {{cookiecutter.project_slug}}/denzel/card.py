"""The card of the model that serves: `app/assets/card.json`, in which `make train` says what the asset is.

    version     what /ready and the header Denzel-Model call the model
    asset       the file's name in app/assets, sha256 its digest
    date, code, versions, data, metrics     when and of what it was made, and how good it was

Card and asset change together in one moment: an asset has its version in its name and stays as it is, the card names
it, and is replaced as a whole. A project may have a card of its own making, of which `version` alone is read; without
one its models have no version.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from denzel import assets

log = logging.getLogger("denzel.card")

CARD = "app/assets/card.json"
# It becomes a header, and travels with the answers.
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", re.ASCII)
# How often a model is loaded anew because the card has changed meanwhile.
_TRIES = 5

T = TypeVar("T")


def read(root: Path | str = ".") -> dict[str, Any] | None:
    """The card of the project in this folder; None where there is none.

    Raises:
        ValueError: it is no JSON object, or lacks a usable version; the message says so.
        OSError: it cannot be read.
    """
    try:
        text = (Path(root) / CARD).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        card = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{CARD} cannot be read as JSON: {error}") from None
    version = card.get("version") if isinstance(card, dict) else None
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ValueError(f'{CARD}: "version" must be 1 to 64 letters, digits and . _ + -, not {version!r:.80}')
    return card


def version() -> str:
    """The version that the card of this project names; empty where there is none, or none that can be used."""
    try:
        card = read()
    except (ValueError, OSError) as error:
        log.warning("The model has no version: %s", error)
        return ""
    return card["version"] if card else ""


def load(load_model: Callable[[], T]) -> tuple[T, str]:
    """What `load_model` returns, and the version of it; loaded anew where the card was replaced meanwhile.

    Raises:
        AssetsError: the files of app/assets are not those that were pinned; nothing was loaded.
    """
    for _ in range(_TRIES):
        before = version()
        assets.check()
        model = load_model()
        if version() == before:
            return model, before
    return model, ""
