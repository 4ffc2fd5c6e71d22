"""The executor without a queue: the model in the API process, no Redis.

For a single container, for tests, for the smallest deployment. Requests wait in memory, bounded; asynchronous mode,
callbacks and /status work, but nothing survives a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import orjson

from denzel import card, jsonio, origin
from denzel.admission import Admission, Refused, why_refused
from denzel.callbacks.bounds import OwnBounds
from denzel.callbacks.sender import Sender
from denzel.executor import ACCEPTED, RAN_OUT, NotTaken, Outcome, QueueFull, Task, Tell, mark_of
from denzel.inline.records import Record, Records, now
from denzel.log import about
from denzel.metrics.counts import COUNTS
from denzel.pipeline import errors, loading, stages
from denzel.pipeline.batch import BatchRunner, Call, failure
from denzel.pipeline.batch_size import BatchSize
from denzel.pipeline.in_api import UserPipeline
from denzel.pipeline.on_loop import Overdue
from denzel.pipeline.speed import Speed
from denzel.pipeline.thread import Stuck
from denzel.record import CANCELLED, FINAL, Ending, status_body
from denzel.settings import Settings
from denzel.threads import limit_torch
from denzel.timings import UNKNOWN, CallTimes
from denzel.tracing.spans import NO_SPANS, Spans

log = logging.getLogger("denzel.api")

# Tasks run together at the most, when the pipeline merges.
MOST_TASKS = 128
# Pauses between the attempts of a callback (seconds).
CALLBACK_PAUSES = (5, 15, 60, 300)


class InlineExecutor:
    """Runs the pipeline in this process, where `verify_input` runs, too; see `Executor` for the methods."""

    def __init__(self, settings: Settings, pipeline: UserPipeline, spans: Spans = NO_SPANS) -> None:
        self.ending = False
        self._spans = spans
        self._settings = settings
        self._pipeline = pipeline
        self._thread = pipeline.thread
        self._records = Records(settings.sync_result_expires, settings.result_expires)
        self._waiting: list[Record] = []
        self._waiting_bytes = 0  # of their requests
        self._working: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._runner: BatchRunner | None = None
        self._size = BatchSize(1)
        self._speed = Speed()
        self._admission = Admission(settings.max_wait_async)
        self._bounds = OwnBounds(settings.callback_connections, settings.callback_retries)
        self._running = 0  # tasks that the pipeline is at
        self._error: str | None = None
        self._version = ""  # of the model

    async def start(self) -> None:
        log.warning("EXECUTOR=inline: the model runs in the API process; tasks do not survive a restart")
        settings = self._settings
        self._sender = await Sender(
            settings.callback_policy, settings.callback_secret, settings.callback_timeout,
            ca=settings.callback_ca, proxy=settings.callback_proxy,
        ).__aenter__()  # fmt: skip
        self._spawn(self._load())

    async def stop(self) -> None:
        if self._working:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._working), self._settings.stop_grace)
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._sender.__aexit__(None, None, None)

    async def submit(self, task: Task) -> Outcome:
        self._records.forget_expired()
        self._has_room(len(task.request))
        live = self._settings.sync_timeout
        mode = ("sync" if live else "async") if task.mode == "live" else task.mode
        self._let_in(task, (task.wait or live) if mode == "sync" else 0)
        if mode == "sync" and task.awaited and self._problem:
            raise NotTaken(self._problem)
        record = self._records.add(task, mode)
        self._waiting.append(record)
        self._waiting_bytes += record.share.size
        self._work()
        if mode == "async" or not task.awaited:
            return ACCEPTED
        try:
            return await asyncio.wait_for(asyncio.shield(record.done), task.wait or live)
        except asyncio.TimeoutError:
            record.mode = "poll"
            record.fields[b"mode"] = b"poll"
            return RAN_OUT

    def begin(self, task: Task, tell: Tell | None) -> None:
        return None

    async def finish(self, task: Task) -> Outcome:
        raise LookupError("no task begins without being submitted")

    def _has_room(self, size: int) -> None:
        """Raise QueueFull where no further request of this size may wait. Where nothing else does, any may."""
        why, most = f"{len(self._waiting)} tasks are waiting already", self._settings.max_queue_bytes
        if len(self._waiting) >= self._settings.max_queue:
            raise QueueFull(why)
        if most and self._waiting_bytes and self._waiting_bytes + size > most:  # auto: API_MEMORY bounds them
            raise QueueFull(f"{why}, with as many bytes as may (MAX_QUEUE_BYTES)")

    def _take_out(self, record: Record) -> None:
        """It does not wait any longer."""
        self._waiting.remove(record)
        self._waiting_bytes -= record.share.size

    def _let_in(self, task: Task, wait: float) -> None:
        """Raise QueueFull when so much waits that the task would take too long."""
        ahead = len(self._waiting) + self._running / 2 if self._waiting else 0
        known = task.mark.encode() if task.kept else task.request
        speed, call = self._speed.tasks_per_second, self._speed.seconds_per_call
        try:
            self._admission.check(time.monotonic(), known, wait, ahead, speed, call)
        except Refused as error:
            why = why_refused(error.expected, wait or self._settings.max_wait_async, not wait)
            raise QueueFull(why, error.retry_after, f"in {error.retry_after} s") from None

    def withdraw(self, task_id: str) -> None:
        record = self._records.get(task_id)
        if record and record in self._waiting and record.mode == "sync" and not record.task.kept:
            self._take_out(record)
            result = orjson.dumps({"args": ["its client has gone"], "type": "TaskRevokedError"})
            self._finish(record, "REVOKED", result, b'"The client has gone."')

    def end_waits(self) -> None:
        pass  # nothing of this process can be polled when it has ended

    async def status(self, task_id: str) -> dict[str, Any] | None:
        self._records.forget_expired()
        record = self._records.get(task_id)
        return status_body(record.fields) if record else None

    async def cancel(self, task_id: str) -> str | None:
        record = self._records.get(task_id)
        if record is None:
            return None
        found = record.fields[b"status"].decode()
        if found not in FINAL:
            # What runs already is let end; its answer is discarded.
            if record in self._waiting:
                self._take_out(record)
            self._finish(record, *CANCELLED)
        return found

    async def reserve(self, key: str, digest: str, task_id: str, accepted: bool = False) -> tuple[str, str]:
        return self._records.reserve(mark_of(key), digest, task_id)

    async def release(self, key: str, task_id: str) -> None:
        self._records.release(mark_of(key), task_id)

    def oldest(self) -> float:
        """Seconds for which the oldest waiting task has waited; 0: none waits."""
        return max(0.0, time.time() - float(self._waiting[0].fields[b"accepted"])) if self._waiting else 0.0

    async def response_timeout(self) -> float:
        return self._settings.sync_timeout

    async def readiness(self) -> dict[str, Any]:
        if self._runner:
            state, error = "UP", None
        elif self._problem:
            state, error = "ERROR", self._problem
        else:
            state, error = "LOADING", None
        worker = {"name": f"worker@{self._settings.project_slug}", "state": state, "error": error}
        reason = None if self._runner else error or "the model is loading"
        body = {"ready": reason is None, "reason": reason, "workers": [worker], "queue": len(self._waiting)}
        return {**body, "model_version": self._version} if self._version else body

    @property
    def _problem(self) -> str | None:
        """Why there is no model, where that is an error of the user's code."""
        return None if self._runner else self._error or self._pipeline.problem

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _load(self) -> None:
        """Load the model in the user's thread; tries again for ever, after 1 second, doubling to 60."""
        pause = 1.0
        while (module := self._pipeline.module) is None:  # which is tried again elsewhere
            await asyncio.sleep(0.5)
        while True:
            try:
                began = time.monotonic()
                model, self._version = await self._thread.run("load_model", None, card.load, module.load_model)
                limit_torch()
            except Exception as error:
                COUNTS.not_loaded()
                self._error = loading.loading_problem(error)
                log.error("%s; trying again in %g s\n%s", self._error, pause, errors.traceback_of(error))
                await asyncio.sleep(pause)
                pause = min(60.0, pause * 2)
            else:
                COUNTS.loaded(time.monotonic() - began)
                self._pipeline.model = model
                self._runner = BatchRunner(module, model, self._settings.max_batch_size, self._watched)
                self._size = BatchSize(MOST_TASKS if self._runner.merges else 1)
                self._work()
                return

    def _work(self) -> None:
        if self._runner and self._waiting and self._working is None:
            self._working = asyncio.create_task(self._run(self._runner))

    async def _run(self, runner: BatchRunner) -> None:
        try:
            while self._waiting:
                count = self._size.plan.portion(len(self._waiting))
                batch, self._waiting = self._waiting[:count], self._waiting[count:]
                self._waiting_bytes -= sum(record.share.size for record in batch)
                for record in batch:
                    COUNTS.queued(max(0.0, time.time() - float(record.fields[b"accepted"])))
                    record.fields.update({b"status": b"STARTED", b"started": now(), b"attempts": b"1"})
                began, left, self._running = time.monotonic(), bool(self._waiting), len(batch)
                limit = self._size.plan.most
                for call in runner.calls([one.task.request for one in batch], [one.task.id for one in batch]):
                    tasks = [batch[position].task for position in call.positions]
                    about.REQUEST.set([(task.id, task.origin) for task in tasks])
                    COUNTS.run(len(tasks))
                    outcomes = await self._outcomes(runner, call)
                    COUNTS.ran(len(tasks))
                    measured = runner.measured if len(runner.measured) == len(outcomes) else [UNKNOWN] * len(outcomes)
                    for position, outcome, times in zip(call.positions, outcomes, measured, strict=True):
                        self._finish(batch[position], *outcome, model=self._version, times=times)
                self._size.record(len(batch), time.monotonic() - began)
                self._speed.record(len(batch), time.monotonic() - began, limit, left)
        finally:
            self._running = 0
            self._working = None

    def _watched(self, module: ModuleType, model: Any, data: Any) -> Any:
        """One call of the pipeline."""
        assert self._runner
        watch, again = self._runner.watch, False
        watch.start()  # whatever comes before it does by itself
        try:
            with self._spans.call(about.current(), watch):
                return stages.predictions(module, model, data, watch)
        except Overdue:  # it is called once more, in the thread
            again = True
            raise
        finally:
            if not again:
                COUNTS.called(watch.process, watch.predict)

    async def _outcomes(self, runner: BatchRunner, call: Call) -> list[Ending]:
        """How the requests of a call ended; each of them has an outcome, whatever goes wrong."""
        try:
            return await self._predict(runner, call)
        except Stuck:
            if len(call.requests) > 1:  # each is responsible for itself alone
                return [outcome for one in call.apart() for outcome in await self._outcomes(runner, one)]
            reason = f"timed out after {self._settings.task_time_limit:g} s"
            result = jsonio.dumps({"args": [reason], "type": "TimeLimitExceeded"})
            return [("FAILURE", result, jsonio.dumps(reason))]
        except Exception as error:
            log.exception("Tasks could not be run")
            return [failure(error)] * len(call.requests)

    async def _predict(self, runner: BatchRunner, call: Call) -> list[Ending]:
        def succeeded(outcomes: list[Ending]) -> bool:
            return all(status == "SUCCESS" for status, _, _ in outcomes)

        size = sum(map(len, call.requests))
        patience = self._settings.task_time_limit or None
        return await self._thread.run_short("predict", patience, runner.run, lambda: (call,), size, succeeded)

    def _finish(
        self, record: Record, status: str, result: bytes, message: bytes, model: str = "", times: CallTimes = UNKNOWN
    ) -> None:
        if record.fields[b"status"].decode() in FINAL:
            return
        if model:
            record.fields[b"model"] = model.encode()
        if times.batch:
            record.fields[b"times"] = times.text.encode()
        self._records.end(record, status, result, message)
        if not record.done.done():
            payload = record.fields[b"result"] if status == "SUCCESS" else message
            record.done.set_result(Outcome(status, payload, model, times))
        if record.mode == "async" and record.task.callback_uri:
            self._spawn(self._call_back(record, record.task.callback_uri))

    async def _call_back(self, record: Record, uri: str) -> None:
        about.REQUEST.set([(record.task.id, record.task.origin)])
        if record.fields[b"status"] == b"SUCCESS":
            body = record.fields[b"result"]
        else:
            body = jsonio.dumps(status_body(record.fields), jsonio.DEEPER)
        receiver = urlsplit(uri).netloc.lower()
        for attempt, pause in enumerate((*CALLBACK_PAUSES, None), start=1):
            came = origin.parse(record.task.origin)
            with self._spans.attempt(record.task.id, came, "") as sending:
                headers = origin.for_receiver(record.task.id, sending.origin)
                async with self._bounds.connection(receiver):
                    answer = await self._sender.send(record.task.id, uri, body, headers)
                sending.end(answer.status, answer.logged)
            COUNTS.called_back(answer.error is None, answer.seconds)
            delivered = answer.status is not None and 200 <= answer.status < 300
            last = delivered or pause is None or answer.refused or answer.status == 410
            last = last or not self._bounds.may_retry(receiver)
            state = "delivered" if delivered else "gone" if answer.status == 410 else "failed" if last else "pending"
            shown = {"state": state, "attempts": attempt, "last_status": answer.status, "last_error": answer.error}
            record.fields[b"callback"] = orjson.dumps(shown)
            COUNTS.delivery(state, attempt)
            if not delivered:
                log.warning("The callback of %s failed (%s)", record.task.id, answer.logged)
            if last:
                return
            await asyncio.sleep(pause or 0)
