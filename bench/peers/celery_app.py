"""FastAPI with Celery, as the tutorials of both show it: the API."""

from __future__ import annotations

from typing import Any

import iris
from celery_tasks import predict as predict_task
from fastapi import FastAPI, HTTPException

app = FastAPI()


@app.post("/predict")
def predict(body: dict[str, Any]) -> dict[str, str]:
    try:
        iris.verify(body)
    except Exception as error:
        raise HTTPException(400, str(error)) from None
    return predict_task.delay(body).get(timeout=10)
