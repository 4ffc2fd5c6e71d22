"""FastAPI with Celery, as the tutorials of both show it: the tasks."""

from __future__ import annotations

import os
from typing import Any

import requests
import work
from celery import Celery
from celery.signals import worker_process_init

celery_app = Celery("tasks", broker=os.environ["REDIS"], backend=os.environ["REDIS"])
model: Any = None
session = requests.Session()


@worker_process_init.connect
def load(**_: Any) -> None:
    global model
    model = work.load_model()


@celery_app.task
def predict(body: dict[str, Any]) -> dict[str, Any]:
    predictions = work.answer(model, body)
    if receiver := body.get("callback_uri"):
        session.post(receiver, json=predictions, timeout=10).raise_for_status()
    return predictions
