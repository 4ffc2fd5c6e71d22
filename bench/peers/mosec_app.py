"""mosec; WORKERS processes, and batches of at most BATCH within 5 ms where that is more than 1."""

from __future__ import annotations

from typing import Any

import work
from mosec import Server, ValidationError, Worker


class Model(Worker):
    def __init__(self) -> None:
        super().__init__()
        self.model = work.load_model()

    def forward(self, data: Any) -> Any:  # with batches, a list of what came
        try:
            for body in [data] if work.BATCH == 1 else data:
                work.verify(body)
        except Exception as error:
            raise ValidationError(str(error)) from None
        return work.answer(self.model, data) if work.BATCH == 1 else work.answer_many(self.model, data)


if __name__ == "__main__":
    server = Server()
    wait = 5 if work.BATCH > 1 else 0  # milliseconds
    server.append_worker(Model, num=work.WORKERS, max_batch_size=work.BATCH, max_wait_time=wait)
    server.run()
