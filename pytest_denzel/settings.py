"""What the plugin was told: by the command line, the environment, the ini file, or not at all (in this order)."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TIERS = ("inline", "local", "docker")
CHECKS = ("malformed", "batchable")

_YES, _NO = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}
_EXPECTED = {
    "require": "it must be true or false",
    "timeout": "the timeout must be a number of seconds greater than 0",
    "tolerance": "the tolerance must be a number, 0 or greater",
}


@dataclass(frozen=True)
class Settings:
    """The plugin's settings; `sources` says of each one where it came from.

    Attributes:
        project: the project's folder, when it was named.
        tier: what `denzel_service` runs on: inline, local or docker.
        image: run this image on the docker tier instead of building the project's own.
        require: a tier that this machine cannot run fails instead of being skipped.
        keep: leave the services running after the tests.
        timeout: how long the services may take until they are ready, in seconds; building is not counted.
        checks: the checks of the pipeline that run by themselves.
        tolerance: the relative difference that numbers of an answer may have.
    """

    project: Path | None
    tier: str
    image: str | None
    require: bool
    keep: bool
    timeout: float
    checks: tuple[str, ...]
    tolerance: float
    sources: dict[str, str]

    @property
    def demanded(self) -> str | None:
        """Why a tier that cannot run is a failure here, None where it is a reason to skip."""
        if self.require:
            return f"required by {self.sources['require']}"
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            return "required because CI is set"
        return None


def add_options(parser: pytest.Parser) -> None:
    """Register the command line options and the ini values."""
    group = parser.getgroup("denzel", "model services made with denzel-template")
    group.addoption(
        "--denzel-tier",
        choices=TIERS,
        help="What denzel_service runs on: inline (one process, no Redis; the default), local (real Redis and worker "
        "processes) or docker (the project's containers).",
    )
    group.addoption("--denzel-project", metavar="PATH", help="The project's folder, where it is not found by itself.")
    group.addoption("--denzel-image", metavar="IMAGE", help="Docker tier: run this image, build nothing.")
    group.addoption(
        "--denzel-require",
        action="store_true",
        default=None,
        help="Fail, instead of skipping, when this machine cannot run the tier (as is done when CI is set).",
    )
    group.addoption(
        "--denzel-keep",
        action="store_true",
        default=None,
        help="Leave the services running after the tests, and say how to reach and to remove them.",
    )
    group.addoption(
        "--denzel-timeout",
        type=float,
        metavar="SECONDS",
        help="How long the services may take until they are ready (default: 120).",
    )
    parser.addini("denzel_tier", "Default of --denzel-tier.", default=None)
    parser.addini("denzel_project", "Default of --denzel-project, from the folder of this file.", default=None)
    parser.addini("denzel_image", "Default of --denzel-image.", default=None)
    parser.addini("denzel_require", "Default of --denzel-require.", type="bool", default=None)
    parser.addini("denzel_timeout", "Default of --denzel-timeout.", type="float", default=None)
    parser.addini(
        "denzel_checks",
        f"The checks of the pipeline that run by themselves (default: {' '.join(CHECKS)}); none: no check.",
        type="args",
        default=None,
    )
    parser.addini(
        "denzel_tolerance",
        "The relative difference that numbers of an example's answer may have (default: 1e-6).",
        type="float",
        default=None,
    )


def read(config: pytest.Config) -> Settings:
    """Read all settings.

    Raises:
        pytest.UsageError: a value cannot be used; says what is allowed.
    """
    sources: dict[str, str] = {}

    def value(name: str, default: Any) -> Any:
        found, sources[name] = _find(config, name)
        return default if found is None else found

    tier = value("tier", "inline")
    if tier not in TIERS:
        raise pytest.UsageError(f"{sources['tier']}: the tier must be one of {', '.join(TIERS)}, not {tier!r}.")
    project = value("project", None)
    if project is not None and sources["project"].startswith("denzel_project in"):
        project = Path(config.inipath or "").parent / project
    timeout = value("timeout", 120.0)
    if not timeout > 0:
        raise pytest.UsageError(f"{sources['timeout']}: {_EXPECTED['timeout']}.")
    tolerance = value("tolerance", 1e-6)
    if not 0 <= tolerance < math.inf:
        raise pytest.UsageError(f"{sources['tolerance']}: {_EXPECTED['tolerance']}.")
    return Settings(
        project=Path(project).expanduser().absolute() if project is not None else None,
        tier=tier,
        image=value("image", None),
        require=value("require", False),
        keep=value("keep", False),
        timeout=timeout,
        checks=_checks(value("checks", list(CHECKS)), sources["checks"]),
        tolerance=tolerance,
        sources=sources,
    )


def _find(config: pytest.Config, name: str) -> tuple[Any, str]:
    """A setting and where it was set; None and "default" when it was not."""
    given = getattr(config.known_args_namespace, f"denzel_{name}", None)
    if given is not None:
        return given, f"--denzel-{name}"
    variable = f"DENZEL_{name.upper()}"
    if name in ("tier", "image", "require", "project") and (text := os.environ.get(variable)):
        source = f"{variable} in the environment"
        if name == "require" and text.lower() not in _YES | _NO:
            raise pytest.UsageError(f"{source}: {_EXPECTED['require']}, not {text!r}.")
        return (text.lower() in _YES if name == "require" else text), source
    if name != "keep":
        source = f"denzel_{name} in {config.inipath.name if config.inipath else 'the ini file'}"
        try:
            given = config.getini(f"denzel_{name}")
        except (pytest.UsageError, TypeError, ValueError) as error:  # an older pytest lets the latter through
            raise pytest.UsageError(f"{source}: {_EXPECTED.get(name, error)}.") from None
        if given not in (None, ""):
            return given, source
    return None, "default"


def _checks(names: list[str], source: str) -> tuple[str, ...]:
    if names == ["none"]:
        return ()
    if unknown := [name for name in names if name not in CHECKS]:
        raise pytest.UsageError(
            f"{source}: there is no check {', '.join(unknown)}; there are {', '.join(CHECKS)}, and none for no check."
        )
    return tuple(names)


SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
