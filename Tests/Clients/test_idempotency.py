"""A write with an `Idempotency-Key` takes effect once, however often it is sent."""

import json
import secrets
import threading
import time
import uuid

import pytest

from test_http import call

NAME = "once"


@pytest.fixture(scope="module")
def served(make_cluster):
    cluster = make_cluster(serve=True, settings={"gateway.body_mib": 1, "gateway.upsert_mib": 16})
    status, _, text = call(cluster, "PUT", f"/collections/{NAME}", {"vectors": {"size": 2, "distance": "Euclid"}, "shard_number": 1})
    assert status == 200, text
    return cluster


def uuid7(seconds=None):
    milliseconds = int((time.time() if seconds is None else seconds) * 1000)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)))


def send(cluster, method, path, body, key=None, **headers):
    status, _, text = call(cluster, method, f"/collections/{NAME}{path}", body, headers | ({} if key is None else {"Idempotency-Key": key}))
    return status, json.loads(text)


def upsert(cluster, number, x, key=None, **headers):
    return send(cluster, "PUT", "/points?wait=true", {"points": [{"id": number, "vector": [x, 0]}]}, key, **headers)


def x_of(cluster, number):
    status, _, text = call(cluster, "GET", f"/collections/{NAME}/points/{number}")
    return json.loads(text)["result"]["vector"][0] if status == 200 else None


@pytest.mark.parametrize("key", ["order-17", uuid7(), str(uuid.uuid4())])
def test_an_upsert_that_comes_again_is_answered_and_not_applied(served, key):
    number = secrets.randbits(40)
    first = upsert(served, number, 1, key)
    assert first[0] == 200
    upsert(served, number, 2)
    again = upsert(served, number, 1, f'"{key}"')
    assert again[0] == 200 and again[1]["result"] == first[1]["result"] and again[1]["covey"]["shards"] == first[1]["covey"]["shards"]
    assert x_of(served, number) == 2


def test_a_deletion_that_comes_again_deletes_nothing(served):
    number, key = secrets.randbits(40), uuid7()
    upsert(served, number, 1)
    for _ in range(2):
        status, reply = send(served, "POST", "/points/delete?wait=true", {"points": [number]}, key)
        assert status == 200 and reply["covey"]["shards"][0]["superseded"] == 1
        upsert(served, number, 3)
    assert x_of(served, number) == 3


def test_another_body_under_the_same_key_is_refused(served):
    number, key = secrets.randbits(40), uuid7()
    upsert(served, number, 1, key)
    status, reply = upsert(served, number, 2, key)
    assert status == 422 and key in reply["status"]["error"] and "another body" in reply["status"]["error"]
    assert reply["covey"]["shards"][0]["error"]["code"] == "idempotency_key_reused"
    assert x_of(served, number) == 1


def test_a_request_id_is_no_key(served):
    """Proxies and tracers send several requests under one."""
    number = secrets.randbits(40)
    for x in (1, 2, 1):
        assert upsert(served, number, x, **{"x-request-id": "one-trace"})[0] == 200
    assert x_of(served, number) == 1


def test_a_shards_log_names_the_request_and_not_the_key(served):
    status, _, text = call(served, "PUT", "/collections/logged", {"vectors": {"size": 2, "distance": "Euclid"}, "shard_number": 1})
    assert status == 200, text
    headers = {"x-request-id": "who-claimed", "Idempotency-Key": "a-key-of-mine"}
    assert call(served, "PUT", "/collections/logged/points?wait=true", {"points": [{"id": 1, "vector": [1, 0]}]}, headers)[0] == 200
    [line] = [line for line in served.log("serve").splitlines() if "shard claimed" in line and "who-claimed" in line]
    assert "a-key-of-mine" not in line


@pytest.mark.parametrize(
    "key, says",
    [("", "found 0"), ("k" * 129, "found 129"), ("two words", "visible ASCII"), (uuid7(time.time() + 600), "seconds from now, the limit is 60")],
)
def test_a_key_that_is_none_is_named(served, key, says):
    status, reply = upsert(served, 1, 1, key)
    assert status == 400 and "Idempotency-Key" in reply["status"]["error"] and says in reply["status"]["error"]


def test_a_large_upsert_that_comes_again_is_answered_part_for_part(served):
    key, base = uuid7(), secrets.randbits(30) << 20
    points = [{"id": base + number, "vector": [1, number], "payload": {"text": "x" * 900}} for number in range(12_000)]
    first = send(served, "PUT", "/points?wait=true", {"points": points}, key)
    assert first[0] == 200 and len(first[1]["covey"]["parts"]) > 1
    upsert(served, base + 11_999, 2)
    again = send(served, "PUT", "/points?wait=true", {"points": points}, key)
    assert again[0] == 200 and again[1]["covey"] == first[1]["covey"]
    assert x_of(served, base + 11_999) == 2
    # What differs first is refused, and the error says how far it came.
    points[11_000]["vector"] = [7, 7]
    status, reply = send(served, "PUT", "/points?wait=true", {"points": points}, key)
    assert status == 422 and reply["covey"]["points_written"] > 0 and x_of(served, base + 11_000) == 1


def test_a_key_that_is_no_longer_remembered_is_refused(served):
    number, key = secrets.randbits(40), uuid7()
    assert upsert(served, number, 1, key)[0] == 200
    upsert(served, number, 2)

    def others():
        for _ in range(600):
            assert upsert(served, 5, 1, uuid7())[0] == 200

    threads = [threading.Thread(target=others) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    status, reply = upsert(served, number, 1, key)
    assert status == 409 and "no longer remembered" in reply["status"]["error"]
    assert reply["covey"]["shards"][0]["error"]["code"] == "idempotency_key_expired"
    assert x_of(served, number) == 2 and upsert(served, number, 3, uuid7())[0] == 200
