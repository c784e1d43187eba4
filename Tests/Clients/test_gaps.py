"""How often a gap can be said not to have changed the hits, on real vectors: `BENCHMARK=1 … pytest -s Tests/Clients/test_gaps.py`."""

import os
import struct
import time

import numpy
import pytest
from conftest import DATA, needs_data

pytestmark = [needs_data, pytest.mark.skipif(not os.environ.get("BENCHMARK"), reason="a benchmark: set BENCHMARK=1")]
COUNT, QUERIES, SHARDS = 20_000, 200, 4


def minilm():
    folder = DATA / "ann-minilm-384"
    with open(folder / "base.f16bin", "rb") as file:
        count, dimension = struct.unpack("<II", file.read(8))
        base = numpy.fromfile(file, numpy.float16).reshape(count, dimension).astype(numpy.float32)
    return base, numpy.fromfile(folder / "query.fvecs", numpy.float32).reshape(-1, dimension + 1)[:, 1:]


def glove():
    folder = DATA / "ann-glove-50"
    return [numpy.fromfile(folder / f"{name}.fvecs", numpy.float32).reshape(-1, 51)[:, 1:] for name in ("base", "query")]


def shard_of(ids):
    """The shard of each integer id, as PointID.hash and HashRange.tiling say."""
    z = ids.astype(numpy.uint64) + numpy.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> numpy.uint64(31))) >> numpy.uint64(62)).astype(int)


def topics(vectors):
    """A number 0…3 for each vector: k-means."""
    centres = vectors[numpy.random.default_rng(1).choice(len(vectors), SHARDS, replace=False)]
    for _ in range(20):
        nearest = (vectors @ centres.T - (centres**2).sum(1) / 2).argmax(1)
        centres = numpy.stack([vectors[nearest == topic].mean(0) for topic in range(SHARDS)])
    return nearest


@pytest.mark.parametrize("distance", ["Cosine", "Euclid"])
@pytest.mark.parametrize("spread", ["hashed", "topics"])
@pytest.mark.parametrize("data", [minilm, glove])
def test_gaps(make_cluster, data, spread, distance):
    base, queries = (part.astype(numpy.float32) for part in data())
    # Rows of every part of the file.
    base, queries = base[:: len(base) // COUNT][:COUNT], queries[:: len(queries) // QUERIES][:QUERIES]
    numbers = numpy.arange(8 * COUNT)
    if spread == "hashed":
        ids = numbers[:COUNT]
    else:
        free = [list(numbers[shard_of(numbers) == shard]) for shard in range(SHARDS)]
        ids = numpy.array([free[topic].pop() for topic in topics(base)])
    cluster = make_cluster(settings={"replicas": 1, "shard.seal_points": 10**8})
    path = "/collections/gaps"
    assert cluster.json("PUT", path, {"vectors": {"size": base.shape[1], "distance": distance}, "shard_number": SHARDS})[0] == 200
    for start in range(0, COUNT, 500):
        points = [{"id": int(i), "vector": v} for i, v in zip(ids[start : start + 500], base[start : start + 500].round(6).tolist())]
        assert cluster.json("PUT", path + "/points?wait=true", {"points": points})[0] == 200
    assert cluster.covey("seal", "-c", "gaps").returncode == 0

    def ask(vector):
        began = time.perf_counter()
        status, reply = cluster.json("POST", path + "/points/query", {"query": vector.tolist(), "limit": 10})
        assert status == 200, reply
        return [point["id"] for point in reply["result"]["points"]], reply["covey"]["coverage"]["gaps"], time.perf_counter() - began

    cluster.wait_for(lambda: ask(queries[0]) and f"covey_outlines {SHARDS}" in cluster.get("/metrics")[1].decode(), "the outlines")
    (line,) = [line for line in cluster.get("/metrics")[1].decode().splitlines() if line.startswith("covey_outlines_bytes")]
    whole = [ask(vector) for vector in queries]
    shards = {shard["node"]: shard for shard in cluster.json("GET", path)[1]["result"]["covey"]["shards"]}
    lost = shards["shard-2"]["shard"]
    assert all(shard_of(numpy.array(hits))[0] in range(SHARDS) for hits, _, _ in whole)
    cluster.kill("shard-2")
    partial = [ask(vector) for vector in queries]
    said = [gaps[0]["could_change"] for _, gaps, _ in partial]
    changed = [hits != others for (hits, _, _), (others, _, _) in zip(whole, partial)]
    assert None not in said and not any(change and could is False for change, could in zip(changed, said))
    print(f"\n{data.__name__} {spread} {distance}: shard {lost} of {shards['shard-2']['points']} points silent; {said.count(False)} of {QUERIES} said to be "
          f"unchanged, {changed.count(False)} were; {float(line.split()[1]) / 1024:.0f} KiB of outlines; median {1e3 * numpy.median([t for _, _, t in whole]):.1f} ms "
          f"whole, {1e3 * numpy.median([t for _, _, t in partial]):.1f} with the gap")
