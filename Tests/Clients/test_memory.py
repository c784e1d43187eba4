"""How much memory a shard node takes for each vector, whole: `BENCHMARK=1 … pytest -s Tests/Clients/test_memory.py`."""

import os
import re
import struct

import numpy
import pytest
from conftest import DATA, needs_data

pytestmark = [needs_data, pytest.mark.skipif(not os.environ.get("BENCHMARK"), reason="a benchmark: set BENCHMARK=1")]


def resident(process):
    """Bytes of a process that are its own, and bytes of mapped files that it has touched."""
    with open(f"/proc/{process.pid}/status") as file:
        fields = dict(re.findall(r"^(\w+):\s+(\d+) kB$", file.read(), re.M))
    return int(fields["RssAnon"]) * 1024, int(fields["RssFile"]) * 1024


def test_memory_of_a_node(make_cluster):
    folder = DATA / "ann-minilm-384"
    with open(folder / "base.f16bin", "rb") as file:
        count, dimension = struct.unpack("<II", file.read(8))
        base = numpy.fromfile(file, numpy.float16).reshape(count, dimension).astype(numpy.float32)
    queries = numpy.fromfile(folder / "query.fvecs", numpy.float32).reshape(-1, dimension + 1)[:, 1:]
    cluster = make_cluster(shards=1, settings={"shard.seal_points": 10**8})
    assert cluster.json("PUT", "/collections/memory", {"vectors": {"size": dimension, "distance": "Cosine"}, "shard_number": 1})[0] == 200
    empty = resident(cluster.processes["shard-1"])
    for start in range(0, count, 500):
        points = [{"id": start + i, "vector": vector} for i, vector in enumerate(base[start : start + 500].round(5).tolist())]
        assert cluster.json("PUT", "/collections/memory/points?wait=true", {"points": points})[0] == 200
    written = resident(cluster.processes["shard-1"])
    assert cluster.covey("seal", "-c", "memory").returncode == 0
    cluster.terminate("shard-1")
    cluster.start("shard-1")

    def ask(vector):
        status, reply = cluster.json("POST", "/collections/memory/points/query", {"query": vector.tolist(), "limit": 10})
        return status == 200 and reply["covey"]["coverage"]["points_by_code"] == count

    cluster.wait_for(lambda: ask(queries[0]), "the node to serve its segment")
    assert all(ask(vector) for vector in queries[:1_000])
    own, mapped = resident(cluster.processes["shard-1"])
    print(f"\na node of {count} vectors of {4 * dimension} bytes, after 1,000 searches: {(own - empty[0]) / count:.0f} bytes a vector of its own, "
          f"{(mapped - empty[1]) / count:.0f} of mapped files touched (an empty node: {empty[0] / 1e6:.0f} and {empty[1] / 1e6:.0f} MB; "
          f"before the seal {(written[0] - empty[0]) / count:.0f} a vector of its own)")
    # What it has of its own does not grow with the vectors: they lie in mapped files.
    assert own - empty[0] < dimension * count
