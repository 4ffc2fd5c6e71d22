"""gunicorn's log, and uvicorn's, which takes its handlers: in the form of all others where that is JSON."""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger

from denzel.logs.configure import form
from denzel.logs.forms import JsonForm
from denzel.logs.output import own_stream
from denzel.settings import get_settings


class ServerLog(Logger):
    """gunicorn's own, but for the form of its lines."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        chosen = form(get_settings(), "api")
        if isinstance(chosen, JsonForm):
            for handler in self.error_log.handlers:
                handler.setFormatter(chosen)
                handler.setStream(own_stream("stderr"))  # type: ignore[attr-defined]
