"""Shard nodes that join and leave while the cluster is read and written: `covey cluster members|plan|apply`."""

import json

import pytest
from test_cluster import DIMENSION, fill, make_points, query
from test_replicas import Load, found, shards_of

from conftest import free_ports

SETTINGS = {"cluster.poll_seconds": 1}


def configure(cluster, change):
    """Changes the configuration file, as an operator does."""
    configuration = json.loads(cluster.configuration.read_text())
    change(configuration)
    cluster.configuration.write_text(json.dumps(configuration))


def add(cluster, name, **more):
    cluster.addresses[name] = f"127.0.0.1:{free_ports(1)[0]}"
    configure(cluster, lambda c: c["nodes"].append({"name": name, "role": "shard", "address": cluster.addresses[name], **more}))


def remove(cluster, name):
    configure(cluster, lambda c: c.update(nodes=[node for node in c["nodes"] if node["name"] != name]))


def verb(cluster, *arguments):
    return cluster.covey("cluster", *arguments, "--config", str(cluster.configuration))


def members(cluster):
    return json.loads(verb(cluster, "members", "--json").stdout)


def wait_for_version(cluster, version):
    for name in cluster.processes:
        if name != "generator":
            cluster.wait_for(lambda: f"version={version}" in "\n".join(line for line in cluster.log(name).split("\n") if "members changed" in line), f"{name} to follow")


def settle(load, cluster, count=150):
    before, reads = len(load.acknowledged), load.reads[0]
    cluster.wait_for(lambda: len(load.acknowledged) > before + count and load.reads[0] > reads + count, "reads and writes to go on")


@pytest.mark.parametrize("store", ["folder", "s3"])
def test_a_node_joins_and_another_leaves_under_load(make_cluster, seaweedfs, tmp_path, store):
    cluster = make_cluster(shards=3, settings=SETTINGS | (seaweedfs.store("members", tmp_path / "cache") if store == "s3" else {}))
    names = [f"c{number}" for number in range(6)]
    for name in names:
        fill(cluster, name, make_points(11, 50), shards=4)
    assert verb(cluster, "plan").returncode == 0
    load = Load(cluster, "c0")
    settle(load, cluster)

    add(cluster, "shard-4")
    plan = verb(cluster, "plan", "--shards")
    assert plan.returncode == 2 and "shard-4 joins" in plan.stdout, plan
    assert "shard-4: gains " in plan.stdout and ", loses 0" in plan.stdout
    # Of 48 replicas a fourth node should have 12; few others move.
    moved = int(plan.stdout.split(" of 48 replicas are gained")[0].split()[-1])
    assert 8 <= moved <= 24, plan.stdout
    early = verb(cluster, "apply")
    assert early.returncode == 1 and "shard-4 does not answer" in early.stderr, early
    assert members(cluster)["version"] == 1
    cluster.start("shard-4")
    cluster.wait_for(lambda: "listening" in cluster.log("shard-4"), "the new node")
    applied = verb(cluster, "apply")
    assert applied.returncode == 0 and "version 2" in applied.stdout, applied
    wait_for_version(cluster, 2)
    settle(load, cluster)
    assert [m["name"] for m in members(cluster)["members"]] == ["shard-1", "shard-2", "shard-3", "shard-4"]
    assert any(shard["node"] == "shard-4" for name in names for shard in shards_of(cluster, name))

    remove(cluster, "shard-1")
    applied = verb(cluster, "apply")
    assert applied.returncode == 0 and "then shard-1 can be stopped" in applied.stdout, applied
    wait_for_version(cluster, 3)
    cluster.kill("shard-1")
    settle(load, cluster)
    load.stop()
    assert not load.failed_reads, load.failed_reads[0]
    assert not load.failed_writes, load.failed_writes[0]
    assert load.longest_wait < 5
    assert found(cluster, "c0", load.acknowledged) == set(load.acknowledged)
    for name in names:
        assert {shard["node"] for shard in shards_of(cluster, name)} <= {"shard-2", "shard-3", "shard-4"}
        assert found(cluster, name, [point["id"] for point in make_points(11, 50)]) == {point["id"] for point in make_points(11, 50)}
    assert verb(cluster, "plan").returncode == 0
    verified = cluster.covey("verify", "--config", str(cluster.configuration))
    assert verified.returncode == 0 and "0 damaged, 0 missing, 0 orphans" in verified.stdout, verified.stdout


def test_the_stores_record_counts_not_the_configuration_of_one_node(make_cluster):
    cluster = make_cluster(shards=2, settings=SETTINGS)
    fill(cluster, "steady", make_points(3))
    add(cluster, "shard-3", weight=2, zone="b")
    # A coordinator that starts anew asks whom the record names, and says what differs.
    cluster.kill("coordinator")
    cluster.start("coordinator").wait_until_ready()
    assert "shard-3 joins" in cluster.log("coordinator")
    assert {shard["node"] for shard in shards_of(cluster, "steady")} <= {"shard-1", "shard-2"}
    page = members(cluster)
    assert (page["version"], [(m["name"], m["answers"]) for m in page["members"]]) == (1, [("shard-1", True), ("shard-2", True)])
    for key, value, message in [
        ("weight", 0, "weight of shard-3 must be above 0 and at most 1000, found \"0\""), ("zone", "z" * 65, "zone of shard-3 must have 1 to 64 bytes"),
    ]:
        configure(cluster, lambda c: c["nodes"][-1].update({key: value}))
        reply = verb(cluster, "plan")
        assert reply.returncode == 1 and message in reply.stderr, reply
        configure(cluster, lambda c: c["nodes"][-1].update(weight=2, zone="b"))
    assert verb(cluster, "apply", "--rate", "0").returncode != 0


def test_a_member_that_moved_is_asked_at_its_new_address(make_cluster):
    cluster = make_cluster(shards=2, settings=SETTINGS)
    points = make_points(17, 40)
    fill(cluster, "moved", points, shards=4)
    cluster.kill("shard-2")
    cluster.addresses["shard-2"] = f"127.0.0.1:{free_ports(1)[0]}"
    configure(cluster, lambda c: next(node for node in c["nodes"] if node["name"] == "shard-2").update(address=cluster.addresses["shard-2"]))
    cluster.start("shard-2")
    cluster.wait_for(lambda: "listening" in cluster.log("shard-2"), "the node at its new address")
    applied = verb(cluster, "apply")
    assert applied.returncode == 0 and "version 2" in applied.stdout, applied
    # The other processes were started with its old address.
    for name in ("coordinator", "shard-1"):
        cluster.wait_for(lambda: "version=2" in "\n".join(line for line in cluster.log(name).split("\n") if "members changed" in line), f"{name} to follow")
    cluster.wait_for(lambda: {shard["node"] for shard in shards_of(cluster, "moved")} == {"shard-1", "shard-2"}, "the node that moved to serve")
    cluster.kill("shard-1")
    assert found(cluster, "moved", [point["id"] for point in points]) == {point["id"] for point in points}


def test_replicas_lie_in_different_zones(make_cluster):
    cluster = make_cluster(shards=4, settings=SETTINGS)
    for name in ["x", "y"]:
        fill(cluster, name, make_points(5), shards=8)
    configure(cluster, lambda c: [node.update(zone="a" if node["name"] in ("shard-1", "shard-2") else "b") for node in c["nodes"] if node["role"] == "shard"])
    applied = verb(cluster, "apply")
    assert applied.returncode == 0 and "shard-1 is in zone a" in applied.stdout, applied
    wait_for_version(cluster, 2)
    # A whole zone dies.
    for name in ["shard-1", "shard-2"]:
        cluster.kill(name)
    for name in ["x", "y"]:
        status, reply = query(cluster, name, [1.0] * DIMENSION)
        assert status == 200 and reply["covey"]["coverage"]["complete"], reply
        assert found(cluster, name, [point["id"] for point in make_points(5)]) == {point["id"] for point in make_points(5)}
