"""What the executor without a queue says of a task behind the request that brought it."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

from denzel.executor import Task
from denzel.inline.executor import InlineExecutor
from denzel.log.about import REQUEST, About
from denzel.pipeline.in_api import UserPipeline
from denzel.settings import Settings


class Interrupted(Exception):
    """Ends a callback's attempts."""


def test_a_callback_is_about_its_task_alone_not_about_the_batch_that_it_ran_in() -> None:
    said: dict[str, About] = {}

    class Sender:
        async def send(self, task_id: str, *_: Any) -> Any:
            said[task_id] = REQUEST.get()
            raise Interrupted

    async def test() -> None:
        pipeline = UserPipeline(10.0, ModuleType("pipeline"))
        executor = InlineExecutor(Settings.from_environment({"EXECUTOR": "inline"}), pipeline)
        executor._sender = Sender()  # type: ignore[assignment]
        origins = {"one": "from-one,,,", "two": "from-two,,,"}
        tasks = [Task(name, b"{}", "async", "http://127.0.0.1/", origin=text) for name, text in origins.items()]
        records = [executor._records.add(task, "async") for task in tasks]
        REQUEST.set(list(origins.items()))
        for record in records:
            executor._finish(record, "SUCCESS", b"1", b"")
        ended = await asyncio.gather(*executor._background, return_exceptions=True)
        assert [type(one) for one in ended] == [Interrupted] * 2
        assert said == {name: [(name, text)] for name, text in origins.items()}

    asyncio.run(test())
