"""SIGTERM under load: each kind of node finishes what it accepted, and nothing that was accepted is dropped."""

import json
import queue
import threading
import urllib.request

import grpc
import pytest
from test_cluster import exact_top, fill, make_points, query
from test_grpc import protos  # noqa: F401, a fixture

DIMENSION = 16


@pytest.fixture
def drained(make_cluster):
    # Without replicas: nobody else answers for a node that stops.
    cluster = make_cluster(shards=2, settings={"replicas": 1})
    yield cluster
    cluster.stop()


def run_all(*functions):
    threads = [threading.Thread(target=each, daemon=True) for each in functions]
    for each in threads:
        each.start()
    return threads


def test_a_shard_node_answers_every_call_that_it_accepted(drained, protos):  # noqa: F811
    """Foreign clients call the node without pause. After SIGTERM a call may find no connection; none may be cut off."""
    cluster = drained
    fill(cluster, "drained", make_points(6))
    shard = protos.shard
    answered, failures = queue.Queue(), queue.Queue()

    def ask(number):
        with grpc.insecure_channel(cluster.addresses["shard-1"], options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = protos.shard_stub(channel)
            held = stub.Status(shard.StatusRequest(tenant="default"), timeout=30).shards
            request = shard.SearchRequest(tenant="default", shard=held[0].shard, searches=[shard.ShardSearch(vector=[1.0] * DIMENSION, limit=5)])
            while True:
                try:
                    stub.Search(request, timeout=30)
                    answered.put(number)
                except grpc.RpcError as error:
                    failures.put((error.code(), error.details()))
                    return

    threads = run_all(*[lambda number=number: ask(number) for number in range(6)])
    cluster.wait_for(lambda: answered.qsize() > 200, "some answers")
    assert cluster.terminate("shard-1") == 0, cluster.log("shard-1")[-2000:]
    for each in threads:
        each.join(60)
    ends = [failures.get_nowait() for _ in threads]
    for code, details in ends:
        assert code == grpc.StatusCode.UNAVAILABLE and "connect" in details.lower(), ends
    assert "cancelled" not in cluster.log("shard-1")


def test_writes_acknowledged_while_a_shard_node_stops_are_there_when_it_is_back(drained):
    cluster = drained
    fill(cluster, "written", make_points(7, 10))
    acknowledged, ends = [], queue.Queue()

    def write(writer):
        for number in range(10**6):
            point = {"id": 1_000 + writer + 8 * number, "vector": [1.0] * DIMENSION}
            status, reply = cluster.json("PUT", "/collections/written/points?wait=true", {"points": [point]})
            if status != 200:
                ends.put((status, reply))
                return
            acknowledged.append(point["id"])

    threads = run_all(*[lambda writer=writer: write(writer) for writer in range(8)])
    cluster.wait_for(lambda: len(acknowledged) > 100, "some writes")
    assert cluster.terminate("shard-2") == 0
    for each in threads:
        each.join(60)
    cluster.start("shard-2")
    count = {"exact": True}
    cluster.wait_for(
        lambda: query(cluster, "written", [1.0] * DIMENSION)[1]["covey"]["coverage"]["shards_answered"] == 2, "shard-2 to be used again")
    _, reply = cluster.json("POST", "/collections/written/points", {"ids": acknowledged})
    assert {point["id"] for point in reply["result"]} == set(acknowledged)
    assert cluster.json("POST", "/collections/written/points/count", count)[1]["result"]["count"] >= len(acknowledged) + 10
    # Writes for the other shard go on; those that failed say so and name the node.
    for status, reply in list(ends.queue):
        assert status == 503 and "shard-2" in json.dumps(reply), reply


def stream_answers(cluster, count, results):
    """Starts streamed answers; each puts its text once it has ended, or the error that ended it."""

    def ask():
        body = {"model": "talk", "stream": True, "messages": [{"role": "user", "content": "What does the owl eat?"}]}
        request = urllib.request.Request(cluster.url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            text, done = "", False
            with urllib.request.urlopen(request, timeout=120) as reply:
                for line in reply:
                    if line.startswith(b"data: [DONE]"):
                        done = True
                    elif line.startswith(b"data: "):
                        event = json.loads(line[6:])
                        assert "error" not in event, event
                        text += (event["choices"][0]["delta"].get("content") or "") if event["choices"] else ""
            results.put((done, text))
        except Exception as error:  # noqa: BLE001, the test shows it
            results.put((False, repr(error)))

    return run_all(*[ask] * count)


@pytest.mark.parametrize("stopped", ["generator", "coordinator"])
def test_streamed_answers_are_finished_before_a_node_stops(make_cluster, paced_model, tmp_path, stopped):
    cluster = make_cluster(shards=1, settings={"generation.url": paced_model.url, "generation.model": "paced"})
    (tmp_path / "owl.md").write_text("# Owls\n\nThe tawny owl eats wood mice and bank voles.\n")
    assert cluster.covey("ingest", str(tmp_path), "-c", "talk").returncode == 0
    proceed = threading.Event()

    def pieces(body):
        yield "Wood "
        proceed.wait(60)
        yield "mice."

    paced_model.pieces = pieces
    results = queue.Queue()
    threads = stream_answers(cluster, 8, results)
    for _ in threads:
        paced_model.requests.get(timeout=60)  # the answer has begun
    process = cluster.processes[stopped]
    process.terminate()
    # Clients that connect at this very moment must not take the node down.
    cluster.wait_for(lambda: cannot_connect(cluster, stopped), "the node to take nothing new")
    assert process.poll() is None, cluster.log(stopped)[-2000:]
    assert "crashed" not in cluster.log(stopped)
    proceed.set()
    for each in threads:
        each.join(120)
    assert [results.get_nowait() for _ in threads] == [(True, "Wood mice.")] * len(threads), cluster.log(stopped)[-3000:]
    assert cluster.terminate(stopped) == 0, cluster.log(stopped)[-2000:]
    cluster.stop()


def cannot_connect(cluster, name):
    import socket

    host, port = (cluster.url.removeprefix("http://") if name == "coordinator" else cluster.addresses[name]).split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        return False
    except OSError:
        return True
