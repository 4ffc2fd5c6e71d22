"""The servers that are compared, and how each is installed, started and asked: the same model and work for all.

Each peer gets the best configuration that its documentation describes for the workload, one process a core and batches
where they pay; `about` says which, and names the page. OMP_NUM_THREADS is 1 for all of them (processes.py).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environments
import service
from paths import CACHE, HERE
from paths import PEERS as PROGRAMS
from processes import Decode, Encode, Server, free_port, plain

Request = dict[str, Any]
PROCESSES = 2  # of the model, for each server: one a core on the machine of RESULTS.md
BATCH = 32  # requests, at most, of a server whose batches have a bound


@dataclass(frozen=True)
class Workload:
    """What is asked for, and what of it is particular to the peers.

    Attributes:
        merges: whether several requests can be one call of the model.
        pays: whether it then takes much less time than they take one by one.
        long: whether a call takes milliseconds, so that waiting a few for others does not cost more than it brings.
        checked: how many requests, no two the same, are there to check answers with.
    """

    name: str
    merges: bool
    pays: bool
    long: bool
    checked: int

    @property
    def pipeline(self) -> Path:
        """The four functions, in the form of a project's app/logic/pipeline.py; and `example`, which makes requests."""
        return HERE / "workloads" / f"{self.name}.py"


WORKLOADS = {
    found.name: found
    for found in (
        Workload("iris", merges=True, pays=True, long=False, checked=256),
        Workload("forest", merges=True, pays=True, long=True, checked=256),
        Workload("blob", merges=False, pays=False, long=False, checked=16),
        Workload("bulk", merges=True, pays=False, long=True, checked=16),
    )
}


@dataclass(frozen=True)
class Peer:
    """One of the servers of the tables.

    Attributes:
        title: the head of its column.
        about: how it is configured, and the page of its documentation that says so.
        make: the server for a workload.
        takes: whether it is measured with a workload.
    """

    title: str
    about: str
    make: Callable[[Workload], Server]
    takes: Callable[[Workload], bool] = lambda workload: True


def ours(workload: Workload, **settings: str) -> Server:
    """This template's service as it is baked."""
    project = service.bake(f"compare_{workload.name}", workload.pipeline.read_text(encoding="utf-8"))
    return service.server("denzel-template", project, **settings)


def inline(workload: Workload) -> Server:
    """The same with the model in the API's process: no queue, no Redis."""
    project = service.bake(f"inline_{workload.name}", workload.pipeline.read_text(encoding="utf-8"))
    return service.server("denzel-template, inline", project, EXECUTOR="inline")


def fastapi(module: str) -> Callable[[Workload], Server]:
    """FastAPI with the model in each of its processes: this module of peers/."""

    def make(workload: Workload) -> Server:
        port = free_port()
        command = (
            f"{environments.peer('fastapi').bin}/uvicorn {module}:app --host 127.0.0.1 --port {port} "
            f"--workers {PROCESSES} --no-access-log --log-level warning"
        )
        return _peer(module, workload, {"api": command}, port)

    return make


def mosec(batch: int) -> Callable[[Workload], Server]:
    """mosec with batches of at most this many requests."""

    def make(workload: Workload) -> Server:
        port = free_port()
        command = (
            f"{environments.peer('mosec').bin}/python mosec_app.py --address 127.0.0.1 --port {port} "
            f"--log-level warning --timeout 60000 --max-body-size {1 << 25}"
        )
        settings = {"WORKERS": str(PROCESSES), "BATCH": str(batch)}
        return _peer(f"mosec {batch}", workload, {"api": command}, port, settings, path="/inference")

    return make


def litserve(workload: Workload) -> Server:
    """LitServe, with batches where a call takes as long for many requests as for one."""
    python, port = environments.peer("litserve").bin / "python", free_port()
    settings = {
        "PORT": str(port),
        "WORKERS": str(PROCESSES),
        "BATCH": str(BATCH if workload.pays and workload.long else 1),
    }
    return _peer("LitServe", workload, {"api": f"{python} litserve_app.py"}, port, settings)


def bentoml(workload: Workload) -> Server:
    """BentoML, with its adaptive batching where that pays."""
    port = free_port()
    command = f"{environments.peer('bentoml').bin}/bentoml serve bentoml_app:Model --host 127.0.0.1 --port {port}"
    settings = {"WORKERS": str(PROCESSES), "BATCH": str(BATCH if workload.pays else 1)}
    return _peer(
        "BentoML",
        workload,
        {"api": command},
        port,
        settings,
        encode=lambda request: {"data": [request]},
        decode=lambda answer, request: answer[0],
    )


def mlserver(workload: Workload) -> Server:
    """MLServer, with its adaptive batching where that pays."""
    settings = {f"MLSERVER_{name}_PORT": str(free_port()) for name in ("HTTP", "GRPC", "METRICS")}
    settings |= {"MLSERVER_HOST": "127.0.0.1", "MLSERVER_DEBUG": "false", "MLSERVER_PARALLEL_WORKERS": str(PROCESSES)}
    if workload.pays:
        settings |= {"MLSERVER_MODEL_MAX_BATCH_SIZE": str(BATCH), "MLSERVER_MODEL_MAX_BATCH_TIME": "0.005"}
    return _peer(
        "MLServer",
        workload,
        {"api": f"{environments.peer('mlserver').bin}/mlserver start ."},
        int(settings["MLSERVER_HTTP_PORT"]),
        settings,
        cwd=PROGRAMS / "mlserver_app",
        path="/v2/models/model/infer",
        encode=_mlserver_request,
        decode=lambda answer, request: dict(zip(request["data"], answer["outputs"][0]["data"], strict=True)),
    )


def celery(workload: Workload) -> Server:
    """FastAPI and Celery, as their tutorials put them together."""
    programs, port, redis = environments.peer("celery").bin, free_port(), free_port()
    processes = {
        "redis": _plain_redis(redis),
        "worker": f"{programs}/celery -A celery_tasks worker --loglevel=warning -n model@bench",
        "api": f"{programs}/uvicorn celery_app:app --host 127.0.0.1 --port {port} --no-access-log --log-level warning",
    }
    return _peer("FastAPI + Celery", workload, processes, port, {"REDIS": f"redis://127.0.0.1:{redis}/0"})


def denzel(workload: Workload) -> Server:
    """Denzel 0.3.0 as it was published, its calls of Falcon and Redis brought up to date."""
    found, port, redis = environments.peer("denzel"), free_port(), free_port()
    app = CACHE / "denzel"
    _denzel_app(found, app, workload.pipeline)
    processes = {
        "redis": _plain_redis(redis),
        "worker": f"{found.bin}/celery -A app.tasks worker --loglevel=warning -n worker@model",
        "api": f"{found.bin}/gunicorn -b 127.0.0.1:{port} --timeout=600 app:app",
    }
    url = f"redis://127.0.0.1:{redis}/0"
    return Server("Denzel 0.3", processes, port, app, environment={"CELERY_BROKER": url, "CELERY_BACKEND": url})


# By the names that PEERS=... takes, in the order of the tables.
PEERS: dict[str, Peer] = {
    "fastapi": Peer(
        "FastAPI",
        "2 uvicorn processes with the model in each, no queue (https://fastapi.tiangolo.com/deployment/server-workers/)",
        fastapi("fastapi_app"),
    ),
    "batching": Peer(
        "FastAPI, hand-made batches",
        "the same; what comes in one turn of a process's event loop goes through the model together",
        fastapi("fastapi_batching"),
        lambda workload: workload.merges,
    ),
    "mosec": Peer(
        "mosec",
        "num=2 workers (https://mosecorg.github.io/mosec/reference/interface.html)",
        mosec(1),
    ),
    "mosec32": Peer(
        "mosec, batches",
        "the same with max_batch_size=32, max_wait_time=5 (https://mosecorg.github.io/mosec/reference/interface.html)",
        mosec(BATCH),
        lambda workload: workload.pays,
    ),
    "litserve": Peer(
        "LitServe",
        "workers_per_device=2 (https://lightning.ai/docs/litserve/api-reference/litserver), on forest with "
        "max_batch_size=32, batch_timeout=0.005 (https://lightning.ai/docs/litserve/features/batching)",
        litserve,
    ),
    "bentoml": Peer(
        "BentoML",
        "workers=2 (https://docs.bentoml.com/en/latest/build-with-bentoml/parallelize-requests.html), on iris and "
        "forest batchable, max_batch_size=32 (https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html)",
        bentoml,
    ),
    "mlserver": Peer(
        "MLServer",
        "parallel_workers=2 (https://docs.seldon.ai/mlserver/user-guide/parallel-inference), on iris and forest "
        "max_batch_size=32, max_batch_time=0.005 (https://docs.seldon.ai/mlserver/user-guide/adaptive-batching); asked "
        "over its own protocol",
        mlserver,
    ),
    "inline": Peer("denzel-template, inline", "this service with EXECUTOR=inline: no queue, no Redis", inline),
    "celery": Peer(
        "FastAPI + Celery",
        "as their tutorials put them together, one worker process a core "
        "(https://fastapi.tiangolo.com/, https://docs.celeryq.dev/en/stable/userguide/workers.html)",
        celery,
    ),
    "denzel": Peer("Denzel 0.3", "as its launch command starts it (https://denzel.readthedocs.io)", denzel),
}
# Measured with every workload unless others are asked for; `celery` and `denzel` are the peers of asynchronous.py.
USUAL = ("fastapi", "batching", "mosec", "mosec32", "litserve", "bentoml", "mlserver")


def _peer(
    name: str,
    workload: Workload,
    processes: Mapping[str, str],
    port: int,
    environment: Mapping[str, str] | None = None,
    cwd: Path = PROGRAMS,
    path: str = "/predict",
    encode: Encode = plain,
    decode: Decode = plain,
) -> Server:
    """A server whose program lies in peers/."""
    return Server(
        name, processes, port, cwd, path, {"PIPELINE": str(workload.pipeline), **(environment or {})}, encode, decode
    )


def _plain_redis(port: int) -> str:
    return f'redis-server --port {port} --bind 127.0.0.1 --save "" --appendonly no --loglevel warning --dir {CACHE}'


def _mlserver_request(request: Request) -> Request:
    """A tensor of texts, or of one row of numbers for each item."""
    items = list(request["data"].values())
    if isinstance(items[0], str):
        tensor = {"shape": [len(items), 1], "datatype": "BYTES", "data": items}
    else:
        rows = [list(item.values()) if isinstance(item, dict) else item for item in items]
        numbers = [number for row in rows for number in row]
        tensor = {"shape": [len(rows), len(rows[0])], "datatype": "FP64", "data": numbers}
    return {"inputs": [{"name": "data", **tensor}]}


def _denzel_app(found: environments.Environment, folder: Path, pipeline: Path) -> None:
    """Denzel's application from its wheel, with this pipeline and the names that its libraries have today."""
    shutil.rmtree(folder, ignore_errors=True)
    wheels = CACHE / "denzel-wheel"
    if not list(wheels.glob("denzel-0.3.0-*.whl")):
        pip = [
            str(found.bin / "python"),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "download",
            "--quiet",
            "--no-deps",
        ]
        subprocess.run([*pip, "--dest", str(wheels), "denzel==0.3.0"], check=True)
    with tempfile.TemporaryDirectory() as unpacked:
        with zipfile.ZipFile(next(wheels.glob("denzel-0.3.0-*.whl"))) as wheel:
            wheel.extractall(unpacked)
        shutil.copytree(Path(unpacked, "denzel", "app"), folder / "app")
    shutil.copy(pipeline, folder / "app/logic/pipeline.py")
    path = folder / "app/__init__.py"
    text = path.read_text().replace("falcon.API()", "falcon.App()").replace("resp.body", "resp.text")
    text = text.replace("redis.Redis(host='redis')", "redis.Redis.from_url(os.environ['CELERY_BROKER'])")
    text = re.sub(r"(HTTPError\(falcon\.HTTP_400,)\s*('[^']*'),\s*", r"\1 title=\2, description=", text)
    path.write_text(f"import os\n{text}")
