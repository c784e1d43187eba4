"""See loadtest/cluster."""

import argparse
import contextlib
import json
import os
import random
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/Clients"))
import hop_profile  # noqa: E402

from conftest import Cluster  # noqa: E402

import http.client  # noqa: E402

SHARDS, POINTS, DIMENSION = 4, 20_000, 384
#: Searches a second of the driver, which come whether the ones before were answered or not, over so many connections.
RATE, CONNECTIONS = 100, 16
NODES = ["coordinator", *(f"shard-{i + 1}" for i in range(SHARDS)), "generator"]


def vectors(count, seed):
    """Around 64 centres, as texts lie around subjects."""
    draw = random.Random(seed)
    centres = random.Random(1)
    centres = [[centres.gauss(0, 1) for _ in range(DIMENSION)] for _ in range(64)]
    return [[round(value + draw.gauss(0, 0.7), 3) for value in draw.choice(centres)] for _ in range(count)]


@contextlib.contextmanager
def running(folder, secure):
    """A cluster with a sealed collection."""
    settings, authority = {"log.level": "error"}, None
    if secure:
        subprocess.run([ROOT / "cluster/certificates", folder, "--host", "localhost", *NODES], check=True)
        authority = folder / "authority.pem"
        settings |= {
            "tls.certificate": f"{folder}/{{node}}.pem", "tls.key": f"{folder}/{{node}}.key", "tls.authority": str(authority),
            "gateway.tls.certificate": f"{folder}/gateway.pem", "gateway.tls.key": f"{folder}/gateway.key",
        }
    cluster = Cluster(folder, shards=SHARDS, settings=settings, authority=authority)
    try:
        cluster.start().wait_until_ready()
        body = {"vectors": {"size": DIMENSION, "distance": "Cosine"}, "shard_number": SHARDS}
        assert cluster.json("PUT", "/collections/bench", body)[0] == 200
        points = vectors(POINTS, seed=2)
        for first in range(0, POINTS, 2_000):
            batch = [{"id": id, "vector": points[id], "payload": {"n": id}} for id in range(first, first + 2_000)]
            assert cluster.json("PUT", "/collections/bench/points?wait=true", {"points": batch})[0] == 200
        assert cluster.json("PATCH", "/collections/bench", {"optimizers_config": {"indexing_threshold": 1}})[0] == 200
        yield cluster
    finally:
        cluster.stop()


def processor_seconds(cluster):
    """Time that each process has used, in seconds."""
    ticks = os.sysconf("SC_CLK_TCK")
    found = {}
    for name, process in cluster.processes.items():
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        found[name] = (int(fields[11]) + int(fields[12])) / ticks
    return found


def hops(before, after, calls):
    """Microseconds of a processor for one search: at the coordinator, and at the shard nodes together."""
    used = {name: (after[name] - before[name]) / calls * 1e6 for name in before}
    return used["coordinator"], sum(time for name, time in used.items() if name.startswith("shard"))


def by_h2load(cluster, folder, connections, streams, seconds, batch=0):
    """Searches/s, p50 and p99 of a request in ms, failures, and the hops' time: the same request over and over, as fast as answers come.

    It has one search, or `batch` different ones."""
    query = folder / "query"
    searches = [{"query": vector, "limit": 10} for vector in vectors(max(batch, 1), seed=3)]
    query.write_text(json.dumps({"searches": searches} if batch else searches[0]))
    times = folder / "times"
    times.unlink(missing_ok=True)
    before = processor_seconds(cluster)
    subprocess.run(
        ["h2load", "-t1", f"-c{connections}", f"-m{streams}", "-D", str(seconds), "-d", query, "-H", "content-type: application/json",
         f"--log-file={times}", cluster.url + "/collections/bench/points/query" + ("/batch" if batch else "")], check=True, stdout=subprocess.DEVNULL)
    after = processor_seconds(cluster)
    rows = [line.split() for line in times.read_text().splitlines()]
    good = sorted(int(row[2]) / 1e3 for row in rows if row[1] == "200")
    count = len(good) * len(searches)
    return count / seconds, good[len(good) // 2], good[len(good) * 99 // 100], len(rows) - len(good), *hops(before, after, count)


def by_driver(cluster, seconds):
    """The same of searches that are all different and come at a steady rate; times count from when each was due."""
    queries = [json.dumps({"query": vector, "limit": 10}).encode() for vector in vectors(RATE, seed=4)]
    times, failed, lock = [], [], threading.Lock()
    start = time.monotonic()
    host, port = cluster.url.split("//")[1].split(":")
    context = cluster.ssl

    def work(first):
        connection = (
            http.client.HTTPSConnection(host, int(port), context=context) if isinstance(context, ssl.SSLContext) else http.client.HTTPConnection(host, int(port)))
        for number in range(first, int(seconds * RATE), CONNECTIONS):
            due = start + number / RATE
            time.sleep(max(0, due - time.monotonic()))
            connection.request("POST", "/collections/bench/points/query", queries[number % RATE], {"content-type": "application/json"})
            reply = connection.getresponse()
            reply.read()
            with lock:
                (times if reply.status == 200 else failed).append((time.monotonic() - due) * 1e3)
        connection.close()

    before = processor_seconds(cluster)
    threads = [threading.Thread(target=work, args=(first,)) for first in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = processor_seconds(cluster)
    times.sort()
    return len(times) / seconds, times[len(times) // 2], times[len(times) * 99 // 100], len(failed), *hops(before, after, len(times))


def main():
    parser = argparse.ArgumentParser(prog="loadtest/cluster", description=__doc__)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="also print what the time of the coordinator and of one shard node is spent in, with 64 at a time (takes perf)")
    options = parser.parse_args()
    cases = [
        ("one search at a time", lambda cluster, folder: by_h2load(cluster, folder, 1, 1, options.seconds)),
        ("64 at a time, 8 connections", lambda cluster, folder: by_h2load(cluster, folder, 8, 8, options.seconds)),
        ("batches of 100, one at a time", lambda cluster, folder: by_h2load(cluster, folder, 1, 1, options.seconds, batch=100)),
        ("batches of 100, 4 at a time", lambda cluster, folder: by_h2load(cluster, folder, 4, 1, options.seconds, batch=100)),
        (f"{RATE} a second, all different", lambda cluster, folder: by_driver(cluster, options.seconds)),
    ]
    found, profiles = {}, {}
    with tempfile.TemporaryDirectory() as plain, tempfile.TemporaryDirectory() as tls:
        with running(Path(plain), False) as first, running(Path(tls), True) as second:
            for _ in range(options.rounds):
                for word, cluster, folder in [("plaintext", first, Path(plain)), ("TLS", second, Path(tls))]:
                    for name, measure in cases:
                        found.setdefault((name, word), []).append(measure(cluster, folder))
            if options.profile:
                for word, cluster, folder in [("plaintext", first, Path(plain)), ("TLS", second, Path(tls))]:
                    processes = {name: cluster.processes[name].pid for name in ("coordinator", "shard-1")}
                    with hop_profile.profiled(processes, folder) as shares:
                        by_h2load(cluster, folder, 8, 8, options.seconds)
                    profiles |= {f"{name}, {word}": parts for name, parts in shares.items()}
    print(f"{POINTS:,} points of {DIMENSION} dimensions in {SHARDS} shards on {SHARDS} nodes; medians of {options.rounds} rounds of {options.seconds} s.\n")
    print("| load | between processes and at the public port | searches/s | p50 ms | p99 ms | failed | coordinator, µs of a processor a search | shard nodes together |")
    print("|---|---|---|---|---|---|---|---|")
    for name, _ in cases:
        for word in ("plaintext", "TLS"):
            rate, p50, p99, failed, coordinator, shards = (statistics.median(values) for values in zip(*found[name, word]))
            print(f"| {name} | {word} | {rate:,.0f} | {p50:.2f} | {p99:.2f} | {failed:.0f} | {coordinator:,.0f} | {shards:,.0f} |")
    if profiles:
        print("\n" + hop_profile.table(profiles))


main()
