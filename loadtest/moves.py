"""See loadtest/moves."""

import concurrent.futures
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Tests/Clients"))
from conftest import Cluster, free_ports  # noqa: E402

NODES, REPLICAS = 4, 2


def gained(cluster, nodes):
    """Replicas that the configuration with these nodes would make some node gain, and all there are."""
    configuration = json.loads(cluster.configuration.read_text())
    wished = cluster.folder / "wished.yaml"
    wished.write_text(json.dumps(configuration | {"nodes": nodes(configuration["nodes"])}))
    plan = cluster.covey("cluster", "plan", "--config", str(wished))
    assert plan.returncode == 2, plan
    words = plan.stdout.split("change nodes: ")[1].split()
    return int(words[0]), int(words[2])


def joined(nodes):
    return nodes + [{"name": f"shard-{NODES + 1}", "role": "shard", "address": f"127.0.0.1:{free_ports(1)[0]}"}]


def left(nodes):
    return [node for node in nodes if node["name"] != f"shard-{NODES}"]


print("| collections | a fifth joins: gained, even part | one of four leaves: gained, even part |\n|---|---|---|")
for shards, count in [(1, 400), (8, 50), (32, 12)]:
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(folder, shards=NODES)
        try:
            cluster.start().wait_until_ready()
            body = {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": shards}
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                made = list(pool.map(lambda number: cluster.json("PUT", f"/collections/c{number}", body)[0], range(count)))
            assert made == [200] * count
            (more, total), (fewer, _) = gained(cluster, joined), gained(cluster, left)
        finally:
            cluster.stop()
    print(f"| {count} of {shards} shard{'s' * (shards > 1)} | {more} of {total}, {total // (NODES + 1)} | {fewer} of {total}, {total // NODES} |", flush=True)
