"""Separate processes: what a dead node costs, what a restart keeps, what SIGTERM drops (nothing)."""

import random
import threading

DIMENSION = 16
POINTS = 400


def make_points(seed, count=POINTS):
    generator = random.Random(seed)
    return [
        {"id": i, "vector": [generator.gauss(0, 1) for _ in range(DIMENSION)], "payload": {"n": i}} for i in range(1, count + 1)
    ]


def fill(cluster, name, points, shards=None):
    more = {"shard_number": shards} if shards else {}
    assert cluster.json("PUT", f"/collections/{name}", {"vectors": {"size": DIMENSION, "distance": "Dot"}, **more})[0] == 200
    status, reply = cluster.json("PUT", f"/collections/{name}/points?wait=true", {"points": points})
    assert status == 200, reply


def query(cluster, name, vector, **more):
    path = f"/collections/{name}/points/query" + more.pop("parameters", "")
    return cluster.json("POST", path, {"query": vector, "limit": 10, **more})


def exact_top(points, vector, limit=10):
    scored = [(-sum(a * b for a, b in zip(p["vector"], vector)), p["id"]) for p in points]
    return [id for _, id in sorted(scored)[:limit]]


def test_a_dead_shard_node_without_replicas_costs_coverage_not_the_answer(make_cluster):
    cluster = make_cluster(settings={"replicas": 1})
    points = make_points(1)
    fill(cluster, "dead", points)
    vector = points[0]["vector"]

    status, reply = query(cluster, "dead", vector)
    assert status == 200
    whole = reply["covey"]["coverage"]
    assert (whole["shards_asked"], whole["shards_answered"]) == (4, 4)
    assert whole["points_searched"] == whole["points_held"] == POINTS
    assert [p["id"] for p in reply["result"]["points"]] == exact_top(points, vector)

    _, info = cluster.json("GET", "/collections/dead")
    held = {shard["node"]: shard["points"] for shard in info["result"]["covey"]["shards"]}
    assert sum(held.values()) == POINTS and len(held) == 4

    cluster.kill("shard-2")
    status, reply = query(cluster, "dead", vector)
    assert status == 200
    partial = reply["covey"]["coverage"]
    assert (partial["shards_asked"], partial["shards_answered"]) == (4, 3)
    assert partial["points_searched"] == POINTS - held["shard-2"]
    assert partial["points_held"] == POINTS
    (gap,) = partial["gaps"]
    assert gap["node"] == "shard-2" and gap["reason"]

    status, reply = query(cluster, "dead", vector, parameters="?partial=fail")
    assert status >= 500, reply

    # A write of all shards says what became of each part; sent again, it is whole.
    status, reply = cluster.json("PUT", "/collections/dead/points?wait=true&timeout=1", {"points": points})
    assert status in (503, 504), reply
    parts = {part["node"]: part for part in reply["covey"]["shards"]}
    assert len(parts) == 4 and parts["shard-2"]["error"]["code"] in ("unavailable", "deadlineExceeded"), reply
    assert all(parts[node]["position"] > 0 and parts[node]["superseded"] == held[node] for node in parts if node != "shard-2"), reply

    cluster.start("shard-2")
    cluster.wait_for(
        lambda: query(cluster, "dead", vector)[1]["covey"]["coverage"]["shards_answered"] == 4, "shard-2 to be used again"
    )
    _, reply = query(cluster, "dead", vector)
    assert [p["id"] for p in reply["result"]["points"]] == exact_top(points, vector)


def test_a_gap_says_whether_it_could_have_changed_the_hits(make_cluster):
    cluster = make_cluster(settings={"replicas": 1})
    fill(cluster, "topics", make_points(2), shards=4)
    _, info = cluster.json("GET", "/collections/topics")
    shards = info["result"]["covey"]["shards"]
    (lost,) = [shard["shard"] for shard in shards if shard["node"] == "shard-2"]

    # Which points it keeps: those that are not found without it.
    cluster.kill("shard-2")
    status, reply = cluster.json("POST", "/collections/topics/points/query?partial=degrade", {"query": [1.0] * DIMENSION, "limit": POINTS})
    assert status == 200, reply
    there = {point["id"] for point in reply["result"]["points"]}
    (gap,) = reply["covey"]["coverage"]["gaps"]
    assert gap["shard"] == lost and gap["could_change"] is None and gap["outline_position"] is None, gap
    cluster.start("shard-2")

    # That shard's points stand in one direction, the others' in another.
    def direction(axis, index):
        return [1.0 if element == axis else 0.001 * ((index * 7 + element) % 11) for element in range(DIMENSION)]
    points = [{"id": i, "vector": direction(0 if i in there else 8, i)} for i in range(1, POINTS + 1)]
    cluster.wait_for(lambda: cluster.json("PUT", "/collections/topics/points?wait=true", {"points": points})[0] == 200, "all shards to take a write")
    assert cluster.covey("seal", "-c", "topics").returncode == 0

    # Outlines are fetched beside searches, of one shard every ten seconds at most.
    def has_outlines():
        return query(cluster, "topics", direction(0, 1))[0] == 200 and "covey_outlines 4" in cluster.get("/metrics")[1].decode()
    cluster.wait_for(has_outlines, "the outlines of all shards")
    _, info = cluster.json("GET", "/collections/topics")
    (position,) = [shard["log_position"] for shard in info["result"]["covey"]["shards"] if shard["shard"] == lost]
    cluster.kill("shard-2")

    def judged(axis):
        status, reply = query(cluster, "topics", direction(axis, 1), parameters="?partial=degrade")
        assert status == 200, reply
        (gap,) = reply["covey"]["coverage"]["gaps"]
        return gap["could_change"], gap["outline_position"]

    assert judged(0) == (False, position)
    assert judged(8) == (True, position)
    # A write that may or may not have taken effect: nobody knows any more.
    assert cluster.json("PUT", "/collections/topics/points?wait=true&timeout=1", {"points": points})[0] in (503, 504)
    assert judged(0) == (None, None)


def test_a_restart_of_every_process_keeps_what_was_acknowledged(make_cluster):
    cluster = make_cluster()
    points = make_points(2)
    fill(cluster, "kept", points)
    assert cluster.json("PATCH", "/collections/kept", {"optimizers_config": {"indexing_threshold": 1}})[0] == 200
    status, _ = cluster.json("POST", "/collections/kept/points/delete?wait=true", {"points": [1, 2, 3]})
    assert status == 200
    changed = {"id": 4, "vector": [9.0] * DIMENSION, "payload": {"n": -4}}
    assert cluster.json("PUT", "/collections/kept/points?wait=true", {"points": [changed]})[0] == 200
    expected = [changed] + points[4:]
    for name in list(cluster.processes):
        cluster.kill(name)
    cluster.start().wait_until_ready()
    vector = points[10]["vector"]
    _, reply = query(cluster, "kept", vector, params={"exact": True}, with_payload=True)
    assert [p["id"] for p in reply["result"]["points"]] == exact_top(expected, vector)
    _, reply = cluster.json("POST", "/collections/kept/points/count", {"exact": True})
    assert reply["result"]["count"] == POINTS - 3
    _, reply = cluster.json("GET", "/collections/kept/points/4")
    assert reply["result"]["payload"] == {"n": -4}


def test_sealed_points_are_searched_by_code(make_cluster):
    cluster = make_cluster(settings={"shard.exact_points": 0})
    points = make_points(3, 4_000)
    fill(cluster, "sealed", points)
    _, reply = query(cluster, "sealed", points[0]["vector"])
    before = reply["covey"]["coverage"]
    assert (before["points_by_code"], before["points_exactly"]) == (0, 4_000)
    assert cluster.json("PATCH", "/collections/sealed", {"optimizers_config": {"indexing_threshold": 1}})[0] == 200
    _, reply = query(cluster, "sealed", points[0]["vector"])
    after = reply["covey"]["coverage"]
    assert (after["points_by_code"], after["points_exactly"]) == (4_000, 0)
    assert after["codes_scanned"] > 0
    found = total = 0
    for point in points[:50]:
        _, reply = query(cluster, "sealed", point["vector"])
        found += len({p["id"] for p in reply["result"]["points"]} & set(exact_top(points, point["vector"])))
        total += 10
    assert found / total >= 0.9


def test_every_node_stops_cleanly_under_load(make_cluster):
    """What was accepted is finished: test_drain.py. Here clients connect all the time, and one may meet a closing listener."""
    cluster = make_cluster()
    points = make_points(4)
    fill(cluster, "drained", points)
    odd, answered = [], [0]

    def ask():
        try:
            while True:
                status, reply = query(cluster, "drained", points[0]["vector"])
                if status == 200:
                    answered[0] += 1
                elif status != 503:
                    odd.append(reply)
        except OSError:
            return

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    cluster.wait_for(lambda: answered[0] > 50, "some answers")
    assert cluster.terminate("coordinator") == 0
    for thread in threads:
        thread.join(30)
    assert not odd
    for name in list(cluster.processes):
        assert cluster.terminate(name) == 0, cluster.log(name)[-2000:]


def test_one_process_plays_all_roles(make_cluster):
    cluster = make_cluster(serve=True)
    points = make_points(5)
    fill(cluster, "alone", points)
    _, reply = query(cluster, "alone", points[7]["vector"])
    assert [p["id"] for p in reply["result"]["points"]] == exact_top(points, points[7]["vector"])
    assert reply["covey"]["coverage"]["shards_answered"] == 1
    assert cluster.terminate("serve") == 0
