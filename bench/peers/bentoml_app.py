"""BentoML with its adaptive batching; a batchable API takes a list, so each request sends a list of one."""

import os

import bentoml
import iris


@bentoml.service(
    workers=int(os.environ.get("WORKERS", "1")),
    traffic={"timeout": 30, "max_concurrency": 1000},
    logging={"access": {"enabled": False}},
)
class Iris:
    def __init__(self) -> None:
        self.model = iris.load_model()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def predict(self, data: list[dict]) -> list[dict]:
        for request in data:
            iris.verify(request)
        return iris.answer_many(self.model, data)
