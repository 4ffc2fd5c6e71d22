"""What comes from others is what they have published: Swagger UI, which projects serve at /docs."""

from __future__ import annotations

import hashlib
import json

from tests.support.bakery import TEMPLATE

PAGES = TEMPLATE / "denzel/pages"
NOTE = json.loads((PAGES / "vendored.json").read_text(encoding="utf-8"))


def test_the_files_are_those_that_were_noted() -> None:
    found = {name: hashlib.sha256((PAGES / name).read_bytes()).hexdigest() for name in NOTE["sha256"]}
    assert found == NOTE["sha256"], "take a version with .ci/update_swagger_ui.py"
    assert {path.name for path in PAGES.glob("swagger-ui*") if path.suffix in (".js", ".css")} == set(NOTE["sha256"])


def test_their_licences_lie_beside_them() -> None:
    text = (PAGES / "swagger-ui.LICENSE.txt").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "SmartBear" in text
    assert "MIT License" in text  # of what the bundle holds


def test_they_name_no_place_that_a_browser_would_look_at() -> None:
    for name in NOTE["sha256"]:
        assert b"sourceMappingURL=" not in (PAGES / name).read_bytes()
