"""What `denzel_service` and the fixtures beside it promise. It runs unchanged on every tier."""

import json
import socket
import urllib.request

import pytest

from pytest_denzel import ServiceError, hang_up, slow

REQUEST = {"data": {"a": 1, "b": 2.5}}
ANSWER = {"a": 2, "b": 5.0}
SLOW = {"data": {"a": -3}}
UNKNOWN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def with_callback(callback_receiver):
    return {**REQUEST, "callback_uri": callback_receiver.url}


# ---- denzel_service --------------------------------------------------------------------------------------------------


def test_predict(denzel_service):
    assert denzel_service.predict(REQUEST) == ANSWER
    assert denzel_service.predict(json.dumps(REQUEST).encode()) == ANSWER


def test_predict_async_and_wait(denzel_service):
    task_id = denzel_service.predict_async(REQUEST)
    status = denzel_service.wait(task_id)
    assert (status["status"], status["result"]) == ("SUCCESS", ANSWER)
    assert denzel_service.status(task_id)["status"] == "SUCCESS"
    denzel_service.assert_nothing_lost([task_id])


def test_errors_are_those_of_the_service(denzel_service):
    with pytest.raises(ServiceError) as refused:
        denzel_service.predict({"data": {"a": "1"}})
    error = refused.value
    assert (error.status, error.title, error.description) == (400, "Bad input format", "a must be a number")
    assert str(error) == "400 Bad input format: a must be a number"
    with pytest.raises(ServiceError, match="500 Error invoking predict: process does not like -1"):
        denzel_service.predict({"data": {"a": -1}})
    with pytest.raises(ServiceError, match=r"\$\.nothing: set is not valid JSON"):
        denzel_service.predict({"data": {"a": -2}})
    with pytest.raises(ServiceError, match="400 Bad input format"):
        denzel_service.predict_async({"data": {}})
    failed = denzel_service.wait(denzel_service.predict_async({"data": {"a": -1}}))
    assert failed["status"] == "FAILURE"
    assert failed["result"] == {"args": ["process does not like -1"], "type": "RuntimeError"}


def test_unknown_tasks(denzel_service):
    for ask in (denzel_service.status, denzel_service.cancel, denzel_service.wait):
        with pytest.raises(ServiceError) as unknown:
            ask(UNKNOWN)
        assert unknown.value.status == 404
    with pytest.raises(AssertionError, match=f"did not end: *{UNKNOWN}  404 "):
        denzel_service.assert_nothing_lost([UNKNOWN], timeout=0.1)


def test_a_wait_that_runs_out(denzel_service):
    task_id = denzel_service.predict_async(SLOW)
    with pytest.raises(AssertionError, match=f"task {task_id} has not ended within 0 s; its status: "):
        denzel_service.wait(task_id, timeout=0)
    assert denzel_service.wait(task_id)["result"] == {"a": -6}


def test_cancel(denzel_service):
    task_ids = [denzel_service.predict_async(SLOW) for _ in range(12)]
    denzel_service.cancel(task_ids[-1])
    assert denzel_service.wait(task_ids[-1])["status"] == "REVOKED"
    denzel_service.assert_nothing_lost(task_ids)


def test_info_ready_and_any_request(denzel_service):
    assert "Doubling" in denzel_service.info()
    ready = denzel_service.ready()
    assert ready["ready"]
    assert ready["workers"][0]["name"] == "worker@doubling"
    answer = denzel_service.request("GET", "/ping")
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert denzel_service.request("POST", "/predict", b"{").json()["title"] == "Malformed JSON"
    assert denzel_service.request("GET", "/nowhere").status == 404
    with urllib.request.urlopen(f"{denzel_service.url}/ping") as response:
        assert response.status == 200


def test_set_response(denzel_service):
    denzel_service.set_response("async")
    answer = denzel_service.post(REQUEST)
    assert denzel_service.wait(answer.json()["data"]["task_id"])["result"] == ANSWER
    assert denzel_service.predict(REQUEST) == ANSWER
    denzel_service.set_response("sync", 0.1)
    assert denzel_service.post(REQUEST).json() == ANSWER
    answer = denzel_service.post(SLOW)
    assert answer.status == 202
    assert denzel_service.wait(answer.headers["denzel-task-id"])["status"] == "SUCCESS"
    with pytest.raises(ValueError, match="greater than 0"):
        denzel_service.set_response("sync", 0)


def test_the_response_setting_is_restored_after_a_test(denzel_service):
    assert denzel_service.post(REQUEST).json() == ANSWER


def test_logs(denzel_service):
    assert "denzel" in denzel_service.logs()
    assert denzel_service.logs("api")


# ---- callback_receiver -----------------------------------------------------------------------------------------------


def test_a_callback(denzel_service, callback_receiver, with_callback):
    task_id = denzel_service.predict_async(with_callback)
    delivery = callback_receiver.wait_for(task_id)
    assert delivery.json() == ANSWER
    assert delivery.headers["content-type"] == "application/json"
    delivery.verify(callback_receiver.secret)
    denzel_service.assert_nothing_lost([task_id])


def test_a_failed_task_is_called_back_too(denzel_service, callback_receiver):
    task_id = denzel_service.predict_async({"data": {"a": -1}, "callback_uri": callback_receiver.url})
    assert callback_receiver.wait_for(task_id).json()["status"] == "FAILURE"


def test_a_receiver_with_a_script(denzel_service, callback_receiver, with_callback):
    callback_receiver.will_answer(500, slow(0.2))
    task_id = denzel_service.predict_async(with_callback)
    attempts = callback_receiver.wait_for_attempts(task_id, 2, timeout=60)
    assert [attempt.answer.status for attempt in attempts] == [500, 200]
    callback_receiver.will_answer(410)
    gone = denzel_service.predict_async(with_callback)
    callback_receiver.wait_for_attempts(gone, 1)
    callback_receiver.will_answer(hang_up(), 200)
    again = denzel_service.predict_async(with_callback)
    callback_receiver.wait_for(again, timeout=60)
    assert len(callback_receiver.attempts(again)) == 2
    assert len(callback_receiver.attempts(gone)) == 1


def test_tasks_that_were_not_called_back_are_listed(denzel_service, callback_receiver, with_callback):
    callback_receiver.will_answer(slow(3))
    called, silent = denzel_service.predict_async(with_callback), denzel_service.predict_async(SLOW)
    other = denzel_service.predict_async({**SLOW, "callback_uri": f"{callback_receiver.url}"})
    with pytest.raises(AssertionError) as lost:
        denzel_service.assert_nothing_lost([called, silent, other], timeout=0)
    assert "of 3 tasks" in str(lost.value)
    assert f"not called back:   {other}" in str(lost.value)
    denzel_service.assert_nothing_lost([called, silent, other])


# ---- denzel_worker and denzel_redis ----------------------------------------------------------------------------------


def test_a_worker_without_an_api(denzel_worker, callback_receiver, with_callback):
    task_id = denzel_worker.submit(with_callback)
    assert callback_receiver.wait_for(task_id).json() == ANSWER
    assert denzel_worker.wait(task_id)["result"] == ANSWER
    failed = denzel_worker.submit({"data": {"a": -1}})
    assert denzel_worker.wait(failed)["status"] == "FAILURE"
    denzel_worker.assert_nothing_lost([task_id, failed])
    with pytest.raises(ServiceError, match="404"):
        denzel_worker.status(UNKNOWN)
    assert denzel_worker.logs()


@pytest.mark.parametrize("number", range(2))
def test_a_redis_with_a_database_of_its_own(denzel_redis, number):
    with denzel_redis.client(decode_responses=True) as client:
        assert client.keys() == []
        client.set("answer", number)
        assert client.get("answer") == str(number)
    assert denzel_redis.service_url.endswith("/0")
    assert not denzel_redis.url.endswith("/0")


# ---- denzel_chaos ----------------------------------------------------------------------------------------------------


def test_a_killed_process_loses_nothing(denzel_service, denzel_chaos, callback_receiver, with_callback):
    task_ids = [denzel_service.predict_async(with_callback) for _ in range(20)]
    task_ids += [denzel_service.predict_async({**SLOW, "callback_uri": callback_receiver.url}) for _ in range(2)]
    assert denzel_chaos.kill_worker_process() > 0
    denzel_service.assert_nothing_lost(task_ids)


def test_a_worker_that_is_away(denzel_service, denzel_chaos, callback_receiver, with_callback):
    denzel_chaos.kill_worker()
    task_id = denzel_service.predict_async(with_callback)
    with pytest.raises(AssertionError, match="1 did not end and 1 were not called back"):
        denzel_service.assert_nothing_lost([task_id], timeout=0.5)
    denzel_chaos.start_worker()
    denzel_service.assert_nothing_lost([task_id])
    denzel_chaos.restart_worker()
    assert denzel_service.predict(REQUEST) == ANSWER


def test_redis_restarts_and_pauses(denzel_service, denzel_chaos):
    task_id = denzel_service.predict_async(REQUEST)
    denzel_chaos.restart_redis()
    denzel_service.assert_nothing_lost([task_id])
    with denzel_chaos.redis_paused():
        with pytest.raises(ServiceError) as away:
            denzel_service.predict_async(REQUEST)  # who waits may be answered by a process directly, without Redis
        assert away.value.status == 503
    assert denzel_service.predict(REQUEST) == ANSWER


def test_the_api_restarts(denzel_service, denzel_chaos):
    denzel_chaos.kill_api()
    with pytest.raises(OSError, match="refused"):
        denzel_service.info()
    denzel_chaos.start_api()
    denzel_chaos.restart_api()
    assert denzel_service.predict(REQUEST) == ANSWER


def test_what_a_test_leaves_broken(denzel_chaos, denzel_service):
    denzel_service.set_response("async")
    denzel_chaos.kill_redis()
    denzel_chaos.kill_worker()
    denzel_chaos.kill_api()


def test_is_put_right_for_the_next(denzel_service):
    assert denzel_service.post(REQUEST).json() == ANSWER


# ---- and markers -----------------------------------------------------------------------------------------------------


@pytest.mark.denzel_tier("local", "docker")
def test_only_where_there_is_a_queue(denzel_service):
    assert denzel_service.tier in ("local", "docker")


def test_nothing_listens_on_other_addresses(denzel_service):
    port = int(denzel_service.url.rpartition(":")[2])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.2", port)) != 0
