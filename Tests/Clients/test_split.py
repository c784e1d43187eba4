"""A shard is split while it is read and written, by command and past a size; foreign clients notice nothing."""

import json
import threading

from test_cluster import DIMENSION, exact_top, fill, make_points, query
from test_replicas import Load, found, shards_of


def split(cluster, name, shard, *more):
    return cluster.covey("split", "-c", name, str(shard), *more)


def count(cluster, name):
    status, reply = cluster.json("POST", f"/collections/{name}/points/count", {"exact": True})
    assert status == 200 and reply["covey"]["coverage"]["complete"], reply
    return reply["result"]["count"]


def stop(load, cluster, name, points, other):
    """Ends the load; asks a coordinator for all that was there and written, which has only known the shard that there was at first. Returns the points."""
    load.stop()
    assert not load.failed_reads, load.failed_reads[0]
    assert not load.failed_writes, load.failed_writes[0]
    status, reply = cluster.json("POST", f"/collections/{name}/points/query", {"query": points[0]["vector"], "limit": 10, "params": {"exact": True}}, url=f"http://{other}")
    assert status == 200 and reply["covey"]["coverage"]["complete"], reply
    everything = points + [{"id": id, "vector": [1.0] * DIMENSION} for id in load.acknowledged]
    assert [hit["id"] for hit in reply["result"]["points"]] == exact_top(everything, points[0]["vector"])
    assert found(cluster, name, load.acknowledged) == set(load.acknowledged)
    assert count(cluster, name) == len(everything)
    return everything


def restart_and_copy(cluster, name, everything, seals=False):
    """Everything dies, and the store alone says what there is: to `covey verify`, to a new start, and to copies of other shapes."""
    for process in list(cluster.processes):
        cluster.kill(process)
    verified = cluster.covey("verify", "--config", str(cluster.configuration))
    assert verified.returncode == 0 and "0 damaged, 0 missing, 0 orphans" in verified.stdout, verified.stdout
    cluster.start().wait_until_ready()
    assert count(cluster, name) == len(everything)
    if seals:
        assert cluster.json("PATCH", f"/collections/{name}", {"optimizers_config": {"indexing_threshold": 1}})[0] == 200
    snapshot = cluster.covey("snapshot", "--config", str(cluster.configuration), "--to", str(cluster.folder / "copy"), name)
    assert snapshot.returncode == 0, snapshot
    for more in [[], ["--shards", "2"]]:
        copy = f"copy{len(more)}"
        restored = cluster.covey("restore", "--config", str(cluster.configuration), "--from", str(cluster.folder / "copy"), "--as", copy, *more)
        assert restored.returncode == 0, restored
        assert count(cluster, copy) == len(everything)


def test_shards_split_under_load_through_two_coordinators(make_cluster):
    cluster = make_cluster(shards=3, coordinators=2, settings={"shard.exact_points": 0})
    points = make_points(17, 400)
    fill(cluster, "growing", points, shards=1)
    (other,) = cluster.more_gateways.values()
    load = Load(cluster, "growing")
    cluster.wait_for(lambda: len(load.acknowledged) > 50 and load.reads[0] > 50, "some load")

    dry = split(cluster, "growing", 0, "--dry-run")
    assert dry.returncode == 0 and "would become shards 1 and 2" in dry.stdout, dry
    assert [shard["shard"] for shard in shards_of(cluster, "growing")] == [0]
    for shard in [0, 1, 4]:
        done = split(cluster, "growing", shard)
        assert done.returncode == 0, done
        before, reads = len(load.acknowledged), load.reads[0]
        cluster.wait_for(lambda: len(load.acknowledged) > before + 50 and load.reads[0] > reads + 50, "reads and writes to go on")
    assert {shard["shard"] for shard in shards_of(cluster, "growing")} == {2, 3, 9, 10}
    everything = stop(load, cluster, "growing", points, other)

    again = split(cluster, "growing", 0)
    assert again.returncode != 0 and "was split" in again.stderr, again
    missing = split(cluster, "growing", 77)
    assert missing.returncode != 0 and "has no shard 77" in missing.stderr, missing
    assert cluster.json("POST", "/collections/growing/shards/x/split")[0] == 400

    restart_and_copy(cluster, "growing", everything, seals=True)
    assert cluster.json("DELETE", "/collections/growing")[1]["result"] is True
    assert cluster.json("PUT", "/collections/growing", {"vectors": {"size": DIMENSION, "distance": "Dot"}})[0] == 200
    assert count(cluster, "growing") == 0
    for left in (cluster.folder / "store").glob("*/default/c/*/s/*/segment/*~"):
        assert left.parts[-5] in {incarnation(cluster, "copy0"), incarnation(cluster, "copy2")}, left


def incarnation(cluster, name):
    return cluster.json("GET", f"/collections/{name}")[1]["result"]["covey"]["incarnation"]


def test_a_shard_past_its_limit_splits_by_itself(make_cluster):
    cluster = make_cluster(shards=2, settings={"shard.split_points": 150, "replicas": 1})
    points = make_points(23, 1000)
    fill(cluster, "large", points, shards=1)
    # Each write gives a shard that is still too large the occasion to split.
    stop = threading.Event()

    def write():
        while not stop.is_set():
            cluster.json("PUT", "/collections/large/points?wait=true", {"points": points[:8]})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        cluster.wait_for(lambda: max(shard["points"] for shard in shards_of(cluster, "large")) < 600, "the shards to split")
    finally:
        stop.set()
        writer.join()
    assert count(cluster, "large") == 1000
    assert len({json.dumps(shard["shard"]) for shard in shards_of(cluster, "large")}) >= 2
