"""FastAPI with the model in its own process: no queue, no task that survives anything, no status."""

from __future__ import annotations

from typing import Any

import work
from fastapi import FastAPI, HTTPException

app = FastAPI()
model = work.load_model()


@app.post("/predict")
async def predict(body: dict[str, Any]) -> dict[str, Any]:
    try:
        work.verify(body)
    except Exception as error:
        raise HTTPException(400, str(error)) from None
    return work.answer(model, body)
