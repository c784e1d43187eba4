"""Deleted means gone: a scanner reads every object of the store and every file of the nodes' caches while a cluster runs."""

import struct
import subprocess
import time
import xml.etree.ElementTree

import pytest
from test_cluster import DIMENSION, make_points

DEADLINE = 6
TEXT = "a-needle-that-nobody-else-would-write"
VECTOR = [0.123456 * (i + 1) for i in range(DIMENSION)]
NEEDLES = [TEXT.encode(), struct.pack("<4f", *VECTOR[4:8])]


class Bucket:
    """Objects of a cluster's prefix, read over S3."""

    def __init__(self, settings, prefix):
        self.url = f"{settings['endpoint']}/covey"
        self.user = f"{settings['access_key']}:{settings['secret_key']}"
        self.prefix = prefix

    def get(self, path):
        command = ["curl", "-sf", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", self.user, self.url + path]
        return subprocess.run(command, capture_output=True, timeout=60)

    def objects(self):
        listed, after = [], ""
        while True:
            start = f"&start-after={after.replace('/', '%2F')}" if after else ""
            reply = self.get(f"?list-type=2&max-keys=1000&prefix={self.prefix}%2F{start}")
            assert reply.returncode == 0, reply
            page = [e.text for e in xml.etree.ElementTree.fromstring(reply.stdout).iter() if e.tag.endswith("}Key")]
            listed += page
            if len(page) < 1000:
                return listed
            after = page[-1]

    def scan(self):
        # One that is deleted meanwhile holds nothing any more.
        return [key for key in self.objects() if any(needle in self.get("/" + key).stdout for needle in NEEDLES)]


def scan_folder(folder):
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and any(needle in path.read_bytes() for needle in NEEDLES):
                found.append(str(path.relative_to(folder)))
        except FileNotFoundError:
            pass
    return found


@pytest.mark.parametrize("store", ["folder", "s3"])
def test_deleted_points_documents_and_collections_leave_no_byte(make_cluster, request, tmp_path, store):
    settings = {"erasure.deadline_seconds": DEADLINE, "shard.seal_points": 200}
    scanners = []
    if store == "s3":
        seaweedfs = request.getfixturevalue("seaweedfs")
        settings |= seaweedfs.store("erased", tmp_path / "cache")
        scanners = [Bucket(seaweedfs.settings, "erased").scan, lambda: scan_folder(tmp_path / "cache")]
    cluster = make_cluster(shards=2, settings=settings)
    scanners = scanners or [lambda: scan_folder(cluster.folder / "store")]

    def scan():
        return [name for scanner in scanners for name in scanner()]

    def erased(what):
        start = time.monotonic()
        # Nobody calls the cluster while this waits.
        cluster.wait_for(lambda: scan() == [], f"{what} to be erased", seconds=90)
        took = time.monotonic() - start
        print(f"{store}: {what} erased after {took:.1f} s, the deadline is {DEADLINE} s")
        # The rewriting itself takes a part of a second here; a busy machine gets some more.
        assert took < DEADLINE + 10

    def put(points):
        status, reply = cluster.json("PUT", "/collections/erased/points?wait=true", {"points": points})
        assert status == 200, reply

    assert cluster.json("PUT", "/collections/erased", {"vectors": {"size": DIMENSION, "distance": "Dot"}})[0] == 200
    points = make_points(31, 900)
    needle = {"id": 5_000, "vector": VECTOR, "payload": {"text": TEXT}}
    put(points[:450] + [needle] + points[450:])
    put(points[:50])
    assert scan()
    # A point by its id, after it was sealed or before; overwritten; by a filter.
    assert cluster.json("POST", "/collections/erased/points/delete?wait=true", {"points": [5_000]})[0] == 200
    erased("a point")
    put([needle])
    assert scan()
    put([{"id": 5_000, "vector": [1.0] * DIMENSION, "payload": {}}])
    erased("an overwritten point")
    put([needle])
    chosen = {"filter": {"must": [{"key": "text", "match": {"value": TEXT}}]}}
    assert cluster.json("POST", "/collections/erased/points/delete?wait=true", chosen)[0] == 200
    erased("what a filter chose")
    _, reply = cluster.json("POST", "/collections/erased/points/count", {"exact": True})
    assert reply["result"]["count"] == 900

    # A document, with its upload.
    document = tmp_path / "needle.md"
    document.write_text(f"# Secrets\n\nThis is {TEXT}, and more.\n")
    (tmp_path / "other.md").write_text("# Others\n\nNothing to hide.\n")
    assert cluster.covey("ingest", str(document), str(tmp_path / "other.md"), "-c", "notes").returncode == 0
    assert scan()
    name = next(line.split()[0] for line in cluster.covey("documents", "list", "-c", "notes").stdout.splitlines() if "needle.md" in line)
    reply = cluster.covey("documents", "delete", name, "-c", "notes")
    assert reply.returncode == 0, reply.stderr
    erased("a document")

    # A collection at once, a tenant at once.
    put([needle])
    assert scan()
    assert cluster.json("DELETE", "/collections/erased")[0] == 200
    assert scan() == []
    assert cluster.covey("ingest", str(document), "-c", "notes").returncode == 0
    assert scan()
    reply = cluster.covey("drop-tenant", "default", "--config", str(cluster.configuration))
    assert reply.returncode == 0 and "1 collections ended" in reply.stdout, reply.stdout + reply.stderr
    erased("a tenant")
    for process in list(cluster.processes):
        assert cluster.terminate(process) == 0
    reply = cluster.covey("drop-tenant", "default", "--final", "--config", str(cluster.configuration))
    assert reply.returncode == 0, reply.stderr
    reply = cluster.covey("verify", "--config", str(cluster.configuration))
    assert reply.returncode == 0 and "0 damaged, 0 missing, 0 orphans, 0 pending" in reply.stdout, reply.stdout
