"""What other projects and programs have left in the shell does not steer `make dev`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import redis
import requests

from tests.local.running import dev, free_ports, make
from tests.local.test_dev import procfile, wait_until_up, write_settings

# A Redis of another project could be there; nothing may even try to reach this one.
NOWHERE = "redis://127.0.0.1:1/7"
FOREIGN = {
    "CELERY_BROKER_URL": NOWHERE,
    "CELERY_BROKER_READ_URL": NOWHERE,
    "CELERY_BROKER_WRITE_URL": NOWHERE,
    "CELERY_RESULT_BACKEND": NOWHERE,
    "CELERY_CONFIG_MODULE": "no_such_module",
    "CELERY_LOADER": "no.such.loader",
    "CONFIG_MODULE": "no_such_module",
    "LOADER": "no.such.loader",
    "DJANGO_SETTINGS_MODULE": "no_such_site.settings",
    "FLOWER_PORT": "tcp://10.0.0.1:5555",
    "FLOWER_NO_SUCH_OPTION": "1",
    "GUNICORN_CMD_ARGS": "--bind 127.0.0.1:1 --workers 7",
    "FORWARDED_ALLOW_IPS": "no address",
    "WEB_CONCURRENCY": "auto",
    "UVICORN_PORT": "1",
    "KOMBU_LOG_DEBUG": "1",
    "PROMETHEUS_MULTIPROC_DIR": "/no/such/folder",
    "REDIS_PORT": "tcp://10.0.0.1:6379",
    "MONITOR_PORT": "tcp://10.0.0.1:5555",
    "REDIS_URL": NOWHERE,
    "BROKER_URL": NOWHERE,
    "LOG_FILE": "/no/such/folder/worker.log",
    "PYTHONOPTIMIZE": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONSAFEPATH": "1",
}


def test_a_project_serves_whatever_is_in_the_shell(installed: Path, tmp_path: Path) -> None:
    """All services do their work; a PYTHONPATH with modules of the same names changes nothing."""
    for name in ("denzel", "redis", "flower"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('this is another project')\n")
    with dev(installed, *free_ports(), **FOREIGN, PYTHONPATH=str(tmp_path)) as running:
        marker = running.wait_until_ready()
        assert make(installed, "predict", **FOREIGN).returncode == 0
        done = make(installed, "response", "MODE=async", **FOREIGN)
        assert done.returncode == 0, done.stderr
        assert make(installed, "response", "MODE=sync", **FOREIGN).returncode == 0
        with redis.Redis.from_url(marker["redis_url"]) as client:
            assert list(client.scan_iter("denzel/*:_kombu.binding.denzel.*")), "the broker is this project's own"
        assert requests.get(f"{marker['monitor_url']}/healthcheck", timeout=10).status_code == 200


def test_settings_and_names_of_other_programs_stay_outside(plain: Path) -> None:
    procfile(plain, denzel="environment")
    write_settings(plain, PYTHONWARNINGS="ignore", OF_MINE="1")
    with dev(plain, *free_ports(), **FOREIGN, PYTHONPATH="/elsewhere", MINE="as it is") as running:
        wait_until_up(running)
        text = running.text()
        assert "denzel  | MINE=as it is" in text
        assert "denzel  | OF_MINE=1" in text
        assert "denzel  | PYTHONWARNINGS=ignore" in text, "a line of .env is meant"
        for name in ("CELERY_BROKER_URL", "PYTHONPATH", "PYTHONOPTIMIZE", "GUNICORN_CMD_ARGS", "LOG_FILE"):
            assert f"| {name}=" not in text
        assert f"| REDIS_URL={json.loads(running.marker.read_text())['redis_url']}" in text


def test_what_lies_on_pythonpath_is_not_taken_for_installed(
    empty_venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip would leave out what it sees there, and the services do not see it."""
    project = tmp_path / "project"
    shutil.copytree(empty_venv, project, ignore=shutil.ignore_patterns(".venv", ".denzel"), symlinks=True)
    for folder in (tmp_path / "package", tmp_path / "elsewhere/thing-1.dist-info"):
        folder.mkdir(parents=True)
    (tmp_path / "package/setup.py").write_text("from setuptools import setup\nsetup(name='thing', version='1')\n")
    (tmp_path / "elsewhere/thing-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1\n")
    (project / "requirements.txt").write_text("thing==1\n")
    done = make(
        project, "install", PYTHONPATH=str(tmp_path / "elsewhere"), PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path)
    )
    assert done.returncode == 2
    assert "No matching distribution found for thing==1" in done.stdout + done.stderr
