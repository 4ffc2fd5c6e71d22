"""The hooks of pytest; everything else stands in the other modules, which are imported when they are needed."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pytest_denzel import messages, project, settings
from pytest_denzel.project import CURRENT_TEST, PROJECT
from pytest_denzel.settings import SETTINGS

pytest_plugins = ("pytest_denzel.fixtures",)

# Of the collection: the projects beside the one that is tested, why a project cannot be, files that look like
# examples and are none, whether the tests are those that it was baked with, and whether it was found then.
OTHERS: pytest.StashKey[list[Path]] = pytest.StashKey()
REFUSED: pytest.StashKey[list[str]] = pytest.StashKey()
IN_SUBFOLDERS: pytest.StashKey[list[str]] = pytest.StashKey()
NOTHING_TESTED: pytest.StashKey[bool] = pytest.StashKey()
FOUND_LATE: pytest.StashKey[bool] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    settings.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Find the project before any conftest.py is loaded: it may import the project's modules.

    Raises:
        pytest.UsageError: a setting cannot be used, or project and plugin do not fit together.
    """
    if early_config.known_args_namespace.help:
        return  # help is given whatever the settings are
    read = settings.read(early_config)
    found = project.find(read.project, read.sources["project"], early_config)
    early_config.stash[SETTINGS] = read
    early_config.stash[PROJECT] = None
    early_config.stash[OTHERS], early_config.stash[REFUSED] = [], []
    if found:
        _use(early_config, found)


def _use(config: pytest.Config, found: project.Project) -> None:
    """Test this project from now on.

    Raises:
        pytest.UsageError: it and the plugin do not fit together.
    """
    config.stash[PROJECT] = found
    found.put_on_path()
    found.check_door()
    config.pluginmanager.import_plugin("pytest_denzel.short_names")


def pytest_configure(config: pytest.Config) -> None:
    if SETTINGS not in config.stash:  # a plugin that was registered late
        pytest_load_initial_conftests(config)
    config.addinivalue_line(
        "markers",
        "denzel_tier(*tiers): the test needs one of these tiers (inline, local, docker); it is skipped on others.",
    )


def pytest_report_header(config: pytest.Config) -> list[str] | None:
    found = config.stash[PROJECT]
    if found is None:
        return None
    from pytest_denzel import header

    return header.lines(found, config.stash[SETTINGS])


@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> pytest.CollectReport | None:
    """Use the project whose folder is about to be collected, before its conftest.py; leave out another one."""
    if not isinstance(collector, pytest.Directory) or not project.is_any_project(collector.path):
        return None
    config, folder = collector.config, collector.path
    current = config.stash[PROJECT]
    if current is None:
        try:
            _use(config, project.Project(folder, "found"))
        except pytest.UsageError as error:
            config.stash[REFUSED].append(str(error))
        else:
            config.stash[FOUND_LATE] = True
            return None
    elif (
        folder.resolve() == current.root.resolve()
        or config.stash[SETTINGS].sources["project"] == project.BY_COMMAND_LINE
    ):
        return None
    else:
        config.stash[OTHERS].append(folder)
    return pytest.CollectReport(collector.nodeid, "passed", None, [])


def pytest_report_collectionfinish(config: pytest.Config) -> list[str] | None:
    """The header of a project that was found by collecting it, and what was not collected."""
    lines = pytest_report_header(config) if config.stash.get(FOUND_LATE, False) else None
    if below := config.stash.get(IN_SUBFOLDERS, []):
        return [*(lines or []), messages.examples_in_subfolders(below)]
    return lines


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    found = parent.config.stash[PROJECT]
    if found is None or (file_path.suffix != ".json" and file_path.name != project.PIPELINE.name):
        return None
    from pytest_denzel.collected import collection

    if name := collection.in_subfolder(file_path, found):
        parent.config.stash.setdefault(IN_SUBFOLDERS, []).append(name)
    return collection.collector_for(file_path, parent, found, parent.config.stash[SETTINGS])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests that are for other tiers.

    Raises:
        pytest.UsageError: tests cannot be run together, or a mark cannot be understood.
    """
    _check_that_all_belong_together(config)
    if "pytest_denzel.collected.collection" in sys.modules:
        from pytest_denzel.collected import collection

        config.stash[NOTHING_TESTED] = collection.tests_nothing_yet(items)
    tier = config.stash[SETTINGS].tier
    for item in items:
        names = getattr(item, "fixturenames", [])
        if "denzel_url" in names and "_denzel_url_is_used" not in names:
            names.append("_denzel_url_is_used")
        marks = list(item.iter_markers("denzel_tier"))
        if any(not mark.args or mark.kwargs for mark in marks):
            raise pytest.UsageError(f"{item.nodeid}: {messages.TIER_OF_NO_NAME}")
        tiers = [tier for mark in marks for tier in mark.args]
        if unknown := [name for name in tiers if name not in settings.TIERS]:
            allowed = ", ".join(settings.TIERS)
            raise pytest.UsageError(f"{item.nodeid}: denzel_tier takes {allowed}; there is no tier {unknown[0]!r}.")
        if tiers and tier not in tiers:
            item.add_marker(pytest.mark.skip(f"This test is for the tier {' or '.join(tiers)}; this run is on {tier}."))


def _check_that_all_belong_together(config: pytest.Config) -> None:
    if refused := config.stash[REFUSED]:
        raise pytest.UsageError(refused[0])
    current, others = config.stash[PROJECT], config.stash[OTHERS]
    if current and others:
        source = config.stash[SETTINGS].sources["project"]
        if source != "default":
            raise pytest.UsageError(messages.other_project(current.root, source, others))
        raise pytest.UsageError(messages.several_projects([current.root, *others]))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    item.config.stash[CURRENT_TEST] = item


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Let no task of a test in this process delay the next one."""
    if "pytest_denzel.in_process.api_client" in sys.modules:
        from pytest_denzel.in_process.api_client import CLIENTS, end_test

        for client in item.config.stash.get(CLIENTS, []):
            end_test(client)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Attach what the services printed to the report of a test that failed."""
    report = yield
    if report.failed and "pytest_denzel.services.stack" in sys.modules:
        from pytest_denzel.services import stack

        sections = stack.log_sections(item)
        report.sections += sections
        if getattr(item.config.option, "xmlpath", None):  # JUnit XML knows no sections, but properties
            item.user_properties += sections
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give each xdist worker the session that all of them share."""
    if find_spec("fcntl") is None:
        return  # there are no services then
    from pytest_denzel.tiers import session

    node.workerinput["denzel_session"] = session.for_worker(node.config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what this run has started."""
    if "pytest_denzel.tiers.session" in sys.modules:
        from pytest_denzel.services import stack

        stack.close_clients()
        if kept := stack.finish(config):
            print(kept)
    if config.stash.get(NOTHING_TESTED, False):
        print(messages.NOTHING_TESTED)
    if found := config.stash.get(PROJECT, None):
        found.take_off_path()
