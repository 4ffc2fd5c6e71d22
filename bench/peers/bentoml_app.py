"""BentoML; WORKERS processes, with its adaptive batching where BATCH is more than 1.

A batchable API takes a list, so each request sends a list of one; the other kind takes the same here.
"""

import bentoml
import work


@bentoml.service(
    workers=work.WORKERS,
    traffic={"timeout": 60, "max_concurrency": 1000},
    logging={"access": {"enabled": False}},
)
class Model:
    def __init__(self) -> None:
        self.model = work.load_model()

    @bentoml.api(batchable=work.BATCH > 1, max_batch_size=max(work.BATCH, 2), max_latency_ms=1000)
    def predict(self, data: list[dict]) -> list[dict]:
        for request in data:
            work.verify(request)
        return work.answer_many(self.model, data)
