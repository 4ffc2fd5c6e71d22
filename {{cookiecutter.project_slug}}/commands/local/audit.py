"""`make audit` and `make sbom`: the known weaknesses of what `.venv` holds, and the list of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from commands.local import tools, venv
from commands.local.install import ensure_installed
from commands.local.lock import index_variables
from commands.shared.arguments import parse_arguments
from commands.shared.project import ROOT, CommandError
from commands.shared.screen import colour, say, warn

SBOM = "sbom.json"
_LONGEST = 300  # seconds for all answers of the service that tells of weaknesses


def audit(arguments: list[str]) -> int:
    """Look for known weaknesses; the exit code is 1 where some are found, and 0 where nobody can be asked."""
    parse_arguments(arguments, {})
    try:
        python = ensure_installed()
        environment = tools.environment_with("pip-audit", str(venv.read_stamp()["version"]))
    except CommandError as error:
        if not (venv.read_stamp().get("files")):
            raise
        warn(f"{error}\nSo nothing was audited.")
        return 0
    environment |= {
        name: index_variables(python)[name] for name in ["SSL_CERT_FILE"] if name in index_variables(python)
    }
    packages = subprocess.run(
        [python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    found, message = weaknesses([str(python), "-m", "pip_audit"], ["--path", packages], environment)
    return report(found, message)


def report(found: list[str] | None, message: str) -> int:
    """Say what was found; the exit code."""
    if found is None:
        warn(
            f"The service that tells of weaknesses cannot be asked from here; nothing was audited.\n{message}".rstrip()
        )
        return 0
    for line in found:
        warn(line)
    if found:
        warn("Take a version without it: a line in requirements.txt, or a newer version of the template.")
        return 1
    say(f"{colour('No known weakness', 'green')} in {message}.")
    return 0


def weaknesses(pip_audit: list[str], what: list[str], environment: Mapping[str, str]) -> tuple[list[str] | None, str]:
    """A line for each weakness, and how many packages were audited; or None, and why nobody was asked.

    Args:
        pip_audit: the words that start it.
        what: its options for what is audited.
        environment: variables that it gets beside ours.
    """
    command = [*pip_audit, *what, "--format", "json", "--progress-spinner", "off", "--aliases", "on", "--timeout", "10"]
    try:
        done = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=_LONGEST, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return None, f"It did not answer within {_LONGEST} s."
    except (ValueError, KeyError, TypeError):
        return None, (done.stderr.strip().splitlines() or [""])[-1]
    audited = [package for package in packages if "vulns" in package]
    if not audited:  # an index that is no PyPI knows no weaknesses, and says so of each package
        reason = next((package["skip_reason"] for package in packages if package.get("skip_reason")), "")
        return None, reason
    lines = [_told(package, weakness) for package in audited for weakness in package["vulns"]]
    return lines, f"{len(audited)} package{'' if len(audited) == 1 else 's'}"


def _told(package: dict[str, Any], weakness: dict[str, Any]) -> str:
    names = ", ".join([weakness["id"], *weakness.get("aliases", ())])
    mended = ", ".join(weakness.get("fix_versions") or ["no version yet"])
    return f"{package['name']} {package['version']}: {names}; mended in {mended}"


def sbom(arguments: list[str]) -> int:
    """Write what `.venv` holds as a CycloneDX document."""
    parse_arguments(arguments, {})
    python = ensure_installed()
    environment = tools.environment_with("cyclonedx-bom", str(venv.read_stamp()["version"]))
    command = [str(python), "-m", "cyclonedx_py", "environment", "--output-reproducible", "--output-format", "JSON"]
    done = subprocess.run(
        [*command, "--output-file", str(ROOT / SBOM), str(venv.VENV)],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise CommandError(f"{done.stderr.strip()}\nThe list of packages could not be made.")
    components = json.loads((ROOT / SBOM).read_text(encoding="utf-8")).get("components", [])
    say(f"{colour('Wrote', 'green')} {SBOM}: {len(components)} packages, in the format CycloneDX.")
    return 0
