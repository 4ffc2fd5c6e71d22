"""gunicorn's log, and uvicorn's, which takes its handlers: as JSON where all others are, and never torn into lines."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.glogging import Logger

from denzel.log.forms import JsonForm, TextForm
from denzel.log.output import own_stream
from denzel.log.repeats import Repeats
from denzel.settings import get_settings


class ServerLog(Logger):
    """gunicorn's own, but for the form of its lines."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        is_json = get_settings().log_format == "json"
        repeats = Repeats(get_settings().log_repeats)
        for handler in self.error_log.handlers:
            handler.addFilter(repeats)
            handler.setFormatter(JsonForm("api") if is_json else TextForm(self.error_fmt, self.datefmt))
            if type(handler) is logging.StreamHandler:  # a file and syslog stay what they are
                handler.setStream(own_stream("stderr"))
