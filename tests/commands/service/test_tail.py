"""Reading a log file to its end, and on from there."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from commands.service.tail import follow


def test_a_log_is_shown_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("one\ntwo\nunfinished", encoding="utf-8")
    assert list(follow(log, live=False)) == ["one\n", "two\n", "unfinished"]


def test_a_live_log_is_followed_over_its_rotation_line_by_line(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("one\n", encoding="utf-8")

    def write() -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write("tw")
            file.flush()
            time.sleep(0.1)
            file.write("o\n")
        os.replace(log, tmp_path / "worker.log.1")
        time.sleep(0.1)
        log.write_text("three\n", encoding="utf-8")

    lines = follow(log, live=True, interval=0.02)
    assert next(lines) == "one\n"
    writer = threading.Thread(target=write)
    writer.start()
    assert [next(lines), next(lines)] == ["two\n", "three\n"]
    writer.join()
