"""A model that was exchanged: where the assets are pinned, it is never loaded, and the answer says which file it is."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable

import pytest

from tests.support.services import Service
from tests.support.waiting import eventually

COUNTS_LOADS = """
def load_model():
    with open("logs/loads.txt", "a") as file:
        file.write("x")
    with open("app/assets/model.bin", "rb") as file:
        return file.read().decode()


def verify_input(data):
    return data


def process(model, data):
    return data


def predict(model, data):
    return {"model": model}
"""


def lock_assets(service: Service) -> None:
    command = ["make", "--no-print-directory", "lock-assets"]
    done = subprocess.run(command, cwd=service.project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "of app/assets in app/assets.sha256" in done.stdout


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("settings", [{}, {"EXECUTOR": "inline", "REDIS_URL": ""}], ids=["worker", "inline"])
def test_an_exchanged_model_is_not_loaded(new_service: Callable[..., Service], settings: dict[str, str]) -> None:
    service = new_service(**settings)
    (service.project / "app/logic/pipeline.py").write_text(COUNTS_LOADS)
    model = service.project / "app/assets/model.bin"
    model.write_text("mine")
    lock_assets(service)
    model.write_text("theirs")
    service.start(*(["api"] if settings else ["redis", "api", "denzel"]))

    def reason() -> str:
        document = service.get("/ready").json()
        return next((worker["error"] or "" for worker in document.get("workers", ())), "")

    expected = (
        f"app/assets/model.bin is not the file that was pinned: its SHA-256 is {sha256('theirs')}, app/assets.sha256 "
        f"expects {sha256('mine')}. If it is meant to be: make lock-assets"
    )
    eventually(lambda: expected in reason(), lambda: f"the reason is told, not {reason()!r}", 60)
    assert not (service.project / "logs/loads.txt").exists()

    model.write_text("mine")
    eventually(lambda: service.get("/ready").status_code == 200, "the right one is taken up", 60)
    assert service.predict({"data": {}}).json() == {"model": "mine"}

    # one that was added, and might be found first
    names = ["api"] if settings else ["denzel", "api"]
    for name in names:
        service.stop(name)
    (service.project / "app/assets/model.bin.new").write_text("theirs")
    service.start(*names)
    eventually(lambda: "app/assets/model.bin.new is not in app/assets.sha256" in reason(), reason, 60)
    lock_assets(service)
    eventually(lambda: service.get("/ready").status_code == 200, "what is pinned now is loaded", 60)
