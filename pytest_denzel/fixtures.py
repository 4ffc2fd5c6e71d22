"""The fixtures. What they give is imported when it is asked for.

All are named `denzel_...`, and depend on each other by these names alone; `short_names` has the short ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from pytest_denzel import messages
from pytest_denzel.project import CURRENT_TEST, PROJECT, Project
from pytest_denzel.settings import SETTINGS

if TYPE_CHECKING:
    from pytest_denzel.callbacks.receiver import CallbackReceiver
    from pytest_denzel.in_process.api_client import ApiClient
    from pytest_denzel.in_process.outside_world import OutsideWorld
    from pytest_denzel.in_process.pipeline import Pipeline
    from pytest_denzel.services.chaos import Chaos
    from pytest_denzel.services.service import Redis, Service, Worker
    from pytest_denzel.tiers.session import Turn
    from pytest_denzel.tiers.tier import Tier

__tracebackhide__ = True

_ON_A_TIER = {"denzel_url", "denzel_service", "denzel_worker", "denzel_redis", "denzel_chaos"}


# ---- In this process ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def denzel_project(pytestconfig: pytest.Config) -> Project:
    """The project under test: `root`, `name`, `read_env()`."""
    from pytest_denzel.project import is_project

    found = pytestconfig.stash[PROJECT]
    if found is None:
        messages.fail(messages.no_project([pytestconfig.invocation_params.dir]))
    if not is_project(found.root):
        messages.fail(messages.not_a_project(found.root, found.source))
    return found


@pytest.fixture(scope="session")
def denzel_pipeline(denzel_project: Project, request: pytest.FixtureRequest) -> Pipeline:
    """The pipeline in this process: `run(request)` goes the whole way, through the service's JSON borders;
    `module` has the raw functions."""
    from pytest_denzel.in_process.pipeline import Pipeline

    def model_of_the_test() -> tuple[object, Any]:
        item = request.config.stash.get(CURRENT_TEST, None)
        # of the test, not of this fixture: any folder, module or class may have a `denzel_model` of its own
        asking = getattr(item, "_request", request)
        return item, lambda: asking.getfixturevalue("denzel_model")

    return Pipeline(denzel_project, model_of_the_test)


@pytest.fixture(scope="session")
def denzel_model(denzel_pipeline: Pipeline) -> Any:
    """What `load_model` returned, called once a session; override it for another model in this process."""
    return denzel_pipeline.load()


@pytest.fixture(scope="session")
def denzel_verify_input(denzel_pipeline: Pipeline) -> Callable[[Any], Any]:
    """`verify_input(request)`: what the worker gets of a request, or the exception that refuses it."""
    return denzel_pipeline.verify_input


@pytest.fixture(scope="session")
def denzel_process(denzel_pipeline: Pipeline) -> Callable[[Any], Any]:
    """`process(request)`, bound to the model."""
    return denzel_pipeline.process


@pytest.fixture(scope="session")
def denzel_predict(denzel_pipeline: Pipeline) -> Callable[[Any], dict[str, Any]]:
    """`predict(data)`, bound to the model: the answer as the client gets it."""
    return denzel_pipeline.predict


@pytest.fixture(scope="session")
def denzel_api_client(
    denzel_project: Project, denzel_pipeline: Pipeline, pytestconfig: pytest.Config
) -> Iterator[ApiClient]:
    """Falcon's test client on the inline executor: the API in this process; see `ApiClient`."""
    from pytest_denzel.callbacks.webhooks import new_secret
    from pytest_denzel.in_process.api_client import CLIENTS, ApiClient

    client = ApiClient(denzel_project, denzel_pipeline, new_secret())
    pytestconfig.stash[CLIENTS] = [client]
    yield client
    pytestconfig.stash[CLIENTS] = []
    client.close()


@pytest.fixture
def denzel_outside_world() -> Iterator[OutsideWorld]:
    """What code under test sends by `requests` stays in this process; see `OutsideWorld`."""
    from pytest_denzel.in_process.outside_world import Mock, OutsideWorld

    with Mock(assert_all_requests_are_fired=False) as mock:
        yield OutsideWorld(mock)


# ---- Callbacks ----------------------------------------------------------------------------------------------------


@pytest.fixture
def denzel_callback_receiver(request: pytest.FixtureRequest) -> Iterator[CallbackReceiver]:
    """A real HTTP server for callbacks, reachable from the tier in use at its `url`."""

    def tier(service: str) -> Tier:
        return request.getfixturevalue("_denzel_tier")(service)

    receiver = _new_receiver(request, request.fixturenames, tier)
    yield receiver
    receiver.close()


@pytest.fixture(scope="session")
def denzel_make_callback_receiver(request: pytest.FixtureRequest) -> Iterator[Callable[[], CallbackReceiver]]:
    """`make_callback_receiver()`: one more receiver, for fixtures of a wider scope; all end with the session."""
    made: list[CallbackReceiver] = []

    def make() -> CallbackReceiver:
        item = request.config.stash[CURRENT_TEST]
        names = getattr(item, "fixturenames", [])
        made.append(_new_receiver(request, names, lambda service: _tier_of_session(request.config, service)))
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


def _new_receiver(
    request: pytest.FixtureRequest, names: Iterable[str], tier_with: Callable[[str], Tier]
) -> CallbackReceiver:
    """A receiver for what the test uses, by the names of its fixtures: the API in this process, a tier, or neither."""
    from pytest_denzel.callbacks.receiver import CallbackReceiver

    if "denzel_api_client" in names:
        from pytest_denzel.in_process.api_client import explain_callbacks

        client = request.getfixturevalue("denzel_api_client")
        receiver = CallbackReceiver(secret=client.secret)
        explain_callbacks(client, receiver)
        return receiver
    if _ON_A_TIER.isdisjoint(names):
        return CallbackReceiver()
    tier = tier_with("redis" if {"denzel_service", "denzel_url"}.isdisjoint(names) else "api")
    bind, host = tier.receiver_place
    return CallbackReceiver(bind, host, tier.values["secret"])


# ---- On a tier ----------------------------------------------------------------------------------------------------


@pytest.fixture
def _denzel_turn(denzel_project: Project, request: pytest.FixtureRequest) -> Iterator[Turn]:
    """This test's place among those that share the services."""
    _check_system()
    from pytest_denzel.services import stack

    current = stack.of(request.config)
    turn = current.turn = current.join()
    yield turn
    current.turn = None
    turn.release()


@pytest.fixture
def _denzel_tier(denzel_project: Project, request: pytest.FixtureRequest) -> Callable[[str], Tier]:
    """`_denzel_tier(service)`: the tier of this run, with this service ready."""

    def require(service: str) -> Tier:
        def join() -> None:
            request.getfixturevalue("_denzel_turn")  # services start while no other test has taken some down

        return _required(request.config, service, join, request.node)

    return require


def _tier_of_session(config: pytest.Config, service: str) -> Tier:
    """The tier of this run, with this service ready, for a fixture that outlives the test."""
    from pytest_denzel.services import stack

    current = stack.of(config)
    turns = []

    def join() -> None:
        if current.turn is None:  # two turns of one process would wait for each other
            turns.append(current.join())

    try:
        return _required(config, service, join, config.stash[CURRENT_TEST])
    finally:
        for turn in turns:
            turn.release()


def _check_system() -> None:
    """Skip the test where services cannot run, whatever the tier is."""
    if find_spec("fcntl") is None:
        pytest.skip(messages.NO_FCNTL)


def _required(config: pytest.Config, service: str, join: Callable[[], None], item: pytest.Item) -> Tier:
    """The tier with this service ready; skips where the tier has none, and fails where it does not come up."""
    _check_system()
    from pytest_denzel.services import stack
    from pytest_denzel.tiers.tier import ServiceFailed

    current = stack.of(config)
    if service not in current.tier.services:
        pytest.skip(messages.tier_has_not(current.tier.name, {"redis": "Redis", "denzel": "worker"}[service]))
    join()
    try:
        return current.require(service, item)
    except ServiceFailed as error:
        failure = str(error)
    messages.fail(failure)


@pytest.fixture(scope="session")
def denzel_url(denzel_project: Project, pytestconfig: pytest.Config) -> str:
    """The URL of the running API, on the tier of this run: for fixtures of a wider scope, and any HTTP client."""
    return _tier_of_session(pytestconfig, "api").values["api_url"]


@pytest.fixture
def _denzel_url_is_used(_denzel_tier: Callable[[str], Tier]) -> None:
    """Each test that uses `denzel_url` gets this, too: its place among those that share the services, and logs."""
    _denzel_tier("api")


@pytest.fixture
def denzel_service(_denzel_tier: Callable[[str], Tier], request: pytest.FixtureRequest) -> Iterator[Service]:
    """The running service over HTTP, on the tier of this run; see `Service`."""
    from pytest_denzel.services.service import Service

    tier = _denzel_tier("api")
    service = Service(tier, request.getfixturevalue("_denzel_turn"), _receiver_of(request))
    yield service
    service.cancel_what_is_left()
    service.restore_response()


@pytest.fixture
def denzel_worker(_denzel_tier: Callable[[str], Tier], request: pytest.FixtureRequest) -> Iterator[Worker]:
    """The worker and Redis without an API: `denzel_worker.submit(request)` puts a request into the queue."""
    from pytest_denzel.services.service import Worker

    tier = _denzel_tier("denzel")
    worker = Worker(tier, _receiver_of(request))
    yield worker
    worker.cancel_what_is_left()


@pytest.fixture
def denzel_redis(_denzel_tier: Callable[[str], Tier], request: pytest.FixtureRequest) -> Redis:
    """The service's Redis server, with an empty database for this test alone: `denzel_redis.client()`."""
    from pytest_denzel.services.service import Redis
    from pytest_denzel.tiers import session

    database = session.of(request.config).number + 1
    if database > messages.DATABASES:
        messages.fail(messages.TOO_MANY_WORKERS)
    tier = _denzel_tier("redis")
    redis = Redis(tier.values["redis_url"], database)
    redis.empty()
    return redis


@pytest.fixture
def denzel_chaos(_denzel_tier: Callable[[str], Tier], request: pytest.FixtureRequest) -> Iterator[Chaos]:
    """Kill, restart and pause services; everything is put right when the test ends. See `Chaos`."""
    from pytest_denzel.services import stack
    from pytest_denzel.services.chaos import Chaos

    tier = stack.of(request.config).tier
    if not tier.can_be_disturbed:
        pytest.skip(messages.tier_has_not(tier.name, "services to disturb"))
    if "denzel_service" in request.fixturenames:
        request.getfixturevalue("denzel_service")  # so that its end comes when everything has been put right
    tier = _denzel_tier("api" if "denzel_service" in request.fixturenames else "denzel")
    chaos = Chaos(tier, request.getfixturevalue("_denzel_turn"))
    yield chaos
    chaos.put_right()


@pytest.fixture
def denzel_answer(request: pytest.FixtureRequest) -> Callable[[Any], dict[str, Any]]:
    """`denzel_answer(request)`: the answer to a request, from the pipeline in this process on the tier inline, and
    from the running service on the others. The examples are asked this way."""
    if request.config.stash[SETTINGS].tier == "inline":
        return request.getfixturevalue("denzel_pipeline").run
    return request.getfixturevalue("denzel_service").predict


def _receiver_of(request: pytest.FixtureRequest) -> CallbackReceiver | None:
    if "denzel_callback_receiver" not in request.fixturenames:
        return None
    return request.getfixturevalue("denzel_callback_receiver")
