"""The fixtures. What they give is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_denzel import messages
from pytest_denzel.project import PROJECT, Project
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

_ON_A_TIER = {"denzel_service", "denzel_worker", "denzel_redis", "denzel_chaos"}


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
def pipeline(denzel_project: Project) -> Pipeline:
    """The pipeline in this process: `pipeline.run(request)` goes the whole way, through the service's JSON borders;
    `pipeline.module` has the raw functions."""
    from pytest_denzel.in_process.pipeline import Pipeline

    return Pipeline(denzel_project)


@pytest.fixture(scope="session")
def model(pipeline: Pipeline) -> Any:
    """What `load_model` returned, called once a session."""
    return pipeline.model


@pytest.fixture(scope="session")
def verify_input(pipeline: Pipeline) -> Callable[[Any], Any]:
    """`verify_input(request)`: what the worker gets of a request, or the exception that refuses it."""
    return pipeline.verify_input


@pytest.fixture(scope="session")
def process(pipeline: Pipeline) -> Callable[[Any], Any]:
    """`process(request)`, bound to the model."""
    return pipeline.process


@pytest.fixture(scope="session")
def predict(pipeline: Pipeline) -> Callable[[Any], dict[str, Any]]:
    """`predict(data)`, bound to the model: the answer as the client gets it."""
    return pipeline.predict


@pytest.fixture(scope="session")
def api_client(denzel_project: Project, pipeline: Pipeline, pytestconfig: pytest.Config) -> Iterator[ApiClient]:
    """Falcon's test client on the inline executor: the API in this process; see `ApiClient`."""
    from pytest_denzel.callbacks.webhooks import new_secret
    from pytest_denzel.in_process.api_client import CLIENTS, ApiClient

    client = ApiClient(denzel_project, pipeline, new_secret())
    pytestconfig.stash[CLIENTS] = [client]
    yield client
    pytestconfig.stash[CLIENTS] = []
    client.close()


@pytest.fixture
def outside_world() -> Iterator[OutsideWorld]:
    """What code under test sends by `requests` stays in this process; see `OutsideWorld`."""
    import responses

    from pytest_denzel.in_process.outside_world import OutsideWorld

    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield OutsideWorld(mock)


# ---- Callbacks ----------------------------------------------------------------------------------------------------


@pytest.fixture
def callback_receiver(request: pytest.FixtureRequest) -> Iterator[CallbackReceiver]:
    """A real HTTP server for callbacks, reachable from the tier in use at `callback_receiver.url`."""
    from pytest_denzel.callbacks.receiver import CallbackReceiver

    if "api_client" in request.fixturenames:
        client = request.getfixturevalue("api_client")
        receiver = CallbackReceiver(secret=client.secret)
        client.explains(receiver)
    elif _ON_A_TIER.isdisjoint(request.fixturenames):
        receiver = CallbackReceiver()
    else:
        tier = request.getfixturevalue("_denzel_tier")("api" if "denzel_service" in request.fixturenames else "redis")
        bind, host = tier.receiver_place
        receiver = CallbackReceiver(bind, host, tier.values["secret"])
    yield receiver
    receiver.close()


# ---- On a tier ----------------------------------------------------------------------------------------------------


@pytest.fixture
def _denzel_turn(denzel_project: Project, request: pytest.FixtureRequest) -> Iterator[Turn]:
    """This test's place among those that share the services."""
    from pytest_denzel.services import stack

    turn = stack.of(request.config).join()
    yield turn
    turn.release()


@pytest.fixture
def _denzel_tier(denzel_project: Project, request: pytest.FixtureRequest) -> Callable[[str], Tier]:
    """`_denzel_tier(service)`: the tier of this run, with this service ready."""
    from pytest_denzel.services import stack
    from pytest_denzel.tiers.tier import ServiceFailed

    def require(service: str) -> Tier:
        current = stack.of(request.config)
        if service not in current.tier.services:
            pytest.skip(messages.tier_has_not(current.tier.name, {"redis": "Redis", "denzel": "worker"}[service]))
        request.getfixturevalue("_denzel_turn")  # services are started while no other test has taken some down
        try:
            return current.require(service, request.node)
        except ServiceFailed as error:
            failure = str(error)
        messages.fail(failure)

    return require


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
        return request.getfixturevalue("pipeline").run
    return request.getfixturevalue("denzel_service").predict


def _receiver_of(request: pytest.FixtureRequest) -> CallbackReceiver | None:
    if "callback_receiver" not in request.fixturenames:
        return None
    return request.getfixturevalue("callback_receiver")
