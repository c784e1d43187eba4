"""The good client, the attackers and the table of `loadtest/hostile`."""

import argparse
import http.client
import itertools
import json
import multiprocessing
import os
import random
import re
import resource
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/Clients"))
from conftest import Cluster  # noqa: E402
from raw_http2 import *  # noqa: E402

RATE = 50  # requests a second of the good client
DIMENSION = 128
POINTS = 5_000
HEAD = OPEN_AT_GATEWAY
SCROLL = json.dumps({"limit": 2_000}).encode()
SCROLL_HEAD = request("/collections/bench/points/scroll", "POST", ("content-type", "application/json"))


# The good client: searches over one connection, as many a second whether the answers are quick or not.


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] if times else float("nan")


def connect(server, timeout=10):
    if server.secure:
        return http.client.HTTPSConnection("localhost", server.port, timeout=timeout, context=ssl.create_default_context(cafile=server.folder / "authority.pem"))
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)


def good_client(server, seconds):
    """Times of its requests in ms, from when each was due, and how many failed."""
    draw = random.Random(7)
    connection, times, failed = None, [], 0
    start = time.monotonic()
    for number in range(int(seconds * RATE)):
        due = start + number / RATE
        time.sleep(max(0, due - time.monotonic()))
        body = json.dumps({"query": [draw.gauss(0, 1) for _ in range(DIMENSION)], "limit": 10})
        for attempt in range(2):  # a connection that was ended while it was idle is opened anew, as clients do
            try:
                connection = connection or connect(server)
                connection.request("POST", "/collections/bench/points/query", body, {"content-type": "application/json"})
                reply = connection.getresponse()
                reply.read()
                failed += reply.status != 200
                break
            except (OSError, http.client.HTTPException):
                connection.close()
                connection = None
                failed += attempt
        times.append((time.monotonic() - due) * 1e3)
    return times, failed


# Attackers. Each runs in a process of its own until it is killed, and begins anew whenever it is cut off, 100 times a second at most.


def again(attack):
    def run(port, counter):
        while True:
            begun = time.monotonic()
            try:
                attack(port, counter)
            except (OSError, AssertionError):
                pass
            time.sleep(max(0, 0.01 - (time.monotonic() - begun)))

    return run


def flood(make):
    """Frames without end; what is read is thrown away."""

    @again
    def attack(port, counter):
        connection = RawConnection(f"127.0.0.1:{port}")
        connection.socket.settimeout(5)
        for count in itertools.count(0, 100):
            connection.send(*[make(count + i) for i in range(100)])
            counter.value += 100
            while select.select([connection.socket], [], [], 0)[0]:
                if not connection.socket.recv(1 << 20):
                    return

    return attack


def crowd(count, make, feed=None, interval=0.5):
    """Many connections that are held; one that the server ends is replaced. `feed` is what each sends now and then, byte by byte."""

    def run(port, counter):
        connections = []
        while True:
            while len(connections) < count:
                try:
                    connection = make(port)
                    plain = connection.socket if isinstance(connection, RawConnection) else connection
                    plain.setblocking(False)
                    connections.append((plain, itertools.cycle(feed or b"")))
                    counter.value += 1
                except (OSError, AssertionError):
                    time.sleep(0.01)
                    break
            kept = []
            for plain, bytes_left in connections:
                try:
                    if feed:
                        plain.send(bytes([next(bytes_left)]))
                    if not make.__dict__.get("reads", True) or plain.recv(65536):
                        kept.append((plain, bytes_left))
                        continue
                except BlockingIOError:
                    kept.append((plain, bytes_left))
                    continue
                except OSError:
                    pass
                plain.close()
            connections = kept
            time.sleep(interval)

    return run


def begin(text, sources=itertools.cycle(f"127.1.0.{i}" for i in range(1, 251))):
    """A connection that says no more than this. Crowds come from so many addresses that none has more connections than it may."""

    def make(port):
        plain = socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(next(sources), 0))
        plain.sendall(text)
        return plain

    return make


def unread(window):
    """Asks for large answers on many streams, and lets nothing of them through, or nothing of the socket."""

    def make(port):
        connection = RawConnection(f"127.0.0.1:{port}", receive_buffer=4_096)
        connection.send(settings((INITIAL_WINDOW_SIZE, window)), window_update(0, 2**30))
        streams = (1, 3)
        connection.send(*[headers(stream, *SCROLL_HEAD, end=False) + data(stream, SCROLL, end=True) for stream in streams])
        return connection

    make.reads = False
    return make


def window_trickle(port):
    connection = RawConnection(f"127.0.0.1:{port}")
    connection.send(settings((INITIAL_WINDOW_SIZE, 0)), headers(1, *SCROLL_HEAD, end=False), data(1, SCROLL, end=True))
    return connection


@again
def handshakes(port, counter):
    """In place of a handshake the beginning of one, from a client that speaks no TLS otherwise."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing)
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        plain.sendall(outgoing.read())
        plain.recv(65536)
        counter.value += 1


BOMB = frame(HEADERS, END_STREAM, 1, block(*request()) + b"\x40" + integer(1, 7) + b"x" + integer(3_900, 7) + b"y" * 3_900 + b"\xbe" * 8_000) + frame(CONTINUATION, END_HEADERS, 1, b"\xbe" * 16_000)


@again
def header_bomb(port, counter):
    connection = RawConnection(f"127.0.0.1:{port}")
    connection.send(BOMB)
    counter.value += 1
    connection.wait(lambda each: False)


ATTACKS = {
    "PING": flood(lambda i: frame(PING, 0, 0, b"x" * 8)),
    "SETTINGS": flood(lambda i: settings((INITIAL_WINDOW_SIZE, 65_535 + i % 2))),
    "PRIORITY": flood(lambda i: frame(PRIORITY, 0, 2 * (i % 10_000) + 3, b"\0\0\0\0\x0f")),
    "WINDOW_UPDATE": flood(lambda i: window_update(0, 1)),
    "rapid reset": flood(lambda i: headers(2 * i + 1, *HEAD, end=False) + reset(2 * i + 1)),
    "resets by the server": flood(lambda i: headers(2 * i + 1, *HEAD, ("connection", "close"), end=False)),
    "CONTINUATION": flood(lambda i: headers(1, *HEAD, flags=0) if i == 0 else frame(CONTINUATION, 0, 1, b"\0\1x\1y" * 100)),
    "empty DATA": flood(lambda i: headers(1, *HEAD, end=False) if i == 0 else data(1)),
    "header lists that unpack": header_bomb,
    "windows shut, 64 connections": crowd(64, unread(0)),
    "sockets unread, 64 connections": crowd(64, unread(2**30)),
    "windows opened by bytes, 64 connections": crowd(64, window_trickle, window_update(1, 1), 0.02),
    "slow headers, 2,000 connections": crowd(2_000, begin(b"GET / HTTP/1.1\r\nx: "), b"y"),
    "slow bodies, 200 connections": crowd(200, begin(b"POST /collections/bench/points/query HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"), b" "),
    "slow HTTP/2 frames, 2,000 connections": crowd(2_000, begin(PREFACE + settings() + headers(1, *HEAD)[:30]), b"x"),
    "connections that say nothing, 2,000": crowd(2_000, begin(b"")),
    "all connections of one address, 1,000 asked for": crowd(1_000, begin(b"", itertools.repeat("127.2.0.1")), interval=0.05),
}
#: Against a port that speaks TLS.
ATTACKS_IN_TLS = {
    "TLS handshakes begun": handshakes,
    "TLS handshakes that stop, 2,000 connections": crowd(2_000, begin(b"\x16\x03\x01\x02\x00\x01\x00")),
    "TLS handshakes that stop, of one address, 1,000 asked for": crowd(1_000, begin(b"\x16\x03\x01\x02\x00\x01\x00", itertools.repeat("127.2.0.1")), interval=0.05),
}


#: Of no meaning at a port that speaks HTTP/2 alone, without replies that are long enough, or where addresses do not count.
OF_PUBLIC_PORT = ["all connections of one address, 1,000 asked for", "slow headers, 2,000 connections", "slow bodies, 200 connections", "windows shut, 64 connections", "sockets unread, 64 connections", "windows opened by bytes, 64 connections"]


# The server and the table


class Server:
    """A whole server in one process, attacked at its public port."""

    kind, head = "", OPEN_AT_GATEWAY

    def __init__(self, folder, secure=False):
        self.folder = Path(folder)
        self.secure = secure
        with socket.socket() as plain:
            plain.bind(("127.0.0.1", 0))
            self.port = self.attacked = plain.getsockname()[1]
        command = [ROOT / ".build/release/covey", "serve", "--store-path", self.folder / "store", "--gateway-address", f"127.0.0.1:{self.port}", "--log-level", "error"]
        if secure:
            command += ["--gateway-tls-certificate", self.folder / "gateway.pem", "--gateway-tls-key", self.folder / "gateway.key"]
        self.process = subprocess.Popen(command, stdout=open(self.folder / "log", "ab"), stderr=subprocess.STDOUT)

    def call(self, method, path, body=None):
        connection = connect(self, timeout=60)
        connection.request(method, path, json.dumps(body) if body is not None else None, {"content-type": "application/json"})
        reply = connection.getresponse()
        return reply.status, reply.read()

    def fill(self):
        draw = random.Random(1)
        while True:
            try:
                if self.call("GET", "/readyz")[0] == 200:
                    break
            except OSError:
                time.sleep(0.1)
        assert self.call("PUT", "/collections/bench", {"vectors": {"size": DIMENSION, "distance": "Cosine"}})[0] == 200
        for first in range(0, POINTS, 1_000):
            points = [{"id": i, "vector": [draw.gauss(0, 1) for _ in range(DIMENSION)], "payload": {"text": "x" * 500}} for i in range(first, first + 1_000)]
            assert self.call("PUT", "/collections/bench/points?wait=true", {"points": points})[0] == 200

    def processor_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, what="VmRSS"):
        return int(re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1]) / 1024

    def forget_peak(self):
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


class SecureServer(Server):
    kind = ", in TLS"

    def __init__(self, folder):
        super().__init__(folder, secure=True)


class Node(Server):
    """A shard node, attacked at its own port; the good client asks the coordinator, which asks it."""

    kind, head, secure = ", at a shard node", OPEN_AT_NODE, False

    def __init__(self, folder):
        self.cluster = Cluster(Path(folder), shards=1, settings={"log.level": "error"}).start().wait_until_ready()
        self.port = int(self.cluster.url.rsplit(":", 1)[1])
        self.attacked = int(self.cluster.addresses["shard-1"].rsplit(":", 1)[1])
        self.process = self.cluster.processes["shard-1"]

    def stop(self):
        self.cluster.stop()


def run_attack(attack, port, counter):
    os.nice(19)  # the attacker's machine is another one
    attack(port, counter)


def measure(server, name, seconds):
    global HEAD
    HEAD = server.head  # the attackers are forks of this process
    counter = multiprocessing.Value("Q", 0, lock=False)
    attack = {**ATTACKS, **ATTACKS_IN_TLS}.get(name)
    attacker = multiprocessing.Process(target=run_attack, args=(attack, server.attacked, counter), daemon=True) if attack else None
    server.forget_peak()
    if attacker:
        attacker.start()
        time.sleep(3)  # until a crowd stands
    begun, used = time.monotonic(), server.processor_seconds()
    times, failed = good_client(server, seconds)
    share = (server.processor_seconds() - used) / (time.monotonic() - begun)
    if attacker:
        attacker.kill()
        attacker.join()
    unit = f"{counter.value:,}" if name else "–"
    print(
        f"| {name or 'none'}{server.kind} | {unit} | {percentile(times, 0.5):.1f} | {percentile(times, 0.99):.1f} | {failed} | {share:.2f} | {server.memory('VmHWM'):.0f} |",
        flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20, help="of each attack")
    parser.add_argument("--only", default="", help="names of attacks, with commas between")
    arguments = parser.parse_args()
    words = arguments.only.split(",")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    print("| attack | frames or connections | p50 ms | p99 ms | failed | server's processors | most memory MiB |")
    print("|---|---|---|---|---|---|---|")
    for make, attacks in [(Server, ATTACKS), (SecureServer, ATTACKS_IN_TLS), (Node, {name: attack for name, attack in ATTACKS.items() if name not in OF_PUBLIC_PORT})]:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([ROOT / "cluster/certificates", folder, "--host", "localhost"], check=True)
            server = make(folder)
            try:
                server.fill()
                for name in [None, *(name for name in attacks if any(word in name for word in words)), None]:
                    measure(server, name, arguments.seconds)
            finally:
                server.stop()


if __name__ == "__main__":
    main()
