"""Real Covey processes for the foreign clients' tests.

`cluster` is a coordinator, four shard nodes and a generator, each a process of its own on free loopback ports, shared by
a test session. `make_cluster` starts further ones, with other settings, for tests that stop nodes or need API keys.
"""

import http.server
import json
import os
import queue
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("COVEY_BINARY", str(ROOT / ".build/release/covey"))
DATA = ROOT.parent / "shared" / "data"
START_SECONDS = 60

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is missing")


def free_ports(count):
    """Ports that were free a moment ago; all are held open until the last one is known, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class SeaweedFS:
    """A real S3 server, started by cluster/seaweedfs; its bucket is `covey`. Words of `prefix` stand before the command."""

    def __init__(self, folder, prefix=()):
        self.folder = Path(folder)
        self.prefix = prefix
        self.start()
        lines = (self.folder / "environment").read_text().split("\n")
        self.settings = dict(line.removeprefix("export COVEY_STORE_").lower().split("=", 1) for line in lines if line)

    def start(self):
        port = [self.settings["endpoint"].rsplit(":", 1)[1]] if hasattr(self, "settings") else []
        subprocess.run([*self.prefix, ROOT / "cluster/seaweedfs", "start", self.folder, *port], check=True, timeout=300)

    def kill(self):
        """kill -9, as a crash of the process does it."""
        pid = int((self.folder / "pid").read_text())
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)

    def pause(self):
        """It stops answering, without closing a connection."""
        os.kill(int((self.folder / "pid").read_text()), signal.SIGSTOP)

    def resume(self):
        os.kill(int((self.folder / "pid").read_text()), signal.SIGCONT)

    def stop(self):
        subprocess.run([ROOT / "cluster/seaweedfs", "stop", self.folder], check=True, timeout=60)

    def store(self, prefix, cache):
        """Settings of a cluster that keeps its data here."""
        more = {f"store.{key}": value for key, value in self.settings.items()}
        return {"store.path": f"s3://covey/{prefix}", "store.cache_path": str(cache), **more}

    def tls(self, host):
        """Settings of the same over TLS, by a name that its certificate has."""
        port = (self.folder / "https").read_text().strip().rsplit(":", 1)[1]
        return {"store.endpoint": f"https://{host}:{port}", "store.ca_file": str(self.folder / "ca.pem")}


@pytest.fixture(scope="session")
def seaweedfs():
    folder = tempfile.mkdtemp(prefix="covey-seaweedfs-")
    server = SeaweedFS(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


class Cluster:
    """Processes of one cluster, their configuration file, logs and store, all in one folder."""

    def __init__(self, folder, shards=4, coordinators=1, settings=None, serve=False, environment=None, authority=None, flags=None):
        self.folder = Path(folder)
        #: Of single processes, by name.
        self.flags = flags or {}
        self.processes = {}
        self.environment = {**os.environ, **(environment or {}), **({"COVEY_AUTHORITY": str(authority)} if authority else {})}
        # With an authority the public API is https, and `settings` name a certificate of it for `localhost`.
        self.ssl = ssl.create_default_context(cafile=authority) if authority else None
        more = [f"coordinator-{i + 2}" for i in range(coordinators - 1)]
        names = [] if serve else ["coordinator"] + more + [f"shard-{i + 1}" for i in range(shards)] + ["generator"]
        gateway, *ports = free_ports(coordinators + len(names))
        self.url = f"https://localhost:{gateway}" if authority else f"http://127.0.0.1:{gateway}"
        # Of each coordinator beyond the first.
        self.more_gateways = {name: f"127.0.0.1:{ports.pop()}" for name in more}
        self.addresses = {name: f"127.0.0.1:{port}" for name, port in zip(names, ports)}
        self.names = names or ["serve"]
        configuration = {
            "store": {"path": str(self.folder / "store")},
            "gateway": {"address": f"127.0.0.1:{gateway}"},
            "nodes": [{"name": name, "role": name.split("-")[0], "address": self.addresses[name]} for name in names],
        }
        for key, value in (settings or {}).items():
            section, _, name = key.rpartition(".")
            (configuration.setdefault(section, {}) if section else configuration)[name] = value
        self.configuration = self.folder / "covey.yaml"
        self.configuration.write_text(json.dumps(configuration))  # JSON is YAML

    def start(self, *names):
        for name in names or self.names:
            command = [*self.prefix(name), BINARY, name.split("-")[0], "--config", str(self.configuration)]
            if name != "serve":
                command += ["--node", name]
            if name in self.more_gateways:
                command += ["--gateway-address", self.more_gateways[name]]
            command += self.flags.get(name, [])
            log = open(self.folder / f"{name}.log", "ab")
            self.processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )
            log.close()
        return self

    def prefix(self, name):
        """Words that stand before a process's command."""
        return []

    def wait_until_ready(self):
        self.wait_for(lambda: self.get("/readyz")[0] == 200, "the cluster to be ready")
        return self

    def wait_for(self, condition, what, seconds=START_SECONDS):
        """Asks again and again until it holds; fails with the nodes' logs when it does not in time."""
        end = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except (OSError, urllib.error.URLError):
                pass
            for name, process in self.processes.items():
                if process.poll() not in (None, 0, -signal.SIGKILL, -signal.SIGTERM):
                    pytest.fail(f"{name} ended with {process.returncode}:\n{self.log(name)[-3000:]}")
            if time.monotonic() > end:
                logs = "\n".join(f"--- {name}\n{self.log(name)[-1500:]}" for name in self.processes)
                pytest.fail(f"waited {seconds} s for {what}\n{logs}")
            time.sleep(0.05)

    def get(self, path, headers=None):
        """Status and body of a GET; an error status is a value, not an exception."""
        return self.request("GET", path, headers=headers)

    def request(self, method, path, body=None, headers=None, timeout=60, url=None):
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        request = urllib.request.Request((url or self.url) + path, data=data, method=method, headers=headers or {})
        if data is not None and "Content-type" not in request.headers:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=self.ssl) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def json(self, method, path, body=None, headers=None, url=None):
        status, text = self.request(method, path, body, headers, url=url)
        return status, json.loads(text)

    def covey(self, *arguments, stdin=None, timeout=600, environment=None):
        """Runs a client verb against this cluster."""
        return subprocess.run(
            [BINARY, *arguments],
            env={**self.environment, "COVEY_URL": self.url, **(environment or {})},
            input=stdin, capture_output=True, text=True, timeout=timeout,
        )

    def kill(self, name):
        self.processes[name].kill()
        self.processes.pop(name).wait()

    def terminate(self, name, timeout=60):
        process = self.processes.pop(name)
        process.terminate()
        return process.wait(timeout)

    def log(self, name):
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()


class PacedModel:
    """A chat model behind OpenAI's API whose answers come at the pace that a test sets.

    `pieces` makes the pieces of an answer, given the request; it may block. `requests` are the bodies that came, `left` those
    whose caller went away before the end.
    """

    def __init__(self):
        self.pieces = lambda body: ["Yes."]
        self.requests = queue.Queue()
        self.left = queue.Queue()
        model = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                model.requests.put(body)
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                try:
                    for piece in model.pieces(body):
                        self.event(json.dumps({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}))
                    self.event(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
                    self.event("[DONE]")
                except OSError:
                    model.left.put(body)

            def event(self, text):
                self.wfile.write(f"data: {text}\n\n".encode())
                self.wfile.flush()

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def paced_model():
    model = PacedModel()
    yield model
    model.close()


@pytest.fixture(scope="session")
def make_cluster():
    started = []

    def make(**options):
        folder = tempfile.mkdtemp(prefix="covey-test-")
        cluster = Cluster(folder, **options)
        started.append(cluster)
        return cluster.start().wait_until_ready()

    yield make
    for cluster in started:
        cluster.stop()
        shutil.rmtree(cluster.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(make_cluster):
    return make_cluster()
