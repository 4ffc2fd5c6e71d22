"""FastAPI with the model in its own process: no queue, no task that survives anything, no status."""

from __future__ import annotations

from typing import Any

import iris
from fastapi import FastAPI, HTTPException

app = FastAPI()
model = iris.load_model()


@app.post("/predict")
async def predict(body: dict[str, Any]) -> dict[str, str]:
    try:
        iris.verify(body)
    except Exception as error:
        raise HTTPException(400, str(error)) from None
    return iris.answer(model, body)
