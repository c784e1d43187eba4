"""grpcio, a foreign gRPC implementation, calls every method of every service of real nodes.

The stubs are generated from `Protos` as any user of another language would do it.
"""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import grpc
import pytest
from conftest import ROOT

PROTOS = ROOT / "Protos"
DIMENSION = 4


@pytest.fixture(scope="session")
def protos(tmp_path_factory):
    """The generated modules: shard, generator, health, each as (messages, stubs)."""
    folder = tmp_path_factory.mktemp("protos")
    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    # grpcio-tools wants packages named as the folders; `grpc` would hide grpcio itself, so health moves aside.
    source = folder / "source"
    for file in files:
        target = source / file.replace("grpc/health", "standard_health")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text((PROTOS / file).read_text())
    names = [str(path.relative_to(source)) for path in sorted(source.rglob("*.proto"))]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{source}", f"--python_out={folder}", f"--grpc_python_out={folder}", *names]
    subprocess.run(command, check=True, cwd=folder)
    sys.path.insert(0, str(folder))
    from covey.v1 import generator_pb2, generator_pb2_grpc, shard_pb2, shard_pb2_grpc
    from standard_health.v1 import health_pb2, health_pb2_grpc

    class Protos:
        shard, shard_stub = shard_pb2, shard_pb2_grpc.ShardStub
        generator, generator_stub = generator_pb2, generator_pb2_grpc.GeneratorStub
        health, health_stub = health_pb2, health_pb2_grpc.HealthStub

    return Protos


@pytest.fixture(scope="module")
def shard_channel(cluster):
    with grpc.insecure_channel(cluster.addresses["shard-1"]) as channel:
        yield channel


@pytest.fixture(scope="module")
def generator_channel(cluster):
    with grpc.insecure_channel(cluster.addresses["generator"]) as channel:
        yield channel


@pytest.fixture(scope="module")
def shard_id(cluster, protos, shard_channel):
    """A shard of a collection, at the node that owns it."""
    body = {"vectors": {"size": DIMENSION, "distance": "Dot"}, "shard_number": 4}
    assert cluster.json("PUT", "/collections/foreign", body)[0] == 200
    point = {"id": 1, "vector": [1.0] * DIMENSION}
    points = [{**point, "id": i} for i in range(1, 65)]  # one at least for every shard, so that all are open
    status, reply = cluster.json("PUT", "/collections/foreign/points?wait=true", {"points": points})
    assert status == 200
    owned = {part["shard"] for part in reply["covey"]["shards"] if part["node"] == "shard-1"}
    status = protos.shard_stub(shard_channel).Status(protos.shard.StatusRequest(tenant="default"), timeout=10)
    incarnation = int(cluster.json("GET", "/collections/foreign")[1]["result"]["covey"]["incarnation"], 16)
    held = [shard for shard in status.shards if shard.shard.incarnation == incarnation and shard.shard.index in owned]
    assert held, "shard-1 owns no shard of the collection"
    return max(held, key=lambda shard: shard.points).shard


def identifier(protos, value):
    return protos.shard.PointID(integer=value)


def test_every_method_of_a_shard(protos, shard_channel, shard_id):
    stub, shard = protos.shard_stub(shard_channel), protos.shard
    named = {"tenant": "default", "shard": shard_id}
    status = next(s for s in stub.Status(shard.StatusRequest(tenant="default", shards=[shard_id])).shards)
    before = stub.Count(shard.CountRequest(**named)).count
    assert before == status.points

    # A UUID whose first half hashes anywhere is kept by the shard that is asked only if it lies in its range, so
    # points are overwritten that the shard holds already.
    page = shard.FetchRequest.Page(limit=5)
    everything = shard.PayloadSelection(all=shard.PayloadSelection.Everything())
    held = stub.Fetch(shard.FetchRequest(**named, page=page, with_payload=everything, with_vector=True)).points
    assert len(held) == min(5, before) and all(len(point.vector) == DIMENSION for point in held)
    points = [
        shard.Point(id=point.id, vector=[float(i)] * DIMENSION, payload=json.dumps({"n": i, "text": "naïve"}).encode())
        for i, point in enumerate(held, start=2)
    ]
    upsert = shard.AppendRequest.Operation(upsert=shard.AppendRequest.Upsert(points=points))
    appended = stub.Append(shard.AppendRequest(**named, operations=[upsert]))
    assert appended.position > 0 and appended.superseded == len(points)

    searches = [shard.ShardSearch(vector=[1.0] * DIMENSION, limit=3), shard.ShardSearch(vector=[-1.0] * DIMENSION, limit=1)]
    hits, farthest = stub.Search(shard.SearchRequest(**named, searches=searches), timeout=10).results
    assert len(farthest.hits) == 1 and farthest.hits[0].id != hits.hits[0].id
    assert [hit.id for hit in hits.hits] == [point.id for point in reversed(points)][:3]
    assert hits.hits[0].score == pytest.approx(DIMENSION * (len(points) + 1))
    assert hits.work.points_held == before

    search = shard.ShardSearch(vector=[1.0] * DIMENSION, limit=1)
    explained = stub.Explain(shard.ExplainRequest(**named, search=search, ids=[hits.hits[0].id, hits.hits[1].id]), timeout=10)
    assert [each.step for each in explained.explanations] == [shard.SEARCH_STEP_HIT, shard.SEARCH_STEP_RANK]
    assert [(each.exact.place, each.exact.count) for each in explained.explanations] == [(1, before), (2, before)]

    matches = shard.Filter(must=[shard.Condition(match=shard.Condition.Match(key="n", values=[b"3"]))])
    assert stub.Count(shard.CountRequest(**named, filter=matches)).count == 1
    versions = shard.FetchRequest.Versions(points=[shard.PointVersion(id=hits.hits[0].id, version=hits.hits[0].version)])
    (found,) = stub.Fetch(shard.FetchRequest(**named, versions=versions, with_payload=everything)).points
    assert json.loads(found.payload) == {"n": len(points) + 1, "text": "naïve"}

    sealed = stub.Seal(shard.SealRequest(**named), timeout=60)
    assert sealed.points == before and sealed.segments >= 1

    delete = shard.AppendRequest.Operation(delete=shard.AppendRequest.Delete(ids=[points[0].id]))
    assert stub.Append(shard.AppendRequest(**named, operations=[delete])).superseded == 1
    assert stub.Count(shard.CountRequest(**named)).count == before - 1


def test_drop_ends_the_shard(cluster, protos, shard_channel):
    """A dropped shard is gone from its node; those of other collections stay."""
    stub, shard = protos.shard_stub(shard_channel), protos.shard

    def open_shards():
        return {(s.shard.incarnation, s.shard.index): s.shard for s in stub.Status(shard.StatusRequest(tenant="default")).shards}

    others = open_shards()
    body = {"vectors": {"size": DIMENSION, "distance": "Dot"}, "shard_number": 4}
    assert cluster.json("PUT", "/collections/dropped", body)[0] == 200
    points = [{"id": i, "vector": [1.0] * DIMENSION} for i in range(1, 65)]
    assert cluster.json("PUT", "/collections/dropped/points?wait=true", {"points": points})[0] == 200
    ours = {key: value for key, value in open_shards().items() if key not in others}
    assert ours, "shard-1 keeps no shard of the collection"
    for each in ours.values():
        stub.Drop(shard.DropRequest(tenant="default", shard=each), timeout=30)
    assert open_shards().keys() == others.keys()


def test_an_answer_is_streamed(protos, generator_channel):
    stub, generator = protos.generator_stub(generator_channel), protos.generator
    text = "Coveys are small flocks of partridges. They fly low."
    source = generator.Source(document="birds.md", title="Birds", headings=["Coveys"], text=text, start=0, end=len(text), score=0.9)
    request = generator.AnswerRequest(
        tenant="default", question="What are coveys?", sources=[source],
        history=[generator.ChatTurn(speaker=generator.ChatTurn.SPEAKER_USER, text="hello")],
        options=generator.AnswerOptions(show_prompt=True, extractive=True),
    )
    events = list(stub.Answer(request, timeout=60, metadata=[("x-request-id", "foreign-1")]))
    assert [event.WhichOneof("kind") for event in events[:1]] == ["prompt"]
    assert events[-1].WhichOneof("kind") == "finished"
    answer = "".join(event.text for event in events if event.WhichOneof("kind") == "text")
    assert "flocks of partridges" in answer
    for citation in events[-1].finished.citations:
        assert text.encode()[citation.start : citation.end].decode() == citation.quote or not citation.quote


@pytest.mark.parametrize("node,service", [("shard-1", "covey.v1.Shard"), ("generator", "covey.v1.Generator"), ("shard-1", "")])
def test_health(cluster, protos, node, service):
    with grpc.insecure_channel(cluster.addresses[node]) as channel:
        stub = protos.health_stub(channel)
        request = protos.health.HealthCheckRequest(service=service)
        assert stub.Check(request, timeout=10).status == protos.health.HealthCheckResponse.SERVING
        watch = stub.Watch(request, timeout=10)
        assert next(watch).status == protos.health.HealthCheckResponse.SERVING
        watch.cancel()
        with pytest.raises(grpc.RpcError) as error:
            stub.Check(protos.health.HealthCheckRequest(service="no.such.Service"), timeout=10)
        assert error.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "change,code,word",
    [
        ({"tenant": ""}, grpc.StatusCode.INVALID_ARGUMENT, "tenant"),
        ({"tenant": "other"}, grpc.StatusCode.PERMISSION_DENIED, "other"),
        ({"searches": [{"vector": [1.0] * DIMENSION, "limit": 1}, {"vector": [1.0], "limit": 1}]}, grpc.StatusCode.INVALID_ARGUMENT, "searches[1].vector"),
        ({"searches": []}, grpc.StatusCode.INVALID_ARGUMENT, "1…256, found 0"),
        ({"searches": [{"vector": [1.0] * DIMENSION, "limit": 1}] * 257}, grpc.StatusCode.INVALID_ARGUMENT, "found 257"),
    ],
)
def test_bad_requests_say_what_is_wrong(protos, shard_channel, shard_id, change, code, word):
    fields = {"tenant": "default", "shard": shard_id, "searches": [{"vector": [1.0] * DIMENSION, "limit": 1}], **change}
    with pytest.raises(grpc.RpcError) as error:
        protos.shard_stub(shard_channel).Search(protos.shard.SearchRequest(**fields), timeout=10)
    assert error.value.code() == code and word in error.value.details()


def test_what_the_node_does_not_do_is_unimplemented(protos, cluster, shard_channel):
    with pytest.raises(grpc.RpcError) as error:
        shard_channel.unary_unary("/covey.v1.Shard/NoSuchMethod")(b"", timeout=10)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
    with grpc.insecure_channel(cluster.addresses["shard-1"], compression=grpc.Compression.Gzip) as compressed:
        with pytest.raises(grpc.RpcError) as error:
            protos.shard_stub(compressed).Status(protos.shard.StatusRequest(tenant="default"), timeout=10)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_message_are_refused(shard_channel):
    with pytest.raises(grpc.RpcError) as error:
        shard_channel.unary_unary("/covey.v1.Shard/Search")(b"\xff" * 40, timeout=10)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def refusals(protos, cluster):
    """Calls that are refused before their tenant is known, and the code that says so."""
    address = cluster.addresses["shard-1"]
    big = [("grpc.max_send_message_length", -1)]

    def raw(path, message, **more):
        with grpc.insecure_channel(address, options=big, **more) as channel:
            channel.unary_unary(path)(message, timeout=60, metadata=[("x-request-id", f"refused{path.replace('/', '-')}-{len(message)}")])

    yield grpc.StatusCode.UNIMPLEMENTED, lambda: raw("/covey.v1.Shard/NoSuchMethod", b"")
    yield grpc.StatusCode.INVALID_ARGUMENT, lambda: raw("/covey.v1.Shard/Search", b"\xff" * 40)
    yield grpc.StatusCode.UNIMPLEMENTED, lambda: raw("/covey.v1.Shard/Status", b"x" * 1_000, compression=grpc.Compression.Gzip)
    yield grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: raw("/covey.v1.Shard/Append", bytes((64 << 20) + 1))


def test_a_refused_call_has_its_request_id_in_the_error_and_in_the_log(protos, cluster):
    for code, call in refusals(protos, cluster):
        with pytest.raises(grpc.RpcError) as error:
            call()
        assert error.value.code() == code
        (request_id,) = [value for key, value in error.value.trailing_metadata() if key == "x-request-id"]
        assert request_id.startswith("refused-covey.v1.Shard-")
        (line,) = [line for line in cluster.log("shard-1").splitlines() if f"request={request_id}" in line]
        assert "call refused" in line and "/covey.v1.Shard/" in line


def test_every_node_hands_out_its_metrics(cluster, protos, shard_channel):
    protos.shard_stub(shard_channel).Status(protos.shard.StatusRequest(tenant="default"), timeout=10)
    for name, address in cluster.addresses.items():
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
            text = reply.read().decode()
        assert "covey_rpc_server_connections" in text and "process_resident_memory_bytes" in text, name
        if name == "shard-1":
            assert 'covey_rpc_server_calls_total{method="covey.v1.Shard/Status",code="ok"}' in text and "covey_shard_codes_scanned" in text
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=10) as reply:
            assert reply.status == 200
    _, text = cluster.get("/metrics")
    for name in ["shard-1", "generator"]:
        assert f'covey_rpc_client_connections{{peer="{cluster.addresses[name]}"}}' in text.decode()


def test_a_hundred_calls_at_a_time(protos, shard_channel, shard_id):
    stub = protos.shard_stub(shard_channel)
    request = protos.shard.CountRequest(tenant="default", shard=shard_id)
    counts = {call.result(timeout=30).count for call in [stub.Count.future(request) for _ in range(100)]}
    assert len(counts) == 1
