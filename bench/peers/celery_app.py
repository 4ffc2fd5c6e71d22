"""FastAPI with Celery, as the tutorials of both show it: the API."""

from __future__ import annotations

from typing import Any

import work
from celery_tasks import predict as predict_task
from fastapi import FastAPI, Header, HTTPException, Response

app = FastAPI()


@app.post("/predict")
def predict(body: dict[str, Any], response: Response, prefer: str = Header(default="")) -> dict[str, Any]:
    try:
        work.verify(body)
    except Exception as error:
        raise HTTPException(400, str(error)) from None
    task = predict_task.delay(body)
    if prefer != "respond-async":
        return task.get(timeout=60)
    response.status_code = 202
    return {"task_id": task.id}
