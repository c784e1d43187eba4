"""See loadtest/stalls."""

import argparse
import http.client
import itertools
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Tests/Clients"))
from conftest import Cluster, SeaweedFS  # noqa: E402

DIMENSION, WRITERS, READERS = 128, 4, 4
#: Between the verb's end and the phase's: what it left to do is felt then.
AFTER_SECONDS = 3


class Load:
    """Clients that each send one request after the other; of each, when it was sent and how long it took."""

    def __init__(self, cluster, first):
        self.host = cluster.url.removeprefix("http://")
        self.reads, self.writes, self.failed, self.ended = [], [], [], threading.Event()
        ids = itertools.count(first)
        random = numpy.random.default_rng(2)
        vectors = random.normal(size=(1_000, DIMENSION)).round(4).tolist()
        write = lambda n: ("PUT", "/collections/c/points?wait=true", {"points": [{"id": next(ids), "vector": vectors[n % 1_000]}]})
        read = lambda n: ("POST", "/collections/c/points/query", {"query": vectors[n % 1_000], "limit": 10})
        self.threads = [threading.Thread(target=self.run, args=(self.writes, write)) for _ in range(WRITERS)]
        self.threads += [threading.Thread(target=self.run, args=(self.reads, read)) for _ in range(READERS)]
        for thread in self.threads:
            thread.start()

    def run(self, times, request):
        connection = http.client.HTTPConnection(self.host, timeout=60)
        for n in itertools.count():
            if self.ended.is_set():
                return
            method, path, body = request(n)
            sent = time.monotonic()
            connection.request(method, path, json.dumps(body), {"content-type": "application/json"})
            reply = connection.getresponse()
            text = reply.read()
            times.append((sent, time.monotonic() - sent))
            if reply.status != 200 or not json.loads(text).get("covey", {}).get("coverage", {}).get("complete", True):
                self.failed.append(text)

    def row(self, name, begin, end):
        cells = []
        for times in (self.writes, self.reads):
            took = numpy.array([t for sent, t in times if begin <= sent < end]) * 1e3
            cells += [len(took), *numpy.percentile(took, [50, 99, 100]).round(1)]
        return f"| {name} | {end - begin:.1f} | " + " | ".join(f"{cell:g}" for cell in cells) + f" | {len(self.failed)} |"

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--s3", action="store_true", help="the store is a SeaweedFS that is started for it, not a folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = SeaweedFS(Path(folder) / "s3") if options.s3 else None
        settings = {"shard.split_points": 0, "shard.merge_points": 0, **(server.store("stalls", Path(folder) / "cache") if server else {})}
        cluster = Cluster(folder, shards=3, settings=settings)
        try:
            cluster.start().wait_until_ready()
            measure(cluster, options.points)
        finally:
            cluster.stop()
            if server:
                server.stop()


def measure(cluster, points):
    assert cluster.json("PUT", "/collections/c", {"vectors": {"size": DIMENSION, "distance": "Cosine"}, "shard_number": 1})[0] == 200
    vectors = numpy.random.default_rng(1).normal(size=(points, DIMENSION)).round(4)
    for start in range(0, points, 5_000):
        batch = [{"id": start + i, "vector": vector.tolist()} for i, vector in enumerate(vectors[start : start + 5_000])]
        assert cluster.json("PUT", "/collections/c/points?wait=true", {"points": batch})[0] == 200
    assert cluster.json("PATCH", "/collections/c", {"optimizers_config": {"indexing_threshold": 1}})[0] == 200
    load = Load(cluster, points)
    print("| while | s | writes | p50 ms | p99 ms | longest ms | reads | p50 ms | p99 ms | longest ms | failed or partial so far |")
    print("|---|" + "---|" * 10, flush=True)
    try:
        time.sleep(2)
        begin = time.monotonic()
        time.sleep(10)
        print(load.row("nothing else happens", begin, time.monotonic()), flush=True)
        for verb, shard in [("split", "0"), ("merge", "1")]:
            begin = time.monotonic()
            done = cluster.covey(verb, "-c", "c", shard)
            assert done.returncode == 0, done
            time.sleep(AFTER_SECONDS)
            print(load.row(verb, begin, time.monotonic()), flush=True)
    finally:
        load.stop()
    if load.failed:
        sys.exit(f"{len(load.failed)} failed, the first: {load.failed[0][:500]}")


main()
