"""Schemathesis makes requests of the document: no answer is a 5xx, and every one is what the document says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from denzel import api_keys
from tests.service.support.baked import BAKED
from tests.support.services import Service

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance"
)


def check(service: Service, document: str, folder: Path, *more: str, examples: int = 30) -> None:
    """Let schemathesis make requests of a document, and check the answers."""
    words = ["run", document, "--url", service.url, "--checks", CHECKS]
    words += ["--phases", "examples,coverage,fuzzing", "--max-examples", str(examples), "--mode", "all", "--seed", "1"]
    words += ["--generation-database", "none", "--workers", "2", "--no-color", "--max-failures", "5", *more]
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *words], cwd=folder, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]


@pytest.mark.parametrize("name", ["iris", "hostile"])
def test_every_answer_is_as_described(serve: Callable[[str], Service], name: str, tmp_path: Path) -> None:
    service = serve(name)
    check(service, f"{service.url}/openapi.json", tmp_path)
    assert service.get("/ready").status_code == 200
    assert "Traceback" not in service.log("api"), service.log("api")[-3000:]


@pytest.mark.parametrize("settings", [{}, {"OPEN_PATHS": "/metrics,/info", "API_RATE_LIMIT": "20/minute"}])
def test_with_keys_too(settings: dict[str, str], tmp_path: Path) -> None:
    """With a key, and without one, and with those that schemathesis makes up."""
    key = api_keys.new_key()
    keys = {"API_KEYS": f"alice:{api_keys.digest(key.encode()).hex()}"}
    with Service(BAKED["iris"](tmp_path / "iris"), **keys, **settings) as service:
        service.start("redis", "api", "denzel")
        service.wait_ready(timeout=60)
        document = tmp_path / "openapi.json"
        document.write_bytes(service.get("/openapi.json", headers={"X-API-Key": key}).content)
        with_key = ["--header", f"X-API-Key: {key}"]
        check(service, str(document), tmp_path, *with_key, examples=5)
        check(service, str(document), tmp_path, examples=5)


def test_the_examples_are_answered_as_described(serve: Callable[[str], Service]) -> None:
    for name in ("iris", "regression", "hostile"):
        service = serve(name)
        content = service.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
        for example, shown in content["application/json"]["examples"].items():
            expected = 400 if "is refused" in shown["summary"] else 200
            answer = service.predict(shown["value"])
            assert answer.status_code == expected, (name, example, answer.text)
            assert json.loads(answer.text)
