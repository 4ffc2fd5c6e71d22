"""A file of `app/` that the user's code asks for in vain: what is there instead."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

_SAID = re.compile(
    r"no such ?file|does(n't| not) exist|not found|cannot (find|open)|could not (find|open)", re.IGNORECASE
)
# Relative, of a container, or of this folder.
_PATH = r"(?<![\w./-])(?:\./|/opt/denzel/|{root}/)?(app/[^\s'\":,;()]{{1,200}})(?![^\s'\":,;()])"
_LISTED = 8  # names


def missing_file(error: str, root: Path) -> str | None:
    """What is missing, and what there is; None where the error is another one, or all that it names is there."""
    if not _SAID.search(error):
        return None
    for path in re.findall(_PATH.format(root=re.escape(str(root))), error):
        wanted = root / path.rstrip("./")
        try:
            if wanted.suffix == ".py" or ".." in wanted.parts or wanted.exists():
                continue
            while not wanted.parent.is_dir():
                wanted = wanted.parent
            seen = [found for found in wanted.parent.iterdir() if not found.name.startswith((".", "__"))]
        except OSError:  # a name that is too long, a folder that may not be read
            continue
        there = sorted(f"{found.name}/" if found.is_dir() else found.name for found in seen)
        return f"{wanted.relative_to(root)} does not exist{_listed(there, wanted.name)}"
    return None


def _listed(names: list[str], wanted: str) -> str:
    """The names, those first that are nearly the wanted one."""
    if not names:
        return ": the folder is empty"
    near = difflib.get_close_matches(wanted, names, cutoff=0.7)
    names = [*near, *(name for name in names if name not in near)]
    more = ", ..." if len(names) > _LISTED else ""
    return f"; there {'are' if len(names) > 1 else 'is'}: {', '.join(names[:_LISTED])}{more}"
