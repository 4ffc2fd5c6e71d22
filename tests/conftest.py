"""What all levels of tests share: no bytecode in the template, and a Cookiecutter of their own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Whatever lies in the template's folder is baked, bytecode too.
sys.dont_write_bytecode = True
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"

# A parent that ignores these (nohup, a shell's background job) hands that down to every process that a test starts;
# what the tests send them must arrive.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _own_cookiecutter_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep every Cookiecutter that a test starts away from ~/.cookiecutterrc and ~/.cookiecutters."""
    from tests.support.bakery import configuration

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COOKIECUTTER_CONFIG", str(configuration(tmp_path_factory.mktemp("cookiecutter"))))
        yield


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Iris project, baked with the default answers. Look, but do not touch: all tests share it."""
    from tests.support.bakery import bake

    return bake(tmp_path_factory.mktemp("iris"))
