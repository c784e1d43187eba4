"""Upserts whose bodies are larger than others may be: they are written in parts while they arrive."""

import hashlib
import http.client
import json
import os
import threading
import time
import urllib.parse

import httpx
import numpy
import pytest
from qdrant_client import QdrantClient, models

DIMENSION = 64


@pytest.fixture(scope="module")
def served(make_cluster):
    """Bodies beyond 1 MiB are large here, and those beyond 16 MiB too large."""
    return make_cluster(serve=True, settings={"gateway.body_mib": 1, "gateway.upsert_mib": 16})


@pytest.fixture
def qdrant(served):
    return QdrantClient(served.url, timeout=120)


def create(qdrant, name, dimension=DIMENSION):
    qdrant.create_collection(name, models.VectorParams(size=dimension, distance=models.Distance.DOT))


def vectors(count, seed=1, dimension=DIMENSION):
    return numpy.random.default_rng(seed).standard_normal((count, dimension)).astype(numpy.float32)


def point(number, vector):
    return {"id": number, "vector": [float(x) for x in vector], "payload": {"number": number, "text": 'with "]}" inside'}}


def test_qdrants_client_upserts_a_large_batch_at_once(served, qdrant):
    create(qdrant, "large")
    made = vectors(6_000)
    points = [models.PointStruct(id=number, vector=vector.tolist(), payload={"number": number}) for number, vector in enumerate(made)]
    result = qdrant.upsert("large", points=points, wait=True)
    assert result.status == models.UpdateStatus.COMPLETED
    assert qdrant.count("large").count == 6_000
    for number in (0, 4_095, 5_999):
        [found] = qdrant.retrieve("large", [number], with_vectors=True)
        assert found.payload == {"number": number} and numpy.array_equal(numpy.float32(found.vector), made[number])
    # The same again changes nothing but versions.
    qdrant.upsert("large", points=points, wait=True)
    assert qdrant.count("large").count == 6_000


def test_the_reply_names_the_parts(served, qdrant):
    body = {"points": [point(number, vector) for number, vector in enumerate(vectors(12_000, dimension=8))]}
    qdrant.create_collection("narrow", models.VectorParams(size=8, distance=models.Distance.DOT))
    status, reply = served.json("PUT", "/collections/narrow/points?wait=true", body)
    assert status == 200 and reply["status"] == "ok" and reply["result"]["status"] == "completed", reply
    parts = reply["covey"]["parts"]
    assert [part["first"] for part in parts] == [sum(part["count"] for part in parts[:index]) for index in range(len(parts))]
    assert sum(part["count"] for part in parts) == 12_000 and len(parts) == 2
    assert parts[-1]["shards"] == reply["covey"]["shards"]


def test_over_http2_too(served, qdrant):
    qdrant.create_collection("second", models.VectorParams(size=8, distance=models.Distance.DOT))
    body = json.dumps({"points": [point(number, vector) for number, vector in enumerate(vectors(12_000, dimension=8))]}).encode()
    with httpx.Client(http1=False, http2=True, timeout=120) as client:
        reply = client.put(f"{served.url}/collections/second/points?wait=true", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 200 and reply.http_version == "HTTP/2" and len(reply.json()["covey"]["parts"]) == 2
    assert qdrant.count("second").count == 12_000


def test_a_wrong_point_is_named_with_what_was_written_before(served, qdrant):
    qdrant.create_collection("wrong", models.VectorParams(size=8, distance=models.Distance.DOT))
    points = [point(number, vector) for number, vector in enumerate(vectors(14_000, dimension=8))]
    points[13_000]["vector"] = [1.0, 2.0]
    status, reply = served.json("PUT", "/collections/wrong/points?wait=true", {"points": points})
    assert status == 400, reply
    message, written = reply["status"]["error"], reply["covey"]["points_written"]
    assert "13000" in message and "expected 8 dimensions, found 2" in message and f"0…{written - 1} were written before" in message
    assert 10_000 <= written <= 13_000 and qdrant.count("wrong").count == written
    points[13_000]["id"] = "no uuid"
    status, reply = served.json("PUT", "/collections/wrong/points?wait=true", {"points": points})
    assert status == 400 and "points[13000].id must be an unsigned integer or a UUID" in reply["status"]["error"], reply


def test_what_is_too_large_is_refused_by_its_limit(served, qdrant):
    create(qdrant, "limit")
    body = json.dumps({"points": [point(number, vector) for number, vector in enumerate(vectors(13_000))]}).encode()
    assert len(body) > 16 << 20
    status, text = served.request("PUT", "/collections/limit/points?wait=true", body)
    assert status == 413 and "the limit is 16777216" in text.decode()
    huge = {"points": [{"id": 1, "vector": [1.0] * DIMENSION, "payload": {"text": "x" * (2 << 20)}}]}
    status, text = served.request("PUT", "/collections/limit/points?wait=true", huge)
    assert status == 413 and "points[0] has more than 1048576 bytes" in text.decode()
    columns = {"batch": {"ids": list(range(4_000)), "vectors": [[float(x) for x in vector] for vector in vectors(4_000)]}}
    status, text = served.request("PUT", "/collections/limit/points?wait=true", columns)
    assert status == 400 and "must have points" in text.decode()
    status, text = served.request("PUT", "/collections/none/points?wait=true", {"points": [point(number, vector) for number, vector in enumerate(vectors(4_000))]})
    assert status == 404
    assert qdrant.count("limit").count == 0


def test_a_client_that_leaves_within_the_body_leaves_whole_parts(served, qdrant):
    qdrant.create_collection("left", models.VectorParams(size=8, distance=models.Distance.DOT))
    body = json.dumps({"points": [point(number, vector) for number, vector in enumerate(vectors(30_000, dimension=8))]}).encode()
    address = urllib.parse.urlparse(served.url)
    connection = http.client.HTTPConnection(address.hostname, address.port)
    connection.putrequest("PUT", "/collections/left/points?wait=true")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(len(body)))
    connection.endheaders()
    connection.send(body[: len(body) * 3 // 4])
    served.wait_for(lambda: qdrant.count("left").count > 0, "the first part to be there")
    connection.close()
    served.wait_for(lambda: json.loads(served.get("/collections/left")[1])["result"]["points_count"] % 10_000 == 0, "only whole parts")
    assert 0 < qdrant.count("left").count < 30_000
    qdrant.upsert("left", [models.PointStruct(id=1, vector=[1.0] * 8)], wait=True)  # it goes on serving


def test_a_tenants_limits_hold_within_one_body(make_cluster, tmp_path):
    key = hashlib.sha256(b"secret").hexdigest()
    tenant = {"name": "a", "keys": [{"name": "main", "sha256": key}]}
    (tmp_path / "tenants.yaml").write_text(json.dumps({"limits": {"points": 12_000, "body_mib": 3}, "tenants": [tenant]}))
    limited = make_cluster(serve=True, settings={"gateway.body_mib": 1, "tenants.file": str(tmp_path / "tenants.yaml")})
    headers = {"api-key": "secret"}
    assert limited.json("PUT", "/collections/a", {"vectors": {"size": 8, "distance": "Dot"}}, headers)[0] == 200
    points = [{"id": number, "vector": [number / 7] * 8} for number in range(13_000)]
    status, reply = limited.json("PUT", "/collections/a/points?wait=true", {"points": points}, headers)
    assert status == 403 and "above its limit of 12000" in reply["status"]["error"] and reply["covey"]["points_written"] == 10_000, reply
    status, text = limited.request("PUT", "/collections/a/points?wait=true", {"points": points * 2}, headers)
    assert status == 413 and b"the limit is 3145728" in text


def resident(pid):
    """Bytes of a process's own memory: files that are mapped may go whenever the system wants."""
    fields = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status") if ":" in line)
    return int(fields["RssAnon"].split()[0]) * 1024


@pytest.mark.skipif("BENCHMARK" not in os.environ, reason="BENCHMARK=1 writes 100,000 points of 384 numbers, 800 MB of JSON")
def test_benchmark_a_hundred_thousand_points(make_cluster):
    cluster = make_cluster(shards=2, settings={"gateway.body_mib": 64})
    qdrant = QdrantClient(cluster.url, timeout=600)
    qdrant.create_collection("benchmark", models.VectorParams(size=384, distance=models.Distance.COSINE))
    texts = [json.dumps(point(number, vector)).encode() for number, vector in enumerate(vectors(100_000, dimension=384))]
    body = b'{"points": [' + b", ".join(texts) + b"]}"
    del texts
    pid = cluster.processes["coordinator"].pid
    before, peak, done = resident(pid), [0], threading.Event()

    def watch():
        while not done.wait(0.02):
            peak[0] = max(peak[0], resident(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    status, text = cluster.request("PUT", "/collections/benchmark/points?wait=true", body, timeout=600)
    seconds = time.monotonic() - started
    done.set()
    watcher.join()
    assert status == 200, text
    assert qdrant.count("benchmark").count == 100_000
    parts = len(json.loads(text)["covey"]["parts"])
    print(
        f"\nbenchmark: body {len(body) / 2**20:.0f} MiB, {parts} parts, {seconds:.1f} s, {len(body) / 2**20 / seconds:.0f} MiB/s, {100_000 / seconds:.0f} points/s; "
        f"coordinator's own memory {before / 2**20:.0f} MiB before, {peak[0] / 2**20:.0f} MiB at most"
    )
