"""The lock of the framework's packages: it fits requirements-denzel.txt, everywhere, and names nobody's index."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from denzel import requirements
from tests.support.bakery import TEMPLATE

LOCK = (TEMPLATE / requirements.FRAMEWORK_LOCK).read_text(encoding="utf-8")
ENTRIES = [entry for entry in re.split(r"(?m)^(?=[^\s#])", LOCK) if not entry.startswith("#")]
PINS = [
    (Requirement(entry.split(" \\")[0]), len(re.findall(r"--hash=sha256:[0-9a-f]{64}", entry))) for entry in ENTRIES
]
AGAIN = "make lock, in the repository of the template, makes it anew"
PYTHONS = ("3.10.0", "3.11.9", "3.12.8", "3.13.0", "3.14.0")
PLATFORMS = ("linux", "darwin")


def wanted() -> list[Requirement]:
    lines = (TEMPLATE / requirements.FRAMEWORK).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pins_for(name: str, python: str, platform: str, extra: str = "") -> list[Requirement]:
    environment = {
        "python_version": ".".join(python.split(".")[:2]), "python_full_version": python, "sys_platform": platform,
    }  # fmt: skip
    named = [pin for pin, _ in PINS if canonicalize_name(pin.name) == canonicalize_name(name)]
    return [pin for pin in named if not pin.marker or pin.marker.evaluate(environment)]


def test_it_was_made_of_the_requirements_as_they_are() -> None:
    assert requirements.usable_lock(TEMPLATE, (3, 10)) == (requirements.FRAMEWORK_LOCK, ""), AGAIN


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_requirement_has_one_version_of_its_range_on_every_python(python: str, platform: str) -> None:
    environment = {"python_version": ".".join(python.split(".")[:2]), "sys_platform": platform}
    for requirement in wanted():
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        (pin,) = pins_for(requirement.name, python, platform)
        (version,) = pin.specifier
        assert version.operator == "=="
        assert requirement.specifier.contains(version.version), f"{pin}: {requirement}. {AGAIN}"


def test_every_package_has_the_hashes_of_its_releases_files() -> None:
    assert PINS
    assert all(count for _, count in PINS)
    # what is compiled has a file for each platform and Python
    compiled = {pin.name: count for pin, count in PINS if pin.name in ("orjson", "hiredis", "httptools", "uvloop")}
    assert len(compiled) == 4
    assert min(compiled.values()) > 20, compiled


def test_it_names_no_index() -> None:
    assert "://" not in LOCK
    assert not re.search(r"(?m)^-", LOCK)
    assert "@ " not in LOCK
