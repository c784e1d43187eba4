"""`covey snapshot` and `covey restore` beside a cluster that writes: another number of shards, another cluster, folder and S3."""

import json
import random
import threading

import pytest
from conftest import Cluster
from test_cluster import DIMENSION, exact_top, fill, make_points, query


def run(cluster, *arguments):
    reply = cluster.covey(*arguments, "--config", str(cluster.configuration), "--json")
    assert reply.returncode == 0, reply.stderr
    return json.loads(reply.stdout)


def answers(cluster, name, points, count=40):
    """What queries find, payloads of all points, and the recall of what was found."""
    generator = random.Random(3)
    ids, found = [], 0
    for _ in range(count):
        vector = [generator.gauss(0, 1) for _ in range(DIMENSION)]
        status, reply = query(cluster, name, vector)
        assert status == 200, reply
        ids.append([p["id"] for p in reply["result"]["points"]])
        found += len(set(ids[-1]) & set(exact_top(points, vector)))
    status, reply = cluster.json("POST", f"/collections/{name}/points/scroll", {"limit": 10_000, "with_payload": True})
    return ids, {p["id"]: p["payload"] for p in reply["result"]["points"]}, found / (10 * count)


@pytest.mark.parametrize("store", ["folder", "s3"])
def test_a_snapshot_made_beside_writers_is_restored_into_another_shape(make_cluster, request, tmp_path, store):
    settings = {"shard.exact_points": 0, "shard.seal_points": 300}
    if store == "s3":
        settings |= request.getfixturevalue("seaweedfs").store("snapshots", tmp_path / "cache")
    cluster = make_cluster(settings=settings)
    points = make_points(21, 4_000)
    fill(cluster, "kept", points[:3_000])
    fill(cluster, "busy", points[:10])
    over = threading.Event()
    acknowledged = [10]

    def write():
        while not over.is_set() and acknowledged[0] < 4_000:
            batch = points[acknowledged[0] : acknowledged[0] + 10]
            status, reply = cluster.json("PUT", "/collections/busy/points?wait=true", {"points": batch})
            assert status == 200, reply
            acknowledged[0] += 10

    writer = threading.Thread(target=write)
    writer.start()
    try:
        before = acknowledged[0]
        record = run(cluster, "snapshot", "--all")
    finally:
        over.set()
        writer.join()
    held = {c["name"]: c["points"] for c in record["collections"]}
    assert held["kept"] == 3_000 and before <= held["busy"] <= acknowledged[0]
    assert [s["id"] for s in run(cluster, "snapshot", "list")] == [record["id"]]

    ids, payloads, recall = answers(cluster, "kept", points[:3_000])
    # The same cluster, another name and number of shards.
    made = run(cluster, "restore", record["id"], "--collection", "kept", "--as", "wide", "--shards", "7")
    assert made == {"collection": "wide", "points": 3_000, "shards": 7}
    wide_ids, wide_payloads, wide_recall = answers(cluster, "wide", points[:3_000])
    assert wide_payloads == payloads and len(payloads) == 3_000
    assert recall >= 0.95 and wide_recall >= recall - 0.02, (recall, wide_recall)
    # The same shape: the same objects, the same answers.
    run(cluster, "restore", record["id"], "--collection", "kept", "--as", "same")
    assert answers(cluster, "same", points[:3_000]) == (ids, payloads, recall)
    # Both take writes, and the store is whole.
    for name in ("wide", "same"):
        status, reply = cluster.json("PUT", f"/collections/{name}/points?wait=true", {"points": points[3_000:3_010]})
        assert status == 200, reply
        _, reply = cluster.json("POST", f"/collections/{name}/points/count", {"exact": True})
        assert reply["result"]["count"] == 3_010
    reply = cluster.covey("verify", "--config", str(cluster.configuration))
    assert reply.returncode == 0 and " 0 orphans" in reply.stdout, reply.stdout

    # Out of the cluster, into another one with another number of nodes.
    export = tmp_path / "export"
    export.mkdir()
    run(cluster, "snapshot", "kept", "--to", str(export))
    assert cluster.covey("snapshot", "kept", "--to", str(export), "--config", str(cluster.configuration)).returncode == 1
    other = make_cluster(serve=True, settings={"shard.exact_points": 0})
    run(other, "restore", "--from", str(export))
    other_ids, other_payloads, other_recall = answers(other, "kept", points[:3_000])
    assert (other_ids, other_payloads, other_recall) == (ids, payloads, recall)
    again = other.covey("restore", "--from", str(export), "--config", str(other.configuration))
    assert again.returncode == 1 and "exists" in again.stderr

    run(cluster, "snapshot", "delete", record["id"])
    assert run(cluster, "snapshot", "list") == []
    missing = cluster.covey("restore", record["id"], "--config", str(cluster.configuration))
    assert missing.returncode == 1 and "no snapshot" in missing.stderr


@pytest.mark.parametrize("store", ["folder", "s3"])
def test_a_causal_snapshot_has_no_point_without_those_that_were_acknowledged_before_it(make_cluster, request, tmp_path, store):
    settings = {"shard.seal_points": 40}
    if store == "s3":
        settings |= request.getfixturevalue("seaweedfs").store("cuts", tmp_path / "cache")
    cluster = make_cluster(settings=settings)
    points = make_points(22, 3_000)
    fill(cluster, "chain", points[:1], shards=5)
    over = threading.Event()
    count, failures = [1], []

    def write():
        # One after the other, each to the shard of its id: what a snapshot may hold is the first so many.
        while not over.is_set() and count[0] < len(points):
            status, reply = cluster.json("PUT", "/collections/chain/points?wait=true", {"points": [points[count[0]]]})
            if status != 200:
                failures.append(reply)
                return
            count[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    records = []
    try:
        for number in range(4):
            before = count[0]
            if number < 3:
                record = run(cluster, "snapshot", "chain", "--causal")
                assert record["causal"]
            else:
                status, reply = cluster.json("POST", "/collections/chain/snapshots?causal=true")
                assert status == 200, reply
                record = next(s for s in run(cluster, "snapshot", "list") if s["id"] == reply["result"]["name"])
            records.append((before, record, count[0]))
    finally:
        over.set()
        writer.join()
    assert failures == []
    status, reply = cluster.json("POST", "/collections/chain/snapshots?causal=maybe")
    assert status == 400 and "causal" in json.dumps(reply), reply
    for number, (before, record, after) in enumerate(records):
        name = f"again-{number}"
        run(cluster, "restore", record["id"], "--collection", "chain", "--as", name)
        _, reply = cluster.json("POST", f"/collections/{name}/points/scroll", {"limit": 10_000})
        found = [p["id"] for p in reply["result"]["points"]]
        assert before <= len(found) <= after + 1
        assert sorted(found) == sorted(p["id"] for p in points[: len(found)])
        # It takes writes at once.
        status, reply = cluster.json("PUT", f"/collections/{name}/points?wait=true", {"points": points[-3:]})
        assert status == 200, reply
    reply = cluster.covey("verify", "--config", str(cluster.configuration))
    assert reply.returncode == 0 and " 0 orphans" in reply.stdout, reply.stdout


def test_a_restored_collection_of_documents_lists_and_answers(make_cluster, tmp_path):
    cluster = make_cluster(serve=True)
    (tmp_path / "birds.md").write_text("# Coveys\n\nA covey is a small flock of partridges. It moves as one.\n")
    assert cluster.covey("ingest", str(tmp_path / "birds.md"), "-c", "notes").returncode == 0
    export = tmp_path / "export"
    export.mkdir()
    run(cluster, "snapshot", "notes", "--to", str(export))
    other = make_cluster(serve=True)
    run(other, "restore", "--from", str(export), "--as", "copied", "--shards", "3")
    before = json.loads(cluster.covey("documents", "list", "-c", "notes", "--json").stdout)
    after = json.loads(other.covey("documents", "list", "-c", "copied", "--json").stdout)
    assert len(before) > 0 and str(before).replace("notes", "copied") == str(after)
    answer = other.covey("ask", "-c", "copied", "What is a covey?")
    assert "small flock of partridges" in answer.stdout, answer.stdout + answer.stderr


def test_qdrants_client_makes_lists_and_deletes_snapshots(make_cluster):
    from qdrant_client import QdrantClient
    from qdrant_client.http.exceptions import UnexpectedResponse

    cluster = make_cluster(serve=True)
    fill(cluster, "kept", make_points(41, 50))
    fill(cluster, "other", make_points(41, 5))
    client = QdrantClient(cluster.url)
    made = client.create_snapshot("kept", wait=True)
    assert made.size > 0 and made.creation_time
    assert [s.name for s in client.list_snapshots("kept")] == [made.name]
    assert client.list_snapshots("other") == []
    with pytest.raises(UnexpectedResponse, match="404"):
        client.create_snapshot("missing")
    with pytest.raises(UnexpectedResponse, match="404"):
        client.delete_snapshot("other", made.name)
    assert run(cluster, "restore", made.name, "--as", "again", "--shards", "2")["points"] == 50
    assert client.count("again").count == 50
    assert client.delete_snapshot("kept", made.name)
    assert client.list_snapshots("kept") == [] and run(cluster, "snapshot", "list") == []
