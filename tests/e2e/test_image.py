"""What is in the image, and what only its building had."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.project import Project

COMPILERS = ("cc", "gcc", "g++", "c++", "clang", "ld", "as", "make")
PYPROJECT = """\
[project]
name = "{name}"
version = "1"

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
# Builds nothing without the program that stands for a compiler, nor without what requirements.sh has brought.
BACKEND = """\
import subprocess
import zipfile

NAME = {name!r}


def build_wheel(folder, *_):
    made = subprocess.run(["a-compiler"], check=True, capture_output=True, text=True).stdout
    subprocess.run(["a-library"], check=True)
    with zipfile.ZipFile(f"{{folder}}/{{NAME}}-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{{NAME}}.py", f"MADE = {{made!r}}")
        wheel.writestr(f"{{NAME}}-1.dist-info/METADATA", f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: 1\\n")
        kind = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr(f"{{NAME}}-1.dist-info/WHEEL", kind)
        wheel.writestr(f"{{NAME}}-1.dist-info/RECORD", "")
    return f"{{NAME}}-1-py3-none-any.whl"


build_editable = build_wheel
"""
PROGRAM = "printf '#!/bin/sh\\necho built\\n' > /usr/local/bin/{0} && chmod +x /usr/local/bin/{0}\n"


def package(folder: Path, name: str) -> None:
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT.format(name=name))
    (folder / "backend.py").write_text(BACKEND.format(name=name))


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with packages of its own that want a compiler, which requirements-build.sh brings."""
    project = new_project(tmp_path_factory.mktemp("image"))
    package(project.path / "lib", "minelib")
    package(project.path / "edited", "editedlib")
    (project.path / "requirements.txt").write_text("./lib\n-e ./edited\n")
    with (project.path / "requirements.sh").open("a") as file:
        file.write(PROGRAM.format("a-library") + "echo downloaded > brought.txt\n")
    with (project.path / "requirements-build.sh").open("a") as file:
        file.write(PROGRAM.format("a-compiler"))
    built = project.compose("--progress", "plain", "build", "api")
    assert built.code == 0, built
    return project


def run(project: Project, script: str) -> subprocess.CompletedProcess[str]:
    command = ["docker", "run", "--rm", project.slug, "sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True)


def test_packages_that_want_a_compiler_are_there_and_the_compiler_is_not(project: Project) -> None:
    done = run(project, "python -c 'import minelib, editedlib; print(minelib.MADE, editedlib.MADE)' && cat brought.txt")
    assert (done.returncode, done.stdout.split()) == (0, ["built", "built", "downloaded"]), done.stderr
    assert run(project, "command -v a-library").returncode == 0, "what requirements.sh brings is in the image"
    assert run(project, "command -v a-compiler").returncode != 0
    history = subprocess.run(["docker", "history", "--no-trunc", project.slug], capture_output=True, text=True).stdout
    assert "requirements-build.sh" not in history


def test_there_is_no_compiler_unless_requirements_sh_brings_one(project: Project) -> None:
    base = project.env("BASE_IMAGE") or "python:3.13-slim"
    look = f"for name in {' '.join(COMPILERS)}; do command -v $name; done; true"
    ours = run(project, look).stdout.split()
    command = ["docker", "run", "--rm", base, "sh", "-c", look]
    of_the_base = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(ours) <= set(of_the_base)


def test_the_frameworks_packages_are_those_of_its_lock(project: Project) -> None:
    frozen = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)$", run(project, "pip freeze --local --all").stdout.lower()))
    text = (project.path / "requirements-denzel.lock").read_text()
    for name, version in re.findall(r"(?m)^([\w-]+)==(\S+) \\$", text):
        assert frozen.get(name, frozen.get(name.replace("-", "_"))) == version
    assert run(project, "pip check").returncode == 0


class Registry(BaseHTTPRequestHandler):
    """Knows one image, by the protocol of registries (https://distribution.github.io/distribution/spec/api/)."""

    KIND = "application/vnd.oci.image.index.v1+json"
    MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": KIND, "manifests": []}).encode()
    DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"

    def do_GET(self) -> None:
        known = self.path == "/v2/" or self.path.startswith("/v2/base/manifests/")
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", self.KIND)
        self.send_header("Docker-Content-Digest", self.DIGEST)
        self.send_header("Content-Length", str(len(self.MANIFEST) if known else 0))
        self.end_headers()
        if known and self.command == "GET":
            self.wfile.write(self.MANIFEST)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


def test_images_are_pinned_where_a_registry_answers(project: Project) -> None:
    """The part of `make lock` that asks registries, by Docker as everybody has it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as registry:
        threading.Thread(target=registry.serve_forever, daemon=True).start()
        place = f"localhost:{registry.server_port}"
        dotenv, example = project.path / ".env", project.path / ".env.example"
        before = dotenv.read_text(encoding="utf-8"), example.read_text(encoding="utf-8")
        project.set_env(BASE_IMAGE=f"{place}/base:1", REDIS_IMAGE=f"{place}/unknown:2")
        try:
            for _ in range(2):  # the second time the tag is asked for again
                words = [sys.executable, "-c", "from commands.shared import base_images; print(base_images.pin())"]
                done = subprocess.run(words, cwd=project.path, capture_output=True, text=True, check=True)
                pinned, kept = ast.literal_eval(done.stdout)
                assert pinned == {"BASE_IMAGE": f"{place}/base:1@{Registry.DIGEST}"}, kept
                assert kept["REDIS_IMAGE"].startswith(f"{place}/unknown:2: ERROR: ")
                assert project.env("BASE_IMAGE") == pinned["BASE_IMAGE"]
                assert project.env("REDIS_IMAGE") == f"{place}/unknown:2"
                assert f"\nBASE_IMAGE={pinned['BASE_IMAGE']}\n" in example.read_text(encoding="utf-8")
        finally:
            registry.shutdown()
            dotenv.write_text(before[0], encoding="utf-8")
            example.write_text(before[1], encoding="utf-8")
