"""Two replicas of each shard: a node that dies, stops or is cut off costs no read and no acknowledged write."""

import os
import signal
import socket
import threading
import time

import grpc
import pytest
from test_cluster import DIMENSION, exact_top, fill, make_points, query
from test_grpc import protos  # noqa: F401, a fixture


class Load:
    """Readers and writers without pause; what they got is kept."""

    def __init__(self, cluster, name, readers=2, writers=2):
        self.acknowledged, self.failed_writes, self.reads, self.failed_reads = [], [], [0], []
        #: Longest time between two acknowledged writes of one writer, in seconds.
        self.longest_wait = 0.0
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.write, args=(cluster, name, number), daemon=True) for number in range(writers)]
        self.threads += [threading.Thread(target=self.read, args=(cluster, name), daemon=True) for _ in range(readers)]
        for thread in self.threads:
            thread.start()

    def write(self, cluster, name, writer):
        number, last = 0, time.monotonic()
        while not self.ended.is_set():
            id = 10_000 + writer + 16 * number
            number += 1
            status, reply = cluster.json("PUT", f"/collections/{name}/points?wait=true", {"points": [{"id": id, "vector": [1.0] * DIMENSION}]})
            if status == 200:
                self.acknowledged.append(id)
                self.longest_wait = max(self.longest_wait, time.monotonic() - last)
                last = time.monotonic()
            else:
                self.failed_writes.append((status, reply))

    def read(self, cluster, name):
        while not self.ended.is_set():
            status, reply = query(cluster, name, [1.0] * DIMENSION)
            self.reads[0] += 1
            if status != 200 or not reply["covey"]["coverage"]["complete"] or reply["covey"]["coverage"]["unverified"]:
                self.failed_reads.append((status, reply))

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(60)
        return self


def found(cluster, name, ids):
    status, reply = cluster.json("POST", f"/collections/{name}/points", {"ids": ids})
    assert status == 200, reply
    return {point["id"] for point in reply["result"]}


def shards_of(cluster, name):
    return cluster.json("GET", f"/collections/{name}")[1]["result"]["covey"]["shards"]


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_a_node_that_dies_or_stops_costs_no_read_and_no_acknowledged_write(make_cluster, fault):
    cluster = make_cluster(shards=3)
    points = make_points(31)
    fill(cluster, "replicated", points)
    load = Load(cluster, "replicated")
    cluster.wait_for(lambda: len(load.acknowledged) > 200 and load.reads[0] > 200, "some load")
    process = cluster.processes["shard-1"]
    os.kill(process.pid, fault)
    before = len(load.acknowledged)
    cluster.wait_for(lambda: len(load.acknowledged) > before + 500, "writes to go on without the node")
    if fault == signal.SIGSTOP:
        os.kill(process.pid, signal.SIGCONT)
    else:
        cluster.processes.pop("shard-1").wait()
        cluster.start("shard-1")
    before = len(load.acknowledged)
    cluster.wait_for(lambda: len(load.acknowledged) > before + 200, "writes to go on with the node")
    load.stop()
    assert not load.failed_reads, load.failed_reads[0]
    assert not load.failed_writes, load.failed_writes[0]
    assert load.longest_wait < 5
    assert found(cluster, "replicated", load.acknowledged) == set(load.acknowledged)
    for name in list(cluster.processes):
        cluster.kill(name)
    cluster.start().wait_until_ready()
    assert found(cluster, "replicated", load.acknowledged) == set(load.acknowledged)


def test_an_owner_that_slept_through_a_takeover_writes_nothing_and_reads_nothing_stale(make_cluster, protos):  # noqa: F811
    """H1, H2, H11: stopped, replaced, the log truncated, then awake again."""
    cluster = make_cluster(shards=2)
    assert cluster.json("PUT", "/collections/fenced", {"vectors": {"size": DIMENSION, "distance": "Dot"}, "shard_number": 1})[0] == 200
    put = lambda id: cluster.json("PUT", "/collections/fenced/points?wait=true", {"points": [{"id": id, "vector": [1.0] * DIMENSION}]})  # noqa: E731
    assert put(1)[0] == 200
    (shard,) = shards_of(cluster, "fenced")
    sleeper = shard["node"]
    other = "shard-2" if sleeper == "shard-1" else "shard-1"
    os.kill(cluster.processes[sleeper].pid, signal.SIGSTOP)
    assert put(2)[0] == 200
    # The new owner seals: the log that the sleeper knew is truncated.
    assert cluster.json("PATCH", "/collections/fenced", {"optimizers_config": {"indexing_threshold": 1}})[0] == 200
    assert put(3)[0] == 200
    os.kill(cluster.processes[sleeper].pid, signal.SIGCONT)
    messages = protos.shard
    with grpc.insecure_channel(cluster.addresses[sleeper]) as channel:
        stub = protos.shard_stub(channel)
        id = stub.Status(messages.StatusRequest(tenant="default"), timeout=30).shards[0].shard
        search = messages.SearchRequest(tenant="default", shard=id, searches=[messages.ShardSearch(vector=[1.0] * DIMENSION, limit=10)])
        assert {hit.id.integer for hit in stub.Search(search, timeout=30).results[0].hits} == {1, 2, 3}
        point = messages.Point(id=messages.PointID(integer=9), vector=[1.0] * DIMENSION)
        operation = messages.AppendRequest.Operation(upsert=messages.AppendRequest.Upsert(points=[point]))
        append = messages.AppendRequest(tenant="default", shard=id, operations=[operation])
        assert stub.Append(append, timeout=30).owner == other
    assert found(cluster, "fenced", [1, 2, 3, 9]) == {1, 2, 3}
    # Asked to take over, it may.
    with grpc.insecure_channel(cluster.addresses[sleeper]) as channel:
        append.takeover = True
        assert protos.shard_stub(channel).Append(append, timeout=30).owner == ""
    assert found(cluster, "fenced", [1, 2, 3, 9]) == {1, 2, 3, 9}


def test_a_replica_follows_its_owner_without_asking_the_store(make_cluster, protos):  # noqa: F811
    cluster = make_cluster(shards=2)
    assert cluster.json("PUT", "/collections/followed", {"vectors": {"size": DIMENSION, "distance": "Dot"}, "shard_number": 1})[0] == 200
    put = lambda id: cluster.json("PUT", "/collections/followed/points?wait=true", {"points": [{"id": id, "vector": [1.0] * DIMENSION}]})  # noqa: E731
    assert put(1)[0] == 200
    (shard,) = shards_of(cluster, "followed")
    replica = "shard-2" if shard["node"] == "shard-1" else "shard-1"
    messages = protos.shard
    with grpc.insecure_channel(cluster.addresses[shard["node"]]) as owner, grpc.insecure_channel(cluster.addresses[replica]) as channel:
        id = protos.shard_stub(owner).Status(messages.StatusRequest(tenant="default"), timeout=30).shards[0].shard
        stub = protos.shard_stub(channel)
        search = messages.SearchRequest(tenant="default", shard=id, searches=[messages.ShardSearch(vector=[1.0] * DIMENSION, limit=1_000)])
        seen = lambda consistency: {h.id.integer for h in stub.Search(search, metadata=[("covey-consistency", consistency)], timeout=30).results[0].hits}  # noqa: E731
        assert seen("strong") == {1}
        for number in range(2, 40):
            assert put(number)[0] == 200
            # Strong at once; the others as soon as the owner's message is there.
            if number % 2:
                assert seen("strong") == set(range(1, number + 1))
        cluster.wait_for(lambda: seen("eventual") == set(range(1, 40)), "the replica to follow")
        # A seal reaches it too: it maps the segment that the owner made.
        assert cluster.json("PATCH", "/collections/followed", {"optimizers_config": {"indexing_threshold": 1}})[0] == 200
        status = messages.StatusRequest(tenant="default", shards=[id])
        cluster.wait_for(lambda: stub.Status(status, timeout=30).shards[0].segments == 1, "the replica to map the segment")
        assert seen("eventual") == set(range(1, 40))
        with pytest.raises(grpc.RpcError) as error:
            seen("now")
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "eventual" in error.value.details()


def test_several_coordinators_see_each_others_writes_at_once_and_any_may_die(make_cluster):
    cluster = make_cluster(shards=3, coordinators=2)
    other = "http://" + cluster.more_gateways["coordinator-2"]
    cluster.wait_for(lambda: cluster.request("GET", "/readyz", url=other)[0] == 200, "the second coordinator")
    fill(cluster, "shared", make_points(33))
    for number in range(50):
        urls = (cluster.url, other) if number % 2 else (other, cluster.url)
        point = {"id": 20_000 + number, "vector": [3.0] * DIMENSION, "payload": {"n": number}}
        assert cluster.json("PUT", "/collections/shared/points?wait=true", {"points": [point]}, url=urls[0])[0] == 200
        _, reply = cluster.json("POST", "/collections/shared/points/count", {"filter": {"must": [{"has_id": [point["id"]]}]}}, url=urls[1])
        assert reply["result"]["count"] == 1
    cluster.kill("coordinator")
    status, reply = cluster.json("POST", "/collections/shared/points/count", {}, url=other)
    assert status == 200 and reply["result"]["count"] == 450
    cluster.start("coordinator")


def test_while_the_store_is_away_reads_say_that_they_are_unverified(make_cluster, seaweedfs, tmp_path):
    """H12: `strong` fails or says so; `eventual` goes on."""
    settings = {**seaweedfs.store("unverified", tmp_path / "cache"), "store.attempts": 1, "store.timeout_ms": 3_000}
    cluster = make_cluster(shards=2, settings=settings)
    points = make_points(34)
    fill(cluster, "away", points)
    vector = points[3]["vector"]
    ask = lambda parameters: query(cluster, "away", vector, parameters=parameters, params={"exact": True})  # noqa: E731
    assert ask("")[1]["covey"]["coverage"]["consistency"] == "verified"
    seaweedfs.pause()
    try:
        # Within an owner's lease an answer is still current.
        cluster.wait_for(lambda: ask("")[1]["covey"]["coverage"]["consistency"] == "unverified", "the leases to end")
        status, reply = ask("")
        assert status == 200 and [p["id"] for p in reply["result"]["points"]] == exact_top(points, vector)
        coverage = reply["covey"]["coverage"]
        assert coverage["complete"] and len(coverage["unverified"]) == 2
        assert all(part["reason"] and part["position"] > 0 and part["age_seconds"] > 0 for part in coverage["unverified"])
        status, reply = ask("?partial=fail")
        assert status == 503 and "store" in str(reply)
        status, reply = ask("?consistency=eventual")
        assert status == 200 and reply["covey"]["coverage"]["consistency"] == "verified"
        status, reply = ask("?consistency=bounded:600000")
        assert status == 200 and [p["id"] for p in reply["result"]["points"]] == exact_top(points, vector)
    finally:
        seaweedfs.resume()
    cluster.wait_for(lambda: ask("")[1]["covey"]["coverage"]["consistency"] == "verified", "the store to be back")
    assert ask("?consistency=soon")[0] == 400


class Wire:
    """A TCP connection to a port that can be cut: nothing passes then, and nobody is told."""

    def __init__(self, port):
        self.target, self.whole = port, threading.Event()
        self.whole.set()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.server.accept()[0]
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(a, b), daemon=True).start()

    def carry(self, a, b):
        try:
            while data := a.recv(1 << 16):
                self.whole.wait()
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            b.close()

    def close(self):
        self.whole.set()
        self.server.close()


def test_an_owner_that_lives_and_does_not_reach_the_store_is_replaced(make_cluster, seaweedfs, tmp_path):
    settings = seaweedfs.store("owner-cut-off", tmp_path / "cache")
    wire = Wire(int(settings["store.endpoint"].rsplit(":", 1)[1]))
    cluster = make_cluster(shards=2, settings=settings, flags={"shard-1": ["--store-endpoint", f"http://127.0.0.1:{wire.port}"]})
    points = make_points(36)
    fill(cluster, "cut", points)
    # Its first writes are another's where it was late: then it takes its shards over when the other is away for a moment.
    put = lambda id: cluster.json("PUT", "/collections/cut/points?wait=true", {"points": [{"id": id, "vector": [1.0] * DIMENSION}]})  # noqa: E731
    owners = lambda: [id for id in range(10_000, 10_040) if put(id)[1]["covey"]["shards"][0]["node"] == "shard-1"]  # noqa: E731
    owned = owners()
    if not owned:
        cluster.kill("shard-2")
        cluster.start("shard-2")
        owned = owners()
    assert owned
    wire.whole.clear()
    start = time.monotonic()
    status, reply = put(owned[0])
    assert status == 200 and reply["covey"]["shards"][0]["node"] == "shard-2", reply
    assert time.monotonic() - start < 5
    status, reply = query(cluster, "cut", points[0]["vector"])
    assert status == 200 and reply["covey"]["coverage"]["complete"] and not reply["covey"]["coverage"]["unverified"]
    wire.whole.set()
    assert found(cluster, "cut", owned) == set(owned)
    wire.close()


@pytest.mark.skipif("BENCHMARK" not in os.environ, reason="a measurement: BENCHMARK=1 runs it")
def test_benchmark_consistency(make_cluster):
    """Searches of four shards at rest, 1 and 8 clients, by consistency; rounds in turn, the median of five."""
    cluster = make_cluster(shards=4)
    points = make_points(35, 4_000)
    fill(cluster, "rested", points)
    words = ["strong", "bounded:60000", "eventual"]

    def rate(word, clients, seconds=2.0):
        counts, end = [0] * clients, time.monotonic() + seconds

        def ask(number):
            while time.monotonic() < end:
                query(cluster, "rested", points[counts[number] % len(points)]["vector"], parameters=f"?consistency={word}")
                counts[number] += 1

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / seconds

    for clients in (1, 8):
        rounds = [[rate(word, clients) for word in words] for _ in range(5)]
        for index, word in enumerate(words):
            print(f"{clients} clients, {word}: {sorted(row[index] for row in rounds)[2]:.0f} searches/s")
