"""`make doctor` beside a service that runs."""

from __future__ import annotations

import re

from tests.local.running import Dev, make


def test_doctor_tells_what_the_model_takes(iris_dev: Dev) -> None:
    done = make(iris_dev.project, "doctor")
    assert re.search(r"Memory: \d+ process\S* holds? the model, \d+ MB.*; \d+\.\d GB are free", done.stdout), (
        done.stdout
    )
