"""A shard stops working for a caller within 10 ms of the call's end: its counter of codes scanned then stands still.

Many searches are sent at once, so that the node has work for much longer than the callers wait. Each round measures the time from
the end of the last call to the first look at the counter after which it does not move any more: an upper bound, the look included.
"""

import json
import math
import os
import statistics
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy
import pytest
from test_grpc import protos  # noqa: F401, a fixture

POINTS, DIMENSION, CALLS, ROUNDS = 200_000, 128, 360, 3
WAIT = 0.1
# The promise is held to with BENCHMARK=1, on a quiet machine; else the time is printed and the search must have stopped long before its end.
LIMIT = 0.010 if os.environ.get("BENCHMARK") else 1.0


@pytest.fixture(scope="module")
def busy(make_cluster, protos):  # noqa: F811
    """A node with a sealed shard whose searches take milliseconds each, and a call that searches all of it."""
    cluster = make_cluster(shards=1, settings={"shard.exact_points": 0, "shard.seal_points": 10**8, "coordinator.deadline_ms": int(WAIT * 1_000)})
    shard = protos.shard
    body = {"vectors": {"size": DIMENSION, "distance": "Dot"}, "shard_number": 1}
    assert cluster.json("PUT", "/collections/busy", body)[0] == 200
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(cluster.addresses["shard-1"], options=options) as channel:
        stub = protos.shard_stub(channel)
        assert cluster.json("PUT", "/collections/busy/points?wait=true", {"points": [{"id": 1, "vector": [1.0] * DIMENSION}]})[0] == 200
        (status,) = stub.Status(shard.StatusRequest(tenant="default"), timeout=10).shards
        vectors = numpy.random.default_rng(1).standard_normal((POINTS, DIMENSION), dtype=numpy.float32)
        for start in range(0, POINTS, 10_000):
            points = [
                shard.Point(id=protos.shard.PointID(integer=start + i), vector=vector)
                for i, vector in enumerate(vectors[start : start + 10_000].tolist(), start=1)
            ]
            upsert = shard.AppendRequest.Operation(upsert=shard.AppendRequest.Upsert(points=points))
            stub.Append(shard.AppendRequest(tenant="default", shard=status.shard, operations=[upsert]), timeout=120)
        assert stub.Seal(shard.SealRequest(tenant="default", shard=status.shard), timeout=600).points == POINTS
        effort = shard.SearchEffort(probes=10**6, candidates=20_000)
        request = shard.SearchRequest(tenant="default", shard=status.shard, searches=[shard.ShardSearch(vector=[1.0] * DIMENSION, limit=10, effort=effort)])
        yield cluster, stub, request, shard.StatusRequest(tenant="default", shards=[status.shard])
    cluster.stop()


class Watch:
    """Looks at the counter as often as it can."""

    def __init__(self, stub, request):
        self.stub, self.request, self.looks, self.is_over = stub, request, [], False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.is_over:
            codes = self.stub.Status(self.request, timeout=60).codes_scanned
            self.looks.append((time.monotonic(), codes))

    def still_after(self, end):
        """Seconds from `end` to the first look that shows the last value; the counter is watched for half a second."""
        while time.monotonic() < end + 0.5:
            time.sleep(0.05)
        self.is_over = True
        self.thread.join()
        last = self.looks[-1][1]
        first = next(moment for moment, codes in self.looks if codes == last)
        return max(0.0, first - end), last - self.looks[0][1]


def measure(name, one_round):
    """Rounds until one is within the limit: on a busy machine a look may come late; it never comes early."""
    times = []
    while len(times) < ROUNDS or (min(times) > LIMIT and len(times) < 8 * ROUNDS):
        times.append(one_round())
    print(f"{name}: counter stands still after {', '.join(f'{1_000 * t:.1f}' for t in times)} ms, median {1_000 * statistics.median(times):.1f} ms")
    assert min(times) <= LIMIT


def shown(seconds, scanned):
    """Where this process was late, or the node quick, the searches were over before the callers left: such a round shows nothing."""
    assert scanned > 0
    return seconds if scanned < 0.9 * CALLS * POINTS else math.inf


def test_searches_that_are_cancelled_stop(busy):
    cluster, stub, request, status = busy

    def one_round():
        watch = Watch(stub, status)
        calls = [stub.Search.future(request, timeout=60) for _ in range(CALLS)]
        time.sleep(WAIT)
        for call in calls:
            call.cancel()
        seconds, scanned = watch.still_after(time.monotonic())
        return shown(seconds, scanned)

    measure("RST_STREAM", one_round)
    # As many callers that give up are no attack: the connection, and what others do on it, goes on.
    with urllib.request.urlopen(f"http://{cluster.addresses['shard-1']}/metrics", timeout=10) as reply:
        text = reply.read().decode()
    assert 'method="covey.v1.Shard/Search",code="cancelled"}' in text
    assert "broke HTTP/2" not in cluster.log("shard-1")


def test_searches_stop_at_their_deadline(busy):
    _, stub, request, status = busy

    def one_round():
        watch = Watch(stub, status)
        end = time.monotonic() + WAIT
        calls = [stub.Search.future(request, timeout=max(0.001, end - time.monotonic())) for _ in range(CALLS)]
        seconds, scanned = watch.still_after(end)
        codes = {call.exception(timeout=60).code() for call in calls if call.exception(timeout=60)}
        seconds = shown(seconds, scanned)
        assert codes <= {grpc.StatusCode.DEADLINE_EXCEEDED} and (codes or seconds == math.inf)
        return seconds

    measure("deadline", one_round)


def test_the_deadline_of_the_public_api_reaches_the_shard(busy):
    """A coordinator that gives a search 100 ms: once it has answered, the shard does nothing more for it."""
    cluster, stub, request, status = busy
    body = json.dumps({"query": [1.0] * DIMENSION, "limit": 10, "params": {"hnsw_ef": 150_000}}).encode()

    def ask(_):
        status, _ = cluster.request("POST", "/collections/busy/points/query", body)  # without any shard's answer there is none
        return status, time.monotonic()

    with ThreadPoolExecutor(128) as pool:

        def one_round():
            watch = Watch(stub, status)
            answers = list(pool.map(ask, range(128)))
            assert {code for code, _ in answers} <= {200, 503, 504}
            seconds = watch.still_after(max(moment for _, moment in answers))[0]
            return seconds if any(code != 200 for code, _ in answers) else math.inf  # see `shown`

        measure("through the coordinator", one_round)
