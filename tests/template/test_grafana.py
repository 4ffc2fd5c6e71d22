"""The dashboard and the provisioning of Grafana, by the schema that its makers publish for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.support.bakery import TEMPLATE

FOLDER = TEMPLATE / "metrics/grafana"
DASHBOARD = json.loads((FOLDER / "dashboards/denzel.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def lost(ours: Any, theirs: Any, path: str = "$") -> list[str]:
    """Where what was read and written by the schema has not what it was read from."""
    if isinstance(ours, dict):
        if not isinstance(theirs, dict):
            return [path]
        return [found for key in ours for found in lost(ours[key], theirs.get(key), f"{path}.{key}")]
    if isinstance(ours, list):
        if not isinstance(theirs, list) or len(ours) != len(theirs):
            return [path]
        return [found for at, each in enumerate(ours) for found in lost(each, theirs[at], f"{path}[{at}]")]
    return [] if ours == theirs else [path]


def test_the_dashboard_follows_the_schema() -> None:
    """What Grafana's own library reads of it is all that it holds: no key is unknown, no value of another kind."""
    pytest.importorskip("grafana_foundation_sdk", reason="needs Python 3.11")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    read = Dashboard.from_json(json.loads(json.dumps(DASHBOARD)))
    assert lost(DASHBOARD, json.loads(JSONEncoder().encode(read))) == []


def test_panels_are_apart_and_have_ids_of_their_own() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + right, place["y"] + down) for right in range(place["w"]) for down in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert all(0 <= x < 24 for x, _ in cells), panel["title"]
        taken |= cells


def test_every_panel_asks_the_provisioned_source() -> None:
    [source] = yaml.safe_load((FOLDER / "datasources/denzel.yml").read_text(encoding="utf-8"))["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    for panel in PANELS:
        for asks in (panel, *panel["targets"]):
            assert asks["datasource"] == {"type": "prometheus", "uid": source["uid"]}, panel["title"]


def test_the_dashboard_lies_where_it_is_looked_for() -> None:
    [provider] = yaml.safe_load((FOLDER / "dashboards/denzel.yml").read_text(encoding="utf-8"))["providers"]
    services = yaml.safe_load((TEMPLATE / "docker-compose.metrics.yml").read_text(encoding="utf-8"))["services"]
    mounted = dict(volume.split(":")[:2][::-1] for volume in services["grafana"]["volumes"])
    assert mounted[provider["options"]["path"]] == "./metrics/grafana/dashboards"
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/denzel.json"
