"""The pages that a service has: / and /docs with what belongs to them, as the settings say."""

from __future__ import annotations

from typing import Any

from denzel.api.front import Front
from denzel.api.inbox import Inbox, Inboxes, OpenInbox, folder
from denzel.api.pages import Description, Docs, Files, OpenApi
from denzel.api_keys import Keys
from denzel.executor import Executor
from denzel.metrics.figures import Figures
from denzel.openapi.access import Access
from denzel.pipeline.in_api import UserPipeline
from denzel.settings import Settings

# What the pages themselves ask for; nobody is told of it.
BEHIND_PAGES = ("/docs/{name}", "/docs/inbox", "/docs/inbox/{token}")


def pages_of(
    settings: Settings, executor: Executor, pipeline: UserPipeline, figures: Figures | None, keys: Keys
) -> dict[str, Any]:
    """The pages by their paths.

    Args:
        figures: what tells of the whole service; None with METRICS=off.
        keys: of the clients.
    """
    docs, front = settings.docs == "on", settings.front_page == "on"
    links = {"Docs": "docs", "openapi.json": "openapi.json"} if docs else {}
    if figures:
        links["Metrics"] = "metrics"
    if settings.monitor_url:
        links["Monitor"] = settings.monitor_url
    description = Description(
        settings.project_slug,
        pipeline,
        links,
        metrics=figures is not None,
        inbox=bool(settings.inbox_url),
        keys=keys,
        access=Access(open_paths=frozenset(settings.open_paths.split(",")), rates=bool(settings.api_rate_limit)),
    )
    found: dict[str, Any] = {}
    if docs or front:
        found["/docs/{name}"] = Files()
    if docs:
        found |= {"/docs": Docs(description), "/openapi.json": OpenApi(description)}
    if settings.inbox_url:
        inboxes = Inboxes(folder(settings.project_slug), settings.inbox_url, settings.callback_secret)
        found |= {"/docs/inbox": OpenInbox(inboxes), "/docs/inbox/{token}": Inbox(inboxes)}
    if front:
        description.links["Service"] = "./"
        found["/"] = Front(description, executor, pipeline, figures)
    return found
