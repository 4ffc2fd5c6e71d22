"""FastAPI with Celery, as the tutorials of both show it: the tasks."""

from __future__ import annotations

import os
from typing import Any

import iris
from celery import Celery
from celery.signals import worker_process_init

celery_app = Celery("tasks", broker=os.environ["REDIS"], backend=os.environ["REDIS"])
model: Any = None


@worker_process_init.connect
def load(**_: Any) -> None:
    global model
    model = iris.load_model()


@celery_app.task
def predict(body: dict[str, Any]) -> dict[str, str]:
    return iris.answer(model, body)
