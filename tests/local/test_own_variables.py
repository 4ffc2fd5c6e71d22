"""Variables of the user's own in .env: what containers find of them, `make dev` and the tests' process find too."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import requests

from tests.e2e.test_own_variables import prepare
from tests.local.running import dev, environment, free_ports


def test_the_services_of_make_dev_find_them(installed: Path) -> None:
    kept = {name: (installed / name).read_bytes() for name in (".env", "app/logic/pipeline.py")}
    wanted = prepare(installed)
    try:
        with dev(installed, *free_ports()) as running:
            marker = running.wait_until_ready()
            answer = requests.post(f"{marker['api_url']}/predict", json={}, timeout=30).json()
        assert answer == {"api": wanted, "denzel": wanted, "at_import": "plain", "secret": ""}
        code = (
            "import json, os; os.environ['OWN_1'] = 'of the test'; from denzel import testing; "
            "print(json.dumps(testing.pipeline_module()._seen()))"
        )
        done = subprocess.run(
            [installed / ".venv/bin/python", "-c", code],
            cwd=installed, env=environment(), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == wanted | {"OWN_1": "of the test"}
    finally:
        for name, content in kept.items():
            (installed / name).write_bytes(content)
