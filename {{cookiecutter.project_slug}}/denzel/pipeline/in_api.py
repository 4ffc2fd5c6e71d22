"""The user's module in the API process: imported, tried again while it cannot be, its `verify_input` called."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from denzel import jsonio
from denzel.edits import Edits
from denzel.pipeline import errors, loading, stages
from denzel.pipeline.on_loop import Overdue
from denzel.pipeline.thread import UserThread
from denzel.pipeline.thread_bound import thread_bound

log = logging.getLogger("denzel.api")

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds until a pipeline.py with an error is tried again


class Doubtful(Exception):
    """User code failed on the event loop; in its own thread it may not."""


class UserPipeline:
    """The pipeline and the thread that its functions run in.

    Args:
        patience: seconds that `verify_input` gets.
        module: in place of the user's own, which is imported otherwise.

    Attributes:
        module: None while it cannot be imported.
        problem: why not.
        model: what its functions work on, where that is here.
    """

    def __init__(self, patience: float, module: ModuleType | None = None) -> None:
        self.thread = UserThread()
        self.thread.loop_calls.examine = self._forbids_loop
        self.thread.prepare = self._import_again
        self.module = module
        self.model: Any = None
        self._is_users = module is None
        self.problem: str | None = None
        self._patience = patience
        self._retrying: asyncio.Task[None] | None = None
        if module is not None:
            return
        self._edits = Edits()
        try:
            self.module = self.thread.run_first(loading.import_pipeline)
        except loading.PipelineError as error:
            self._fail(error, _FIRST_PAUSE)

    def start(self) -> None:
        """Try again until the module can be imported: a corrected file needs no restart."""
        if self.module is None:
            self._retrying = asyncio.create_task(self._retry())

    def stop(self) -> None:
        """Try no more."""
        if self._retrying:
            self._retrying.cancel()

    def may_verify_now(self, size: int) -> bool:
        """Whether `verify_now` may be called, for a request of so many bytes."""
        return self.module is not None and self.thread.is_free_for("verify_input", size)

    def verify_now(self, json_data: Any) -> tuple[bytes, Any] | None:
        """The same as `verify`, without waiting; None when it takes too long after all.

        Raises:
            Doubtful: it failed here; whether it fails in its thread, too, `verify` says.
        """
        try:
            return self.thread.call_now("verify_input", self._verified, json_data)
        except Overdue:
            return None
        except BaseException:  # a user's exit() must not end the process
            raise Doubtful from None

    async def verify(self, json_data: Any, body: bytes | bytearray, doubtful: bool = False) -> tuple[bytes, Any]:
        """What `verify_input` made of a request, which is `body` parsed: as JSON, and its callback_uri.

        Args:
            doubtful: `verify_now` has failed.

        Raises:
            PipelineError: there is no module.
            Stuck: it did not return in time.
            BadAnswer: it returned nothing, or what JSON cannot hold.
            jsonio.TooDeep: what it returned is nested too deep.
            Exception: what it raised.
        """
        if self.module is None:
            raise loading.PipelineError(self.problem)
        parsed = [json_data]

        def arguments() -> tuple[Any]:
            return (parsed.pop() if parsed else jsonio.loads(body),)

        return await self.thread.run_short(
            "verify_input", self._patience, self._verified, arguments, len(body), doubtful=doubtful
        )

    async def verify_parsed(self, parse: Callable[[], Any]) -> tuple[bytes, Any]:
        """The same as `verify`, of a request that is parsed in the thread, too; what `parse` raises is raised.

        The callback_uri is that of the request, unless `verify_input` returned another one.
        """
        if self.module is None:
            raise loading.PipelineError(self.problem)
        return await self.thread.run("verify_input", self._patience, self._parsed, parse)

    def _parsed(self, parse: Callable[[], Any]) -> tuple[bytes, Any]:
        json_data = parse()
        uri = stages.callback_uri(json_data)
        request, verified_uri = self._verified(json_data)
        return request, verified_uri or uri

    def _verified(self, json_data: Any) -> tuple[bytes, Any]:
        assert self.module is not None
        return stages.verified_request(self.module, json_data)

    def _forbids_loop(self) -> str | None:
        """Why its functions must not be called in another thread than the one that has imported it."""
        found = thread_bound(self.module, self.model)
        return f"they hold something that belongs to its thread ({found})" if found else None

    def _import_again(self) -> None:
        """In a new thread: what belonged to the one that was given up is made anew, as by a new process."""
        if self._is_users and (found := thread_bound(self.module)):
            log.warning("The pipeline holds what belongs to that thread (%s): it is imported again", found)
            try:
                self.module = loading.import_pipeline()
            except loading.PipelineError as error:
                log.error("%s; the pipeline stays as it was\n%s", error, errors.traceback_of(error))

    async def _retry(self) -> None:
        pause = _FIRST_PAUSE
        while self.module is None:
            edited = await self._edited(pause)
            pause = _FIRST_PAUSE if edited else min(_LONGEST_PAUSE, pause * 2)
            try:
                self.module = await self.thread.run("pipeline.py", None, loading.import_pipeline)
            except loading.PipelineError as error:
                self._fail(error, pause)
            else:
                self.problem = None
                log.info("The pipeline can be used now")

    async def _edited(self, seconds: float) -> bool:
        """Sleep, but no longer than until the user's files are edited; whether they were."""
        if await asyncio.to_thread(self._edits.in_code):  # while it was imported
            return True
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, self._edits.pause))
            if await asyncio.to_thread(self._edits.look):
                return True
        return False

    def _fail(self, error: loading.PipelineError, pause: float) -> None:
        if str(error) == self.problem:
            log.error("%s; trying again in %g s", error, pause)
        else:
            log.error("%s; trying again in %g s\n%s", error, pause, errors.traceback_of(error))
        self.problem = str(error)
