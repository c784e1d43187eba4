"""See loadtest/restart."""

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/Clients"))
from conftest import Cluster  # noqa: E402

POINTS, DIMENSION, ASKED = 50, 64, 500
LINKS = 50_000  # fewer than a file may have


def tenant(number):
    return f"t{number}"


def key(number):
    return f"key-of-tenant-{number}"


def place(number):
    """Where a tenant's objects are, below the store's folder."""
    return f"{hashlib.sha256(tenant(number).encode()).hexdigest()[:4]}/{tenant(number)}"


def write_tenants(folder, count):
    lines = ["tenants:"]
    for number in range(count):
        lines.append(f"  - {{name: {tenant(number)}, keys: [{{name: only, sha256: {hashlib.sha256(key(number).encode()).hexdigest()}}}]}}")
    (folder / "tenants.yaml").write_text("\n".join(lines) + "\n")


def search(cluster, number, vector):
    start = time.monotonic()
    status, reply = cluster.json("POST", "/collections/documents/points/query", {"query": vector, "limit": 10}, {"api-key": key(number)})
    assert status == 200 and len(reply["result"]["points"]) == 10, reply
    return time.monotonic() - start


def make(folder):
    """A cluster with what one tenant has."""
    write_tenants(folder, 1)
    cluster = Cluster(folder, shards=1, settings={"tenants.file": str(folder / "tenants.yaml"), "log.level": "warning"})
    cluster.start().wait_until_ready()
    headers, draw = {"api-key": key(0)}, random.Random(1)
    body = {"vectors": {"size": DIMENSION, "distance": "Dot"}, "shard_number": 1}
    assert cluster.json("PUT", "/collections/documents", body, headers)[0] == 200
    points = [{"id": id, "vector": [draw.gauss(0, 1) for _ in range(DIMENSION)], "payload": {"n": id}} for id in range(POINTS)]
    assert cluster.json("PUT", "/collections/documents/points?wait=true", {"points": points}, headers)[0] == 200
    assert cluster.json("PATCH", "/collections/documents", {"optimizers_config": {"indexing_threshold": 1}}, headers)[0] == 200
    cluster.stop()
    return cluster


def multiply(store, first, count):
    """What the first tenant has, for the others: the same objects under other names, as a file of the store does not say whose it is."""
    files = [path.relative_to(store / place(0)) for path in (store / place(0)).rglob("*") if path.is_file()]
    folders = sorted({name.parent for name in files})
    for number in range(first, count):
        source, target = store / place(number // LINKS * LINKS), store / place(number)
        for folder in folders:
            os.makedirs(target / folder, exist_ok=True)
        for name in files:
            if source == target:
                shutil.copy2(store / place(0) / name, target / name)
            else:
                os.link(source / name, target / name)


def usage(cluster, name):
    """Resident MiB, and open files."""
    process = cluster.processes[name].pid
    resident = next(line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(resident.split()[1]) / 1024, len(os.listdir(f"/proc/{process}/fd"))


def main():
    parser = argparse.ArgumentParser(prog="loadtest/restart", description=__doc__)
    parser.add_argument("--tenants", default="1,1000,100000")
    counts = [int(word) for word in parser.parse_args().tenants.split(",")]
    folder = Path(tempfile.mkdtemp(prefix="covey-restart-"))
    cluster = make(folder)
    vector = [1.0] * DIMENSION
    print(f"{POINTS} points of {DIMENSION} dimensions a tenant, store in a folder; a shard node and a coordinator; searches of {ASKED} tenants, or of all.\n")
    print("| tenants | ready after s | first search of a tenant, p50 / p99 ms | second | shard node: MiB, files at the start | after the searches | coordinator: MiB at the start | after |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    made = 1
    try:
        for count in counts:
            multiply(folder / "store", made, count)
            made = max(made, count)
            write_tenants(folder, count)
            start = time.monotonic()
            cluster.start()
            cluster.wait_for(lambda: cluster.get("/readyz")[0] == 200, "the cluster to be ready", 120)
            ready = time.monotonic() - start
            before = {name: usage(cluster, name) for name in ("shard-1", "coordinator")}
            asked = random.Random(2).sample(range(count), min(count, ASKED))
            first, second = (sorted(search(cluster, number, vector) * 1e3 for number in asked) for _ in range(2))
            after = {name: usage(cluster, name) for name in before}
            cell = lambda times: f"{times[len(times) // 2]:.1f} / {times[len(times) * 99 // 100]:.1f}"  # noqa: E731
            node = lambda usages: "{:.0f}, {}".format(*usages["shard-1"])  # noqa: E731
            print(
                f"| {count:,} | {ready:.2f} | {cell(first)} | {cell(second)} | {node(before)} | {node(after)} | {before['coordinator'][0]:.0f} | {after['coordinator'][0]:.0f} |",
                flush=True)
            cluster.stop()
    finally:
        cluster.stop()
        shutil.rmtree(folder)


main()
