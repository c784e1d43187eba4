"""Shards that were split are merged again while they are read and written, by command and when they became small; foreign clients notice nothing."""

from test_cluster import DIMENSION, fill, make_points
from test_replicas import Load, shards_of
from test_split import count, restart_and_copy, split, stop


def merge(cluster, name, shard, *more):
    return cluster.covey("merge", "-c", name, str(shard), *more)


def test_shards_split_and_merge_under_load(make_cluster):
    cluster = make_cluster(shards=3, coordinators=2, settings={"shard.exact_points": 0})
    points = make_points(17, 400)
    fill(cluster, "changing", points, shards=1)
    (other,) = cluster.more_gateways.values()
    load = Load(cluster, "changing")
    cluster.wait_for(lambda: len(load.acknowledged) > 30 and load.reads[0] > 30, "some load")

    def go_on():
        before, reads = len(load.acknowledged), load.reads[0]
        cluster.wait_for(lambda: len(load.acknowledged) > before + 30 and load.reads[0] > reads + 30, "reads and writes to go on")

    first = merge(cluster, "changing", 0)
    assert first.returncode != 0 and "one of the 1 first" in first.stderr, first
    for shard in [0, 1]:
        assert split(cluster, "changing", shard).returncode == 0
        go_on()
    uneven = merge(cluster, "changing", 2)
    assert uneven.returncode != 0 and "not the halves of one range" in uneven.stderr, uneven

    merged_again = 2**42
    dry = merge(cluster, "changing", 3, "--dry-run")
    assert dry.returncode == 0 and "shards 3 and 4" in dry.stdout and f"would become shard {merged_again + 1}" in dry.stdout, dry
    assert {shard["shard"] for shard in shards_of(cluster, "changing")} == {2, 3, 4}
    for shard, left in [(4, {merged_again + 1, 2}), (2, {2 * merged_again})]:
        done = merge(cluster, "changing", shard)
        assert done.returncode == 0, done
        go_on()
        assert {shard["shard"] for shard in shards_of(cluster, "changing")} == left
    everything = stop(load, cluster, "changing", points, other)
    missing = merge(cluster, "changing", 77)
    assert missing.returncode != 0 and "has no shard 77" in missing.stderr, missing
    assert cluster.json("POST", "/collections/changing/shards/x/merge")[0] == 400

    restart_and_copy(cluster, "changing", everything)
    assert cluster.json("DELETE", "/collections/changing")[1]["result"] is True
    assert cluster.json("PUT", "/collections/changing", {"vectors": {"size": DIMENSION, "distance": "Dot"}})[0] == 200
    assert count(cluster, "changing") == 0


def test_halves_that_became_small_merge_by_themselves(make_cluster):
    # Looked for every sixteenth of the deadline: 2 s.
    cluster = make_cluster(shards=2, settings={"erasure.deadline_seconds": 32, "shard.merge_points": 1000})
    points = make_points(23, 400)
    fill(cluster, "small", points, shards=1)
    assert split(cluster, "small", 0).returncode == 0
    assert {shard["shard"] for shard in shards_of(cluster, "small")} == {1, 2}  # few, but as many as there were
    assert cluster.json("POST", "/collections/small/points/delete?wait=true", {"points": [point["id"] for point in points[:300]]})[0] == 200
    cluster.wait_for(lambda: count(cluster, "small") == 100 and [shard["shard"] for shard in shards_of(cluster, "small")] == [2**42], "the halves to merge")
