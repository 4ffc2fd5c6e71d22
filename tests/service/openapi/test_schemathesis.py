"""Schemathesis makes requests of the document: no answer is a 5xx, and every one is what the document says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.services import Service

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance"
)


@pytest.mark.parametrize("name", ["iris", "hostile"])
def test_every_answer_is_as_described(serve: Callable[[str], Service], name: str, tmp_path: Path) -> None:
    service = serve(name)
    words = ["run", f"{service.url}/openapi.json", "--url", service.url, "--checks", CHECKS]
    words += ["--phases", "examples,coverage,fuzzing", "--max-examples", "30", "--mode", "all", "--seed", "1"]
    words += ["--generation-database", "none", "--workers", "2", "--no-color", "--max-failures", "5"]
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *words], cwd=tmp_path, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert service.get("/ready").status_code == 200
    assert "Traceback" not in service.log("api"), service.log("api")[-3000:]


def test_the_examples_are_answered_as_described(serve: Callable[[str], Service]) -> None:
    for name in ("iris", "regression", "hostile"):
        service = serve(name)
        content = service.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
        for example, shown in content["application/json"]["examples"].items():
            expected = 400 if "is refused" in shown["summary"] else 200
            answer = service.predict(shown["value"])
            assert answer.status_code == expected, (name, example, answer.text)
            assert json.loads(answer.text)
