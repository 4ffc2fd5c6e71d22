"""Attacks and their answers, on real processes of a baked project."""

from tests.service.conftest import (  # noqa: F401 - fixtures
    baked,
    new_project,
    new_service,
    pytest_runtest_makereport,
    pytest_runtest_setup,
)
