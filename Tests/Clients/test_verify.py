"""`covey verify` on the stores of real clusters: beside them, after them, and after damage."""

import json
import threading

from test_cluster import fill, make_points

from conftest import Cluster


def verify(cluster, *arguments):
    reply = cluster.covey("verify", "--config", str(cluster.configuration), "--json", *arguments)
    assert reply.returncode in (0, 1), reply.stderr
    return reply.returncode, json.loads(reply.stdout)


def findings(page):
    everything = page["findings"] + [f for t in page["tenants"] for f in t["findings"] + [g for c in t["collections"] for g in c["findings"]]]
    return [f for f in everything if f["kind"] != "pending"]


def test_a_store_is_verified_beside_its_cluster_and_after_it(make_cluster):
    cluster = make_cluster(settings={"shard.seal_points": 50})
    points = make_points(7)
    fill(cluster, "watched", points)
    over = threading.Event()

    def write():
        while not over.is_set():
            cluster.json("PUT", "/collections/watched/points?wait=true", {"points": points[:40]})
            cluster.json("POST", "/collections/watched/points/delete?wait=true", {"points": list(range(1, 20))})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            status, page = verify(cluster)
            assert (status, findings(page)) == (0, []), page
    finally:
        over.set()
        writer.join()
    (tenant,) = page["tenants"]
    (collection,) = tenant["collections"]
    assert (collection["name"], collection["standing"], collection["shards"]) == ("watched", "live", 4)

    for name in list(cluster.processes):
        cluster.kill(name)
    (segment, *_) = sorted((cluster.folder / "store").glob("*/default/c/*/s/*/segment/*~"))
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    segment.write_bytes(damaged)
    (cluster.folder / "store" / "core").write_bytes(b"?")
    status, page = verify(cluster)
    assert status == 1
    key = str(segment.relative_to(cluster.folder / "store"))[:-1]
    assert [(f["kind"], f["key"]) for f in findings(page)] == [("orphan", "core"), ("damaged", key)]
    reply = cluster.covey("verify", "--config", str(cluster.configuration))
    assert reply.returncode == 1 and f"damaged: {key}: " in reply.stdout, reply.stdout
    status, page = verify(cluster, "--tenant", "another")
    assert status == 0 and findings(page) == []


def test_verify_says_that_it_could_not_run(tmp_path):
    cluster = Cluster(tmp_path, serve=True)
    reply = cluster.covey("verify", "--config", str(cluster.configuration))
    assert reply.returncode == 2 and "does not exist" in reply.stderr
    assert not (tmp_path / "store").exists()


def test_a_bucket_of_more_objects_than_a_listing_has_is_verified(make_cluster, seaweedfs, tmp_path):
    cluster = make_cluster(serve=True, settings=seaweedfs.store("verified", tmp_path / "cache"))
    for name in ("a", "a-b", "a.b"):  # SeaweedFS lists folders in an order of its own
        # So few writes a shard that none is sealed; the twenty points are in five of the six.
        fill(cluster, name, make_points(8, 20), shards=6)
    for point in make_points(9, 1_050):
        assert cluster.json("PUT", "/collections/a/points?wait=true", {"points": [point]})[0] == 200
    status, page = verify(cluster)
    assert (status, findings(page)) == (0, []), page
    (tenant,) = page["tenants"]
    assert sorted((c["name"], c["log_entries"]) for c in tenant["collections"]) == [("a", 1_061), ("a-b", 10), ("a.b", 10)]
    assert not list((tmp_path / "cache").glob("verify*"))
