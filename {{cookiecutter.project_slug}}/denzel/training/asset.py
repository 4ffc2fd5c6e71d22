"""The asset and its card: written so that at every moment the card names an asset that is whole.

The asset gets a name of its own, with its version in it, and is on the disk before the card names it. The card is
replaced in one step; that is the moment in which the new model takes the place of the old one. The old asset stays for
whoever has just read the old card; older ones, and what an interrupted training has left, go with the next one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from denzel import card

FOLDER = Path(card.CARD).parent


def write(name: str, save: Callable[[Path], None], content: dict[str, Any]) -> dict[str, Any]:
    """Let `save` write the asset, then replace the card; what it says now.

    Args:
        name: the asset's name, such as "model.json": it becomes "model-<version>.json".
        save: writes the model into the file that it is given.
        content: what the card says besides version, asset, sha256 and date.
    """
    stem, suffix = os.path.splitext(name)
    previous = _previous()
    draft = FOLDER / f".{stem}.new{suffix}"  # the service passes over hidden files when it looks for edits
    draft.unlink(missing_ok=True)
    save(draft)
    _flush(draft)
    digest, now = _sha256(draft), time.gmtime()
    version = f"{time.strftime('%Y%m%d-%H%M%S', now)}-{digest[:8]}"
    asset = FOLDER / f"{stem}-{version}{suffix}"
    os.replace(draft, asset)
    told = {
        "version": version,
        "asset": asset.name,
        "sha256": digest,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
        **content,
    }
    new_card = FOLDER / ".card.new"
    new_card.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _flush(new_card)
    _flush(FOLDER)
    os.replace(new_card, card.CARD)
    _flush(FOLDER)
    _remove_others(stem, suffix, {asset.name, previous})
    return told


def _previous() -> str:
    """The asset of the card that is there now."""
    try:
        found = card.read()
    except (ValueError, OSError):
        return ""
    return str(found.get("asset", "")) if found else ""


def _remove_others(stem: str, suffix: str, kept: set[str]) -> None:
    """Remove assets of this name, by their versions, but for those to keep."""
    versioned = re.compile(rf"{re.escape(stem)}-\d{{8}}-\d{{6}}-[0-9a-f]{{8}}{re.escape(suffix)}")
    for path in FOLDER.iterdir():
        if versioned.fullmatch(path.name) and path.name not in kept:
            path.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    """See to it that a file, or the names in a folder, are on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
