"""Files of the project's folder that shadow a module of the same name: Python looks there first.

Nothing but `os` and `sys` is imported here: whatever else is needed may be the very module that is shadowed.
"""

import os
import sys

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OURS = {"app", "commands", "denzel", "tests"}
# Of Python's own, those that no program needs.
_NEVER_NEEDED = {"antigravity", "idlelib", "test", "this", "turtle", "turtledemo"}


def shadowed_modules() -> list[str]:
    """The names of Python's own modules that are shadowed."""
    can_be = set(sys.stdlib_module_names) - set(sys.builtin_module_names) - _NEVER_NEEDED
    return sorted(_modules() & can_be)


def shadowed_packages(site_packages: os.PathLike[str]) -> list[str]:
    """The names of shadowed packages, of those that are installed in this folder."""
    try:
        installed = set(os.listdir(site_packages))
    except OSError:
        return []
    return sorted(name for name in _modules() if name in installed or name + ".py" in installed)


def problem(name: str) -> str:
    """What to say of a shadowed module."""
    file = name + (".py" if os.path.exists(os.path.join(FOLDER, name + ".py")) else "/")
    return (
        f"{file} in the project's folder hides the Python module {name!r}, which is needed: "
        f"rename it, or move it into app/logic/."
    )


def _modules() -> set[str]:
    """The modules and packages of the project's folder that are not part of the template."""
    found = {name[:-3] for name in os.listdir(FOLDER) if name.endswith(".py")}
    found |= {name for name in os.listdir(FOLDER) if os.path.isfile(os.path.join(FOLDER, name, "__init__.py"))}
    return found - _OURS
