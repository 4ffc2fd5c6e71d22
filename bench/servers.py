"""The servers that are compared, and how each is installed, started and asked: the same model and work for all."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import environments
import service
from paths import CACHE, PEERS
from processes import Decode, Encode, Server, free_port, plain

Request = dict[str, Any]


def ours(sink: str) -> Server:
    """This template's service as it is baked; callbacks may go to the sink."""
    return service.server("denzel-template", service.bake("iris_classifier"), CALLBACK_ALLOW=sink)


def ours_not_batchable(sink: str) -> Server:
    """The same without BATCHABLE: each request is a call of the pipeline by itself."""
    project = service.bake("iris_apart", service.iris_pipeline(batchable=False))
    return service.server("denzel-template, not BATCHABLE", project)


def ours_inline(sink: str) -> Server:
    """The same with the model in the API's process: no queue, no Redis."""
    return service.server("denzel-template, inline", service.bake("iris_inline"), EXECUTOR="inline")


def denzel(sink: str) -> Server:
    """Denzel 0.3.0 as it was published, its calls of Falcon and Redis brought up to date."""
    found, port, redis = environments.peer("denzel"), free_port(), free_port()
    app = CACHE / "denzel"
    _denzel_app(found, app)
    processes = {
        "redis": _plain_redis(redis),
        "worker": f"{found.bin}/celery -A app.tasks worker --loglevel=warning -n worker@iris",
        "api": f"{found.bin}/gunicorn -b 127.0.0.1:{port} --timeout=600 app:app",
    }
    url = f"redis://127.0.0.1:{redis}/0"
    return Server("Denzel 0.3", processes, port, app, environment={"CELERY_BROKER": url, "CELERY_BACKEND": url})


def fastapi(processes: int) -> Callable[[str], Server]:
    """FastAPI with the model in its own process or processes."""
    return lambda sink: _uvicorn(f"FastAPI in-process, {processes}", "fastapi", "fastapi_app", processes)


def fastapi_batching(sink: str) -> Server:
    """FastAPI in-process with batches made by hand."""
    return _uvicorn("FastAPI in-process, own batching", "fastapi", "fastapi_batching")


def litserve(name: str, **settings: str) -> Callable[[str], Server]:
    """LitServe, with these settings of peers/litserve_app.py."""

    def make(sink: str) -> Server:
        python, port = environments.peer("litserve").bin / "python", free_port()
        return _peer(name, {"api": f"{python} litserve_app.py"}, port, {"PORT": str(port), **settings})

    return make


def bentoml(sink: str) -> Server:
    """BentoML with adaptive batching."""
    port = free_port()
    command = f"{environments.peer('bentoml').bin}/bentoml serve bentoml_app:Iris --host 127.0.0.1 --port {port}"
    return _peer(
        "BentoML",
        {"api": command},
        port,
        encode=lambda request: {"data": [request]},
        decode=lambda answer, request: answer[0],
    )


def mlserver(sink: str) -> Server:
    """MLServer with adaptive batching."""
    settings = {f"MLSERVER_{name}_PORT": str(free_port()) for name in ("HTTP", "GRPC", "METRICS")}
    settings |= {"MLSERVER_HOST": "127.0.0.1", "MLSERVER_DEBUG": "false", "MLSERVER_PARALLEL_WORKERS": "1"}
    return _peer(
        "MLServer",
        {"api": f"{environments.peer('mlserver').bin}/mlserver start ."},
        int(settings["MLSERVER_HTTP_PORT"]),
        settings,
        cwd=PEERS / "mlserver_app",
        path="/v2/models/iris/infer",
        encode=_mlserver_request,
        decode=lambda answer, request: dict(zip(request["data"], answer["outputs"][0]["data"], strict=True)),
    )


def celery(sink: str) -> Server:
    """FastAPI and Celery, as their tutorials put them together."""
    programs, port, redis = environments.peer("celery").bin, free_port(), free_port()
    processes = {
        "redis": _plain_redis(redis),
        "worker": f"{programs}/celery -A celery_tasks worker --loglevel=warning -n iris@bench",
        "api": f"{programs}/uvicorn celery_app:app --host 127.0.0.1 --port {port} --no-access-log --log-level warning",
    }
    return _peer("FastAPI + Celery", processes, port, {"REDIS": f"redis://127.0.0.1:{redis}/0"})


# Called with the sink's address; in the order of the tables.
SERVERS: dict[str, Callable[[str], Server]] = {
    "ours": ours,
    "apart": ours_not_batchable,
    "inline": ours_inline,
    "denzel": denzel,
    "fastapi1": fastapi(1),
    "fastapi2": fastapi(2),
    "batching": fastapi_batching,
    "litserve": litserve("LitServe"),
    "litserve2": litserve("LitServe, 2 workers", WORKERS="2"),
    "litserve32": litserve("LitServe, batches of 32", BATCH="32"),
    "bentoml": bentoml,
    "mlserver": mlserver,
    "celery": celery,
}


def _peer(
    name: str,
    processes: Mapping[str, str],
    port: int,
    environment: Mapping[str, str] | None = None,
    cwd: Path = PEERS,
    path: str = "/predict",
    encode: Encode = plain,
    decode: Decode = plain,
) -> Server:
    """A server whose program lies in peers/ and takes the Iris pipeline from a folder of its own."""
    pipeline = CACHE / "pipeline"
    (pipeline / "app" / "logic").mkdir(parents=True, exist_ok=True)
    (pipeline / "app" / "logic" / "pipeline.py").write_text(service.iris_pipeline())
    return Server(name, processes, port, cwd, path, {"PIPELINE": str(pipeline), **(environment or {})}, encode, decode)


def _uvicorn(name: str, packages: str, module: str, workers: int = 1) -> Server:
    port = free_port()
    command = f"{environments.peer(packages).bin}/uvicorn {module}:app --host 127.0.0.1 --port {port}"
    return _peer(name, {"api": f"{command} --workers {workers} --no-access-log --log-level warning"}, port)


def _plain_redis(port: int) -> str:
    return f'redis-server --port {port} --bind 127.0.0.1 --save "" --appendonly no --loglevel warning --dir {CACHE}'


def _mlserver_request(request: Request) -> Request:
    rows = [list(flower.values()) for flower in request["data"].values()]
    numbers = [number for row in rows for number in row]
    return {"inputs": [{"name": "data", "shape": [len(rows), 4], "datatype": "FP64", "data": numbers}]}


def _denzel_app(found: environments.Environment, folder: Path) -> None:
    """Denzel's application from its wheel, with the Iris pipeline and the names that its libraries have today."""
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
    (folder / "app/logic/pipeline.py").write_text(service.iris_pipeline())
    path = folder / "app/__init__.py"
    text = path.read_text().replace("falcon.API()", "falcon.App()").replace("resp.body", "resp.text")
    text = text.replace("redis.Redis(host='redis')", "redis.Redis.from_url(os.environ['CELERY_BROKER'])")
    text = re.sub(r"(HTTPError\(falcon\.HTTP_400,)\s*('[^']*'),\s*", r"\1 title=\2, description=", text)
    path.write_text(f"import os\n{text}")
