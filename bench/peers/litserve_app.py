"""LitServe; WORKERS processes, and batches of at most BATCH within 5 ms where that is more than 1."""

from __future__ import annotations

import os
from typing import Any

import litserve
import work


class Model(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = work.load_model()

    def decode_request(self, request):  # LitServe takes an annotation for the declaration of a body
        return work.verify(request)

    def predict(self, inputs: Any) -> Any:
        return work.answer(self.model, inputs) if work.BATCH == 1 else work.answer_many(self.model, inputs)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


class BatchedModel(Model):
    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output


if __name__ == "__main__":
    api = Model() if work.BATCH == 1 else BatchedModel(max_batch_size=work.BATCH, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=work.WORKERS)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False, log_level="warning")
