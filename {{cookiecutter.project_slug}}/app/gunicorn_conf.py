"""How gunicorn runs the API (`entrypoints/api.sh`)."""

from uvicorn_worker import UvicornWorker

from app.settings import get_settings

_settings = get_settings()


class Worker(UvicornWorker):
    """Uvicorn's protocol under gunicorn: of a request to /predict, its share costs a third less than gunicorn's own."""

    CONFIG_KWARGS = {"loop": "auto", "http": "httptools", "access_log": False, "server_header": False}  # noqa: RUF012


bind = _settings.api_bind
# The inline executor keeps its tasks in memory, where a second process would not find them.
workers = 1 if _settings.executor == "inline" else _settings.api_workers
worker_class = Worker
# A process whose event loop has been stuck for this long is replaced (seconds).
timeout = 60
# A client that waits for a synchronous answer is let finish when the service stops.
graceful_timeout = 30
keepalive = 75
loglevel = _settings.log_level
control_socket_disable = True
