"""LitServe; WORKERS processes, and batches of at most BATCH within 5 ms where that is more than 1."""

from __future__ import annotations

import os
from typing import Any

import iris
import litserve

BATCH = int(os.environ.get("BATCH", "1"))


class Iris(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = iris.load_model()

    def decode_request(self, request):  # LitServe takes an annotation for the declaration of a body
        return iris.verify(request)

    def predict(self, inputs: Any) -> Any:
        return iris.answer(self.model, inputs) if BATCH == 1 else iris.answer_many(self.model, inputs)

    def encode_response(self, output: dict[str, str]) -> dict[str, str]:
        return output


class BatchedIris(Iris):
    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output


if __name__ == "__main__":
    api = Iris() if BATCH == 1 else BatchedIris(max_batch_size=BATCH, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=int(os.environ.get("WORKERS", "1")))
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False, log_level="warning")
