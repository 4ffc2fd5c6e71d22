"""The callback receiver by itself: what it records, how it answers, what it says when something is missing."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import requests

from pytest_denzel import CallbackReceiver, hang_up, slow
from pytest_denzel.callbacks.receiver import Answer
from pytest_denzel.callbacks.webhooks import new_secret, sign


@pytest.fixture
def receiver() -> Iterator[CallbackReceiver]:
    receiver = CallbackReceiver()
    yield receiver
    receiver.close()


def post(receiver: CallbackReceiver, task_id: str = "task-1", body: bytes = b'{"a": 1}', **headers: str) -> int:
    answer = requests.post(receiver.url, data=body, headers={"webhook-id": task_id, **headers}, timeout=10)
    return answer.status_code


def test_a_delivery_is_recorded_with_headers_and_body(receiver: CallbackReceiver) -> None:
    assert post(receiver, "task-1", b'{"a": 1}', **{"Content-Type": "application/json"}) == 200
    delivery = receiver.wait_for("task-1")
    assert delivery.json() == {"a": 1}
    assert delivery.body == b'{"a": 1}'
    assert delivery.headers["content-type"] == "application/json"
    assert delivery.task_id == "task-1"
    assert delivery.received == pytest.approx(time.time(), abs=5)


def test_a_delivery_is_waited_for(receiver: CallbackReceiver) -> None:
    threading.Timer(0.2, post, [receiver]).start()
    assert receiver.wait_for("task-1", timeout=5).json() == {"a": 1}


def test_what_did_arrive_is_shown_when_something_did_not(receiver: CallbackReceiver) -> None:
    receiver.will_answer(500, 200)
    post(receiver, "task-1")
    post(receiver, "task-2", b"x" * 300)
    with pytest.raises(AssertionError) as failure:
        receiver.wait_for("task-3", timeout=0.1)
    path = receiver.url.rpartition("/")[2]
    assert str(failure.value) == (
        "no callback of task task-3 was received and answered with 2xx within 0.1 s. "
        f"What arrived at {receiver.url}:\n"
        f"  POST /{path}  task task-1  answered 500\n"
        '    {"a": 1}\n'
        f"  POST /{path}  task task-2  answered 200\n"
        f"    {'x' * 200}..."
    )


def test_nothing_at_all_is_told_too(receiver: CallbackReceiver) -> None:
    with pytest.raises(AssertionError, match=r"What arrived at http://127\.0\.0\.1:\d+/\w+:\n  \(nothing arrived\)"):
        receiver.wait_for("task-1", timeout=0.05)


def test_answers_follow_the_script_and_the_last_one_stays(receiver: CallbackReceiver) -> None:
    receiver.will_answer(500, Answer(503, headers={"Retry-After": "7"}), 200)
    assert [post(receiver) for _ in range(4)] == [500, 503, 200, 200]
    assert [delivery.answer.status for delivery in receiver.attempts("task-1")] == [500, 503, 200, 200]
    assert receiver.wait_for("task-1", timeout=1) is receiver.attempts("task-1")[2]
    receiver.will_answer(410)
    assert [post(receiver), post(receiver)] == [410, 410]


def test_headers_of_an_answer_are_sent(receiver: CallbackReceiver) -> None:
    receiver.will_answer(Answer(429, headers={"Retry-After": "7"}))
    answer = requests.post(receiver.url, data=b"{}", timeout=5)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")


def test_a_slow_answer_takes_its_time(receiver: CallbackReceiver) -> None:
    receiver.will_answer(slow(0.3))
    began = time.monotonic()
    assert post(receiver) == 200
    assert time.monotonic() - began >= 0.3
    receiver.will_answer(slow(60))
    with pytest.raises(requests.ReadTimeout):
        requests.post(receiver.url, data=b"{}", timeout=0.2)


def test_a_receiver_that_hangs_up_gives_no_answer(receiver: CallbackReceiver) -> None:
    receiver.will_answer(hang_up())
    with pytest.raises(requests.ConnectionError):
        post(receiver)
    assert str(receiver.attempts("task-1")[0]).startswith("POST /")
    assert "hung up" in receiver.summary()


def test_a_script_cannot_be_empty(receiver: CallbackReceiver) -> None:
    with pytest.raises(ValueError, match="at least one answer"):
        receiver.will_answer()


@pytest.mark.parametrize("answer", ["oops", "200", 9999, 99, True, None, Answer(0), slow(1, status=600)], ids=str)
def test_what_is_no_answer_is_refused_at_once(receiver: CallbackReceiver, answer: object) -> None:
    receiver.will_answer(202)
    with pytest.raises(ValueError, match="an answer is a status from 100 to 599, "):
        receiver.will_answer(200, answer)
    assert post(receiver) == 202, "the script stays as it was"


def test_attempts_are_waited_for_whatever_they_were_answered(receiver: CallbackReceiver) -> None:
    receiver.will_answer(410)
    threading.Timer(0.1, post, [receiver]).start()
    assert receiver.wait_for_attempts("task-1", 1, timeout=5)[0].answer.status == 410
    with pytest.raises(AssertionError, match=r"fewer than 2 deliveries of task task-1 arrived within 0\.05 s"):
        receiver.wait_for_attempts("task-1", 2, timeout=0.05)


def test_silence_can_be_asserted(receiver: CallbackReceiver) -> None:
    post(receiver)
    receiver.assert_nothing_arrives("task-1", within=0.1)
    threading.Timer(0.1, post, [receiver]).start()
    with pytest.raises(AssertionError, match="a delivery of task task-1 arrived:\n  POST"):
        receiver.assert_nothing_arrives("task-1", within=5)


def test_signatures_are_checked_where_the_secret_is_known() -> None:
    secret, now = new_secret(), int(time.time())
    receiver = CallbackReceiver(secret=secret)
    try:
        post(receiver, "signed", b"{}", **{
            "webhook-timestamp": str(now), "webhook-signature": sign(secret, "signed", now, b"{}")
        })  # fmt: skip
        receiver.wait_for("signed").verify(secret)
        post(receiver, "unsigned")
        with pytest.raises(AssertionError, match="not signed: it lacks the header webhook-timestamp"):
            receiver.wait_for("unsigned")
        post(receiver, "forged", b"{}", **{"webhook-timestamp": str(now), "webhook-signature": "v1,AAAA"})
        with pytest.raises(AssertionError, match="does not fit the body"):
            receiver.wait_for("forged")
    finally:
        receiver.close()


def test_what_is_for_another_test_is_not_taken(receiver: CallbackReceiver) -> None:
    other = receiver.url.rpartition("/")[0] + "/another"
    assert requests.post(other, data=b"{}", timeout=5).status_code == 404
    assert receiver.deliveries == []
    assert requests.post(f"{receiver.url}/below?query=1", data=b"{}", timeout=5).status_code == 200


def test_a_connection_is_kept_and_many_are_served_at_a_time(receiver: CallbackReceiver) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(receiver.url.split(":")[2].split("/")[0]))
    path = "/" + receiver.url.rpartition("/")[2]
    for number in range(3):
        connection.request("POST", path, body=b"{}", headers={"webhook-id": str(number)})
        assert connection.getresponse().read() == b""
    connection.close()
    threads = [threading.Thread(target=post, args=[receiver, f"many-{number}"]) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receiver.deliveries) == 53


def test_after_the_end_nothing_is_received_on_connections_that_were_kept() -> None:
    receiver = CallbackReceiver()
    session = requests.Session()
    assert session.post(receiver.url, data=b"{}", timeout=5).status_code == 200
    receiver.close()
    with pytest.raises(requests.ConnectionError):
        session.post(receiver.url, data=b"{}", timeout=5)
    session.close()


def test_only_the_address_that_was_asked_for_is_listened_on(receiver: CallbackReceiver) -> None:
    port = int(receiver.url.split(":")[2].split("/")[0])
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", port))


def test_a_body_that_is_too_large_is_refused(receiver: CallbackReceiver) -> None:
    with socket.create_connection(("127.0.0.1", int(receiver.url.split(":")[2].split("/")[0])), 5) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
