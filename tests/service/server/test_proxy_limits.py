"""The proxy's limits are those of the API: both come from the same settings, with the same defaults."""

from __future__ import annotations

import json
import math
import re
import subprocess
from pathlib import Path

import pytest

from denzel.api.answers import too_large
from denzel.api.heads import refusal
from denzel.server import pace, refusals
from denzel.settings import Settings
from tests.support.bakery import TEMPLATE

NAMES = (
    "MAX_BODY_BYTES", "HEAD_TIMEOUT", "KEEPALIVE_TIMEOUT", "BODY_MIN_RATE", "BODY_TIMEOUT", "BODY_RATE", "SEND_TIMEOUT",
)  # fmt: skip


def written(folder: Path, **settings: str) -> dict[str, str]:
    """What entrypoints/proxy.sh makes of settings: the files for nginx, by name."""
    text = (TEMPLATE / "entrypoints/proxy.sh").read_text(encoding="utf-8")
    for before, after in (
        ("/tmp/", f"{folder}/"),
        ('"$(dirname "$0")/.."', f"'{TEMPLATE}'"),
        ("\nexec nginx", "\nexit\n"),
    ):
        assert before in text
        text = text.replace(before, after)
    environment = {"PATH": "/usr/bin:/bin", **settings}
    subprocess.run(["sh", "-c", text], check=True, env=environment, timeout=30)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.conf")}


def directives(text: str) -> dict[str, str]:
    return dict(line.rstrip(";").split(" ", 1) for line in text.splitlines() if line)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"HEAD_TIMEOUT": "2.5", "KEEPALIVE_TIMEOUT": "10", "SEND_TIMEOUT": "5"},
        {"MAX_BODY_BYTES": "1000000", "BODY_TIMEOUT": "20.5", "BODY_RATE": "3000"},
        {"BODY_MIN_RATE": "0"},
        {"BODY_MIN_RATE": "0", "BODY_RATE": "0"},
        dict.fromkeys(NAMES, ""),
    ],
)
def test_the_proxy_has_the_limits_of_the_api(tmp_path: Path, changed: dict[str, str]) -> None:
    settings = Settings.from_environment(changed)
    files = written(tmp_path, **changed)
    assert f"client_max_body_size {settings.max_body_bytes};" in files["from-env.conf"]
    body = settings.body_timeout + settings.max_body_bytes / settings.body_rate if settings.body_rate else 86_400
    assert directives(files["limits-from-env.conf"]) == {
        "client_header_timeout": f"{math.ceil(settings.head_timeout)}s",
        "keepalive_timeout": f"{math.ceil(settings.keepalive_timeout)}s",
        "send_timeout": f"{math.ceil(settings.send_timeout)}s",
        "client_body_timeout": f"{pace._SPAN if settings.body_min_rate else math.ceil(body)}s",
        "lingering_timeout": f"{pace._SPAN}s",
        "lingering_time": f"{math.ceil(body)}s",
        # The first one that a head needs may be cut short by a line that has no room left in it.
        "large_client_header_buffers": f"2 {refusals.MOST_HEAD_BYTES // 1024}k",
    }


def test_the_proxy_gets_all_settings_of_its_limits() -> None:
    compose = (TEMPLATE / "docker-compose.proxy.yml").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"      {name}:\n" not in compose] == []


def test_the_proxy_has_the_words_of_the_api(tmp_path: Path) -> None:
    text = written(tmp_path, MAX_BODY_BYTES="1000")["from-env.conf"]

    def mapped(name: str, status: int) -> str:
        block = re.search(rf"map \$status \${name} {{(.*?)\n}}", text, re.DOTALL)
        assert block
        [words] = re.findall(rf'\n    {status} "(.*)";', block[1])
        return words.replace("$max_body_bytes", "1000")

    def words_of_proxy(status: int) -> tuple[str, str]:
        return mapped("error_title", status), mapped("error_description", status)

    error = too_large(1000)
    assert words_of_proxy(413) == (error.title, error.description)
    assert words_of_proxy(431) == tuple(refusals.HEAD_TOO_LARGE.values())[1:]
    versions = refusal({"http_version": "2.0", "headers": []})
    codings = refusal({"http_version": "1.1", "headers": [(b"host", b"a"), (b"transfer-encoding", b"gzip, chunked")]})
    assert versions
    assert codings
    assert words_of_proxy(505) == (versions.title, versions.description)
    assert words_of_proxy(501) == (codings.title, codings.description)
    assert words_of_proxy(400) == ("Bad request", "Invalid HTTP request received.")
    source = (TEMPLATE / "denzel/server/protocol.py").read_text(encoding="utf-8")
    assert f"400, {json.dumps('Bad request')}, {json.dumps('Invalid HTTP request received.')}" in source
