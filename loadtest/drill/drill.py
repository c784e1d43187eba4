"""Faults on a real cluster under load, one after the other, and what its clients noticed; see cluster/drill."""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "Tests/Clients")]

import network  # noqa: E402
from client import Client  # noqa: E402
from conftest import BINARY, Cluster, SeaweedFS  # noqa: E402
from faults import faults  # noqa: E402
from load import DIMENSION, Load  # noqa: E402
from report import Row, problems, table, takeovers  # noqa: E402

SHARDS, COORDINATORS = 3, ["coordinator", "coordinator-2"]
NODES = [f"shard-{i + 1}" for i in range(SHARDS)]
COLLECTION, COLLECTION_SHARDS, POINTS = "drill", 6, 6_000
#: Of the disk that holds one node's copies of segments.
DISK_MIB = 64


class DrilledCluster(Cluster):
    """Its processes run each in a network namespace of its own, where there are any."""

    def __init__(self, folder, net, **options):
        self.net = net
        super().__init__(folder, **options)

    def prefix(self, name):
        return self.net.prefix(name) if self.net else []


class Drill:
    def __init__(self, options, folder, net):
        self.options, self.folder, self.net = options, folder, net
        self.seaweedfs = SeaweedFS(folder / "seaweedfs", net.prefix("store") if net else [])
        self.disk = folder / "cache" / "shard-2"
        self.disk.mkdir(parents=True)
        self.has_small_disk = os.geteuid() == 0 and self._run("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "covey-drill", self.disk, check=False) == 0
        settings = {**self.seaweedfs.store("drill", folder / "cache"), "shard.seal_points": 2_000, "shard.exact_points": 0, "log.level": "info"}
        self.cluster = DrilledCluster(folder, net, shards=SHARDS, coordinators=2, settings=settings)
        self.gateways = {"coordinator": int(self.cluster.url.rsplit(":", 1)[1])}
        self.gateways |= {name: int(address.rsplit(":", 1)[1]) for name, address in self.cluster.more_gateways.items()}
        if net:
            net.serve("store", int(self.seaweedfs.settings["endpoint"].rsplit(":", 1)[1]))
            for name, address in self.cluster.addresses.items():
                net.serve(name, self.port(name))
            for name, port in self.gateways.items():
                net.serve(name, port)
        self.rows = []

    def port(self, name):
        return int(self.cluster.addresses[name].rsplit(":", 1)[1])

    @staticmethod
    def _run(*command, check=True):
        return subprocess.run([str(word) for word in command], check=check, capture_output=True).returncode

    # MARK: - The run

    async def run(self):
        await asyncio.to_thread(lambda: self.cluster.start().wait_until_ready())
        other = "http://127.0.0.1:%d" % self.gateways["coordinator-2"]
        await asyncio.to_thread(self.cluster.wait_for, lambda: self.cluster.request("GET", "/readyz", url=other)[0] == 200, "the second coordinator")
        self.client = Client(self.gateways.values())
        self.load = Load(self.client, COLLECTION)
        await self.fill()
        stopped = asyncio.Event()
        running = asyncio.create_task(self.load.run(stopped))
        self.saturation = await self.ramp()
        self.load.rate = self.saturation / 2
        say(f"saturation: {self.saturation:.0f} requests/s; the drill runs at {self.load.rate:.0f}")
        await asyncio.sleep(5)
        for fault in faults(self, quick=self.options.quick, repeats=self.options.repeats, only=self.options.only):
            await self.suffer(fault)
        self.load.rate = 0
        stopped.set()
        await running
        missing = await self.missing()
        for row in self.rows:
            row.count(self.load, missing)
        self.client.close()
        await asyncio.to_thread(self.cluster.stop)
        verified = await asyncio.to_thread(subprocess.run, [BINARY, "verify", "--config", str(self.cluster.configuration)], capture_output=True, text=True)
        return missing, verified

    async def fill(self):
        """Points that are sealed, so that reads use segments."""
        schema = {"vectors": {"size": DIMENSION, "distance": "Dot"}, "shard_number": COLLECTION_SHARDS}
        assert (await self.call("PUT", f"/collections/{COLLECTION}", schema)).status == 200
        for first in range(0, POINTS, 1_000):
            points = [{"id": id, "vector": json.loads(self.load.vectors[id % 256]), "payload": {"n": 0}} for id in range(first, first + 1_000)]
            reply = await self.call("PUT", f"/collections/{COLLECTION}/points?wait=true", {"points": points})
            assert reply.status == 200, reply.body
        await self.seal()

    async def seal(self):
        return await self.call("PATCH", f"/collections/{COLLECTION}", {"optimizers_config": {"indexing_threshold": 1}})

    async def call(self, method, path, body, seconds=60):
        return await self.client.call(method, path, json.dumps(body).encode(), uuid.uuid4().hex, seconds, seconds)

    async def ramp(self):
        """The rate at which requests begin to queue, found by steps; a step that fails once is tried again, as others use the machine too."""
        self.load.rate = 30.0
        await asyncio.sleep(2)
        rate, best, failed = 60.0, 30.0, False
        for _ in range(16):
            self.load.rate = rate
            await asyncio.sleep(1)
            start, finished = time.monotonic(), len(self.load.reads) + len(self.load.writes)
            await asyncio.sleep(2 if self.options.quick else 3)
            achieved = (len(self.load.reads) + len(self.load.writes) - finished) / (time.monotonic() - start)
            if achieved >= 0.85 * rate and len(self.load.tasks) <= rate / 2:
                best, rate, failed = achieved, rate * 1.5, False
            elif failed:
                break
            else:
                failed, self.load.rate = True, 0
                await self.load.drain()
        self.load.rate = 0
        await self.load.drain()
        return best

    async def suffer(self, fault):
        owned = {shard for shard, node in self.load.owners().items() if node in fault.owners}
        start = time.monotonic()
        await fault.begin()
        await asyncio.sleep(fault.seconds)
        await fault.end()
        healed = time.monotonic()
        # Until nothing is slow any more, and a while longer.
        while time.monotonic() < healed + 40:
            await asyncio.sleep(0.5)
            recent = [row for row in self.load.reads[-200:] + self.load.writes[-200:] if row.end > time.monotonic() - 3]
            calm = time.monotonic() > healed + fault.calm and all(row.end - row.start < 1 and row.status == 200 for row in recent)
            if calm and len(self.load.tasks) < max(50, self.load.rate / 4):
                break
        row = Row(fault, owned, start, healed, time.monotonic())
        self.rows.append(row)
        row.count(self.load, {})
        say(row.line())

    async def missing(self):
        """Acknowledged writes that a strong read does not show: id to the number that it shows, if any."""
        found, ids = {}, list(self.load.acknowledged)
        for first in range(0, len(ids), 500):
            reply = await self.call("POST", f"/collections/{COLLECTION}/points", {"ids": ids[first : first + 500]})
            assert reply.status == 200, reply.body
            found |= {point["id"]: point["payload"]["n"] for point in json.loads(reply.body)["result"]}
        return {id: found.get(id) for id, number in self.load.acknowledged.items() if found.get(id, -1) < number}

    def close(self):
        self.cluster.stop()
        self.seaweedfs.stop()
        if self.has_small_disk:
            self._run("umount", "-l", self.disk, check=False)


def say(text):
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def inside(options, arguments):
    """Runs the drill again in a namespace of its own, and removes it afterwards."""
    hub = network.hub_name(os.getpid())
    subprocess.run(["ip", "netns", "add", hub], check=True)
    try:
        return subprocess.run(["ip", "netns", "exec", hub, sys.executable, __file__, *arguments, "--inside", str(os.getpid())]).returncode
    finally:
        subprocess.run(["ip", "netns", "del", hub])


def main(arguments):
    parser = argparse.ArgumentParser(prog="cluster/drill", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="kill -9 and SIGSTOP only, once each, within 90 s and without namespaces; times are shown and not judged")
    parser.add_argument("--repeats", type=int, default=2, help="how often each shard node is killed (default: 2)")
    parser.add_argument("--only", help="only faults whose name has this text")
    parser.add_argument("--json", help="also write the rows to this file")
    parser.add_argument("--keep", action="store_true", help="leave the folder with logs and store behind")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not options.quick and not options.inside:
        if network.is_possible():
            return inside(options, arguments)
        say("no network namespaces here (root, ip and nft are needed): cuts and delays are LEFT OUT")
    folder = Path(tempfile.mkdtemp(prefix="covey-drill-"))
    net = network.Network(options.inside, [*COORDINATORS, *NODES, "generator", "store"]) if options.inside else None
    drill = None
    try:
        drill = Drill(options, folder, net)
        missing, verified = asyncio.run(drill.run())
        print(table(drill.rows))
        summary = takeovers(drill.rows)
        print(f"\nSaturation {drill.saturation:.0f} requests/s, load {drill.saturation / 2:.0f}. {summary.text}")
        print(f"{len(drill.load.acknowledged)} points acknowledged, {len(missing)} missing; covey verify: {(verified.stdout.strip().splitlines() or ['said nothing'])[-1]}")
        found = problems(drill.rows, summary, missing, verified, is_timed=not options.quick)
        if drill.load.unsent:
            say(f"{drill.load.unsent} requests were not sent, as too many were under way")
        for problem in found:
            print(f"PROBLEM: {problem}")
        if options.json:
            Path(options.json).write_text(json.dumps({"rows": [row.values() for row in drill.rows], "takeovers": summary.seconds, "missing": len(missing), "problems": found}))
        return 1 if found else 0
    finally:
        if drill:
            drill.close()
        if net:
            net.close()
        if options.keep:
            say(f"logs are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
