"""`make lock-assets`: the digests of what is in app/assets now; then the model is loaded of these files alone."""

from __future__ import annotations

from commands.shared.arguments import parse_arguments
from commands.shared.project import ROOT, CommandError
from commands.shared.screen import colour, say
from denzel import assets


def run(arguments: list[str]) -> int:
    """Pin the assets as they are."""
    parse_arguments(arguments, {})
    count = len(assets.lock(ROOT))
    say(
        f"{colour('Pinned', 'green')} {count} file{'' if count == 1 else 's'} of {assets.FOLDER} in {assets.LOCK}, "
        "which belongs into git. Remove it to check nothing."
    )
    return 0


def check() -> None:
    """Refuse where the assets are not those that were pinned.

    Raises:
        CommandError: names the file.
    """
    try:
        assets.check(ROOT)
    except assets.AssetsError as error:
        raise CommandError(str(error)) from None


def after_training() -> None:
    """Pin the new model, where the one before was pinned."""
    if (ROOT / assets.LOCK).exists():
        assets.lock(ROOT)
        say(f"{assets.LOCK} names the new model.")
