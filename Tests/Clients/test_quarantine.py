"""A shard that kills whoever opens it: here the test kills the process each time that it is about to open one (protocol, "Quarantine")."""

import contextlib
import threading

ROWS, DIMENSION = 20_000, 384


def test_a_shard_that_processes_died_at_is_left_alone(make_cluster):
    cluster = make_cluster(shards=1, settings={"replicas": 1, "shard.seal_points": 10**8})
    for name in ("poison", "bystander"):
        assert cluster.json("PUT", f"/collections/{name}", {"vectors": {"size": DIMENSION, "distance": "Euclid"}, "shard_number": 1})[0] == 200
    for start in range(0, ROWS, 500):
        points = [{"id": start + i, "vector": [(start + i) % 97] * DIMENSION} for i in range(500)]
        assert cluster.json("PUT", "/collections/poison/points?wait=true", {"points": points})[0] == 200
    assert cluster.json("PUT", "/collections/bystander/points?wait=true", {"points": [{"id": 1, "vector": [1] * DIMENSION}]})[0] == 200
    assert cluster.covey("seal", "-c", "poison").returncode == 0
    folder = cluster.folder / "store" / ".quarantine" / "shard-1"
    assert not any(folder.iterdir()), "what went well leaves nothing"

    def ask(name):
        query = {"query": [1] * DIMENSION, "limit": 1}
        return cluster.json("POST", f"/collections/{name}/points/query", query, {"Covey-Partial": "fail"})

    def notes():
        """What the node has noted, half of it written perhaps."""
        found = []
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.append(path.read_text())
        return found

    def deaths():
        return [int(note.split()[0]) for note in notes()]

    # A death comes too late now and then: when the shard was open already.
    for _ in range(20):
        reader = threading.Thread(target=ask, args=["poison"], daemon=True)
        reader.start()
        while reader.is_alive() and not any(note.endswith("running") for note in notes()):
            pass
        cluster.kill("shard-1")
        reader.join()
        cluster.start("shard-1")
        cluster.wait_for(lambda: ask("bystander")[0] == 200, "the node to be back")
        if deaths() == [3]:
            break
    assert deaths() == [3]
    assert f"a process died at a shard deaths=3 file={next(folder.iterdir())}" in cluster.log("shard-1")
    status, answer = ask("poison")
    assert status == 503 and "is in quarantine: 3 processes in a row died as they were to open it" in str(answer), answer
    assert ask("bystander")[0] == 200
    # As message and log say.
    cluster.terminate("shard-1")
    for path in folder.iterdir():
        path.unlink()
    cluster.start("shard-1")
    cluster.wait_for(lambda: ask("poison")[0] == 200, "the shard to be opened again")
    assert not any(folder.iterdir())
