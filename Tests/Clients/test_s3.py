"""A cluster of real processes whose store is a real S3 server (SeaweedFS): what is acknowledged survives dead nodes and a dead server.

`BENCHMARK=1 … -s -k latency` prints write latencies on a folder and on S3.
"""

import http.server
import os
import re
import subprocess
import threading
import time
import urllib.parse

import pytest
from conftest import BINARY
from test_cluster import DIMENSION, exact_top, fill, make_points, query


def on_s3(make_cluster, seaweedfs, tmp_path, prefix, **options):
    settings = {**seaweedfs.store(prefix, tmp_path / "cache"), **options.pop("settings", {})}
    return make_cluster(settings=settings, **options)


def count(cluster, name):
    return cluster.json("POST", f"/collections/{name}/points/count", {"exact": True})[1]["result"]["count"]


class Writer:
    """Writes points one after the other from several threads; keeps what was acknowledged."""

    def __init__(self, cluster, name, threads=4):
        self.acknowledged, self.refused, self.stopped = set(), 0, threading.Event()
        self.cluster, self.name = cluster, name
        self.threads = [threading.Thread(target=self.run, args=(i + 1,), daemon=True) for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, first):
        id = first
        while not self.stopped.is_set():
            point = {"id": id, "vector": [float(id % 7)] * DIMENSION, "payload": {"n": id}}
            try:
                status, _ = self.cluster.json("PUT", f"/collections/{self.name}/points?wait=true", {"points": [point]})
            except OSError:
                status = 0
            if status == 200:
                self.acknowledged.add(id)
            else:
                self.refused += 1
            id += len(self.threads)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(120)


def found(cluster, name, ids):
    """Those of the ids that the collection has."""
    ids, there = sorted(ids), set()
    for start in range(0, len(ids), 500):
        status, reply = cluster.json("POST", f"/collections/{name}/points", {"ids": ids[start : start + 500]})
        assert status == 200, reply
        there |= {point["id"] for point in reply["result"]}
    return there


def test_a_killed_shard_node_loses_nothing_that_was_acknowledged(make_cluster, seaweedfs, tmp_path):
    cluster = on_s3(make_cluster, seaweedfs, tmp_path, "killed-node", settings={"shard.exact_points": 0})
    points = make_points(11)
    fill(cluster, "kept", points)
    writer = Writer(cluster, "kept")
    cluster.wait_for(lambda: len(writer.acknowledged) > 100, "some writes")
    cluster.kill("shard-2")
    seen = len(writer.acknowledged)
    cluster.wait_for(lambda: len(writer.acknowledged) > seen + 50, "writes to the others")
    cluster.start("shard-2")
    cluster.wait_for(lambda: query(cluster, "kept", points[0]["vector"])[1]["covey"]["coverage"]["shards_answered"] == 4, "shard-2 to be back")
    writer.stop()
    assert found(cluster, "kept", writer.acknowledged) == writer.acknowledged
    # Sealed, with a cold cache, it is the same.
    before = count(cluster, "kept")
    assert cluster.json("PATCH", "/collections/kept", {"optimizers_config": {"indexing_threshold": 1}})[0] == 200
    for name in list(cluster.processes):
        cluster.kill(name)
    for file in (tmp_path / "cache").glob("*/files/*"):
        file.unlink()
    cluster.start().wait_until_ready()
    assert count(cluster, "kept") == before
    assert found(cluster, "kept", writer.acknowledged) == writer.acknowledged
    _, reply = query(cluster, "kept", points[3]["vector"], params={"exact": True})
    assert reply["covey"]["coverage"]["complete"]
    assert len(reply["result"]["points"]) == 10


def test_a_killed_server_loses_nothing_that_was_acknowledged(make_cluster, seaweedfs, tmp_path):
    cluster = on_s3(make_cluster, seaweedfs, tmp_path, "killed-server", shards=2)
    points = make_points(12)
    fill(cluster, "kept", points)
    writer = Writer(cluster, "kept")
    cluster.wait_for(lambda: len(writer.acknowledged) > 100, "some writes")
    seaweedfs.kill()
    # What is in memory is still searched.
    status, reply = query(cluster, "kept", points[0]["vector"])
    assert status == 200 and len(reply["result"]["points"]) == 10
    seaweedfs.start()
    seen = len(writer.acknowledged)
    cluster.wait_for(lambda: len(writer.acknowledged) > seen + 50, "writes to go on")
    writer.stop()
    assert found(cluster, "kept", writer.acknowledged) == writer.acknowledged
    for name in list(cluster.processes):
        cluster.kill(name)
    cluster.start().wait_until_ready()
    assert found(cluster, "kept", writer.acknowledged) == writer.acknowledged
    _, reply = query(cluster, "kept", points[0]["vector"], params={"exact": True})
    assert reply["covey"]["coverage"]["complete"]


def test_a_node_finds_its_segments_in_its_cache_after_a_restart(make_cluster, seaweedfs, tmp_path):
    cluster = on_s3(make_cluster, seaweedfs, tmp_path, "cached", serve=True, settings={"shard.exact_points": 0})
    points = make_points(13, 1_000)
    fill(cluster, "cached", points)
    assert cluster.json("PATCH", "/collections/cached", {"optimizers_config": {"indexing_threshold": 1}})[0] == 200
    expected = exact_top(points, points[5]["vector"])
    files = {file.name: file.stat().st_ino for file in (tmp_path / "cache/serve/files").iterdir()}
    assert files
    assert cluster.terminate("serve") == 0
    cluster.start().wait_until_ready()
    _, reply = query(cluster, "cached", points[5]["vector"], params={"exact": True})
    assert [p["id"] for p in reply["result"]["points"]] == expected
    assert {file.name: file.stat().st_ino for file in (tmp_path / "cache/serve/files").iterdir()} == files
    # Dropping leaves no bytes in the cache.
    assert cluster.json("DELETE", "/collections/cached")[0] == 200
    assert not list((tmp_path / "cache/serve/files").iterdir())


@pytest.mark.parametrize("host, addressing", [("127.0.0.1", "path"), ("localhost", "virtual-host")])
def test_tls_with_an_authority_of_ones_own(make_cluster, seaweedfs, tmp_path, host, addressing):
    settings = {**seaweedfs.tls(host), "store.addressing": addressing}
    cluster = on_s3(make_cluster, seaweedfs, tmp_path, f"tls-{addressing}", serve=True, settings=settings)
    points = make_points(15)
    fill(cluster, "tls", points)
    assert cluster.json("PATCH", "/collections/tls", {"optimizers_config": {"indexing_threshold": 1}})[0] == 200
    cluster.kill("serve")
    cluster.start().wait_until_ready()
    _, reply = query(cluster, "tls", points[7]["vector"], params={"exact": True})
    assert [p["id"] for p in reply["result"]["points"]] == exact_top(points, points[7]["vector"])


def serve(settings):
    """Runs `covey serve`, which is expected to refuse."""
    flags = [word for key, value in settings.items() for word in ("--" + key.replace(".", "-").replace("_", "-"), str(value))]
    command = [BINARY, "serve", "--gateway-address", "127.0.0.1:0", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"store.ca_file": ""}, ["https://127.0.0.1", "certificate"]),
        ({"store.secret_key": "wrong"}, ["https://127.0.0.1", "SignatureDoesNotMatch"]),
        ({"store.access_key": "nobody"}, ["https://127.0.0.1", "InvalidAccessKeyId"]),
    ],
)
def test_what_the_service_or_its_certificate_refuses_is_named(seaweedfs, tmp_path, change, words):
    result = serve({**seaweedfs.store("refused", tmp_path), **seaweedfs.tls("127.0.0.1"), **change})
    assert result.returncode != 0
    for word in ["store.path s3://covey/refused", *words]:
        assert word in result.stderr, result.stderr


class LooksFirst:
    """An S3 service that keeps `If-None-Match: *` for puts that come one after the other, and looks before all of those that come together have written."""

    def __init__(self):
        objects, together = {}, threading.Barrier(20)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, body=b""):
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_PUT(self):
                path, body = self.path, self.rfile.read(int(self.headers["content-length"]))
                exists = path in objects
                if path.endswith("/race"):
                    together.wait(30)
                elif exists and self.headers["if-none-match"]:
                    return self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                objects[path] = body
                self.answer(200)

            def do_GET(self):
                path, _, query = self.path.partition("?")
                if not query:
                    return self.answer(200, objects[path]) if path in objects else self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
                query = {name: values[0] for name, values in urllib.parse.parse_qs(query).items()}
                names = sorted(name.removeprefix("/covey/") for name in objects)
                names = [name for name in names if name.startswith(query.get("prefix", "")) and name > query.get("start-after", "")]
                content = "".join(f"<Contents><Key>{name}</Key></Contents>" for name in names[: int(query["max-keys"])])
                self.answer(200, f"<ListBucketResult>{content}</ListBucketResult>".encode())

            def do_POST(self):
                for name in re.findall(r"<Key>(.*?)</Key>", self.rfile.read(int(self.headers["content-length"])).decode()):
                    objects.pop(f"/covey/{name}", None)
                self.answer(200, b"<DeleteResult/>")

            def do_DELETE(self):
                objects.pop(self.path, None)
                self.answer(204)

            def log_message(self, *arguments):
                pass

        self.objects = objects
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_a_service_that_lets_two_writers_win_is_refused(tmp_path):
    service = LooksFirst()
    result = serve(
        {"store.path": "s3://covey/race", "store.endpoint": service.url, "store.access_key": "a", "store.secret_key": "b", "store.cache_path": str(tmp_path)})
    service.server.shutdown()
    assert result.returncode != 0
    assert "store.path s3://covey/race cannot be used" in result.stderr and "let 20 of 20 create-only puts of one key win" in result.stderr, result.stderr
    assert not [name for name in service.objects if "probe" in name]


def test_credentials_come_from_the_environment_or_a_profile_of_the_shared_file(make_cluster, seaweedfs, tmp_path, monkeypatch):
    settings = seaweedfs.store("credentials", tmp_path / "cache")
    keys = {settings.pop("store.access_key"), settings.pop("store.secret_key")}
    assert keys == {"covey", "covey-secret"}
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = nobody\naws_secret_access_key = x\n\n[covey]\naws_access_key_id = covey\naws_secret_access_key = covey-secret\n")
    assert "InvalidAccessKeyId" in serve(settings).stderr
    make_cluster(serve=True, settings={**settings, "store.profile": "covey"}).terminate("serve")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "covey")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "covey-secret")
    make_cluster(serve=True, settings=settings).terminate("serve")


@pytest.mark.skipif(not os.environ.get("BENCHMARK"), reason="a measurement: BENCHMARK=1")
def test_benchmark_write_latency(make_cluster, seaweedfs, tmp_path):
    writes = 500
    for label, settings in [("folder", {}), ("SeaweedFS", seaweedfs.store("latency", tmp_path / "cache"))]:
        cluster = make_cluster(settings=settings)
        fill(cluster, "latency", make_points(14))
        times = []
        for i in range(writes):
            point = {"id": 10_000 + i, "vector": [1.0] * DIMENSION}
            start = time.perf_counter()
            assert cluster.json("PUT", "/collections/latency/points?wait=true", {"points": [point]})[0] == 200
            times.append((time.perf_counter() - start) * 1_000)
        times.sort()
        print(f"\n{label}: {writes} writes of one point, one after the other, ms: p50 {times[writes // 2]:.1f} p99 {times[writes * 99 // 100]:.1f}")
        cluster.stop()


@pytest.mark.skipif(not os.environ.get("BENCHMARK"), reason="a measurement: BENCHMARK=1")
def test_benchmark_cold_query(make_cluster, seaweedfs, tmp_path):
    collections, points = 50, make_points(16, 1_000)
    for label, settings in [("folder", {}), ("SeaweedFS", seaweedfs.store("cold", tmp_path / "cache"))]:
        cluster = make_cluster(settings={**settings, "shard.exact_points": 0})
        for i in range(collections):
            fill(cluster, f"cold-{i}", points)
            assert cluster.json("PATCH", f"/collections/cold-{i}", {"optimizers_config": {"indexing_threshold": 1}})[0] == 200
        for state in ["first query of a collection after a restart", *(["the same, caches emptied"] if settings else []), "second query"]:
            if state != "second query":
                for name in list(cluster.processes):
                    cluster.kill(name)
                for file in (tmp_path / "cache").glob("*/files/*") if "emptied" in state else []:
                    file.unlink()
                cluster.start().wait_until_ready()
            times = []
            for i in range(collections):
                start = time.perf_counter()
                _, reply = query(cluster, f"cold-{i}", points[i]["vector"])
                times.append((time.perf_counter() - start) * 1_000)
                assert reply["covey"]["coverage"]["complete"]
            times.sort()
            print(f"\n{label}, {state}: {collections} collections of 1,000 points, ms: p50 {times[collections // 2]:.1f} greatest {times[-1]:.1f}")
        cluster.stop()
