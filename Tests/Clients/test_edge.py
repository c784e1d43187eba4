"""The public API in TLS and HTTP/2: curl, httpx, openai, qdrant-client and `covey` itself on the other side, and a client that counts frames."""

import json
import re
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import httpx
import openai
import pytest
import qdrant_client
from conftest import BINARY
from http2_client import HTTP2Client
from test_tls import certificates

QUESTION = {"model": "talk", "messages": [{"role": "user", "content": "What does the owl eat?"}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("certificates"), "--host", "localhost", "--host", "127.0.0.1")


def secure_settings(folder):
    return {"gateway.tls": {"certificate": f"{folder}/gateway.pem", "key": f"{folder}/gateway.key"}, "tls.reload_seconds": 1}


@pytest.fixture(scope="module")
def edge(make_cluster, folder):
    """A whole Covey behind https, with a collection of one document."""
    cluster = make_cluster(serve=True, settings=secure_settings(folder), authority=folder / "authority.pem")
    document = cluster.folder / "owl.md"
    document.write_text("# Owls\n\nThe tawny owl eats wood mice and bank voles.\n")
    ended = cluster.covey("ingest", str(document), "-c", "talk")
    assert ended.returncode == 0, ended.stderr
    return cluster


@pytest.fixture(params=["tls", "plaintext"])
def client(request, edge, cluster, folder):
    """A connection in HTTP/2: by ALPN, or in plaintext by prior knowledge."""
    client = HTTP2Client(edge.url, folder / "authority.pem") if request.param == "tls" else HTTP2Client(cluster.url)
    client.log = lambda: edge.log("serve") if request.param == "tls" else cluster.log("coordinator")
    yield client
    client.close()


def curl(edge, folder, path, *options):
    ended = subprocess.run(
        ["curl", "-sS", "--cacert", folder / "authority.pem", "-w", "\n%{http_version} %{http_code}", *options, edge.url + path],
        capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("options", [["--tlsv1.3"], ["--tls-max", "1.2"]])
@pytest.mark.parametrize("version, shown", [("--http2", "2"), ("--http1.1", "1.1"), ("--no-alpn", "1.1")])
def test_curl_speaks_either_http_over_either_tls(edge, folder, version, shown, options):
    assert curl(edge, folder, "/collections", version, *options).endswith(f"\n{shown} 200")
    body = ["-H", "content-type: application/json", "-d", '{"limit": 1, "query": "owl"}']
    assert curl(edge, folder, "/collections/absent/points/query", version, *options, *body).endswith(f"\n{shown} 400")


def test_curl_speaks_http2_in_plaintext_by_prior_knowledge(cluster, folder):
    assert curl(cluster, folder, "/collections", "--http2-prior-knowledge").endswith("\n2 200")
    assert curl(cluster, folder, "/collections").endswith("\n1.1 200")


def test_clients_of_the_apis_work_over_https(edge, folder):
    with openai.OpenAI(base_url=edge.url + "/v1", api_key="-", http_client=httpx.Client(verify=ssl.create_default_context(cafile=folder / "authority.pem"), http2=True)) as client:
        whole = client.chat.completions.create(**QUESTION)
        assert "wood mice" in whole.choices[0].message.content
        pieces = [chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**QUESTION, stream=True) if chunk.choices]
        assert "".join(pieces) == whole.choices[0].message.content
    client = qdrant_client.QdrantClient(
        url=edge.url, verify=ssl.create_default_context(cafile=folder / "authority.pem"), check_compatibility=False, timeout=60)
    client.create_collection("q", vectors_config=qdrant_client.models.VectorParams(size=2, distance=qdrant_client.models.Distance.DOT))
    client.upsert("q", [qdrant_client.models.PointStruct(id=1, vector=[1.0, 2.0])])
    assert client.query_points("q", query=[1.0, 1.0]).points[0].id == 1
    client.close()


def test_the_verbs_work_over_https_and_say_what_is_missing(edge, folder):
    assert "wood mice" in edge.covey("ask", "-c", "talk", "What does the owl eat?").stdout
    ended = subprocess.run([BINARY, "status", "--url", edge.url], capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0 and "--authority" in ended.stderr
    ended = subprocess.run([BINARY, "status", "--url", edge.url, "--authority", folder / "authority.pem"], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def test_many_requests_share_a_connection(client):
    streams = [client.request("GET", f"/collections/absent-{i}", headers=[("x-request-id", f"r-{i}")]) for i in range(100)]
    for i, stream in enumerate(streams):
        answer = client.finish(stream)
        assert answer["head"][":status"] == "404" and answer["head"]["x-request-id"] == f"r-{i}" and f"absent-{i}".encode() in answer["body"]
        assert "connection" not in answer["head"] and "transfer-encoding" not in answer["head"]


def test_bodies_larger_than_the_windows_go_both_ways(client):
    name = f"large-{id(client)}"
    assert client.call("PUT", f"/collections/{name}", {"vectors": {"size": 2, "distance": "Dot"}})[0] == 200
    points = [{"id": i, "vector": [i, 1], "payload": {"text": "x" * 1_000}} for i in range(4_000)]
    assert client.call("PUT", f"/collections/{name}/points?wait=true", {"points": points})[0] == 200
    status, reply = client.call("POST", f"/collections/{name}/points/scroll", {"limit": 4_000})
    assert status == 200 and [point["payload"] for point in reply["result"]["points"]] == [point["payload"] for point in points]
    assert client.call("DELETE", f"/collections/{name}")[0] == 200


def test_a_body_may_come_without_a_length(client):
    body = json.dumps({"name": "no-length"}).encode()
    status, reply = client.call("POST", "/v1/vector_stores", body, headers=[("content-type", "application/json")])
    assert status == 200 and reply["name"] == "no-length"
    assert client.call("POST", "/v1/vector_stores", b"", headers=[("content-type", "application/json")])[0] == 200


def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(client):
    stream = client.request("PUT", "/collections/a/points", headers=[("content-type", "application/json"), ("content-length", str(2**40))], end=False)
    answer = client.finish(stream)
    assert answer["head"][":status"] == "413" and str(2**40).encode() in answer["body"]
    assert client.call("GET", "/collections")[0] == 200


def test_replies_that_nobody_reads_are_bounded(client):
    name = f"unread-{id(client)}"
    assert client.call("PUT", f"/collections/{name}", {"vectors": {"size": 2, "distance": "Dot"}})[0] == 200
    for start in range(0, 10_000, 2_000):
        points = [{"id": i, "vector": [i, 1], "payload": {"text": "x" * 1_000}} for i in range(start, start + 2_000)]
        assert client.call("PUT", f"/collections/{name}/points?wait=true", {"points": points})[0] == 200
    client.is_reading = False
    streams = []
    while not streams or client.streams[streams[-1]]["end"] != 7:  # REFUSED_STREAM, which tells a client to try again
        assert len(streams) < 20
        streams.append(client.request("POST", f"/collections/{name}/points/scroll", {"limit": 10_000}))
        client.wait(lambda: client.streams[streams[-1]]["head"] or client.streams[streams[-1]]["end"])
    assert 5 <= len(streams) <= 10, "some 10 MiB each, of 64 MiB"


def test_headers_beyond_the_limit_are_refused_and_the_connection_goes_on(client):
    # Each field fits; together they do not.
    stream = client.request("GET", "/collections", headers=[(f"x-{i}", "y" * 1_000) for i in range(20)])
    assert client.finish(stream)["head"][":status"] == "431"
    assert client.call("GET", "/collections")[0] == 200


def test_head_has_no_body(client):
    answer = client.finish(client.request("HEAD", "/collections"))
    assert answer["body"] == b"" and answer["end"] == "ended"


@pytest.fixture(params=["tls", "plaintext"])
def paced(request, make_cluster, folder, paced_model, tmp_path):
    """A cluster whose answers come at the test's pace, and a way to connect to it."""
    authority = folder / "authority.pem" if request.param == "tls" else None
    settings = {"generation.url": paced_model.url, "generation.model": "paced", **(secure_settings(folder) if authority else {})}
    cluster = make_cluster(serve=True, settings=settings, authority=authority)
    (tmp_path / "owl.md").write_text("# Owls\n\nThe tawny owl eats wood mice and bank voles.\n")
    assert cluster.covey("ingest", str(tmp_path), "-c", "talk").returncode == 0
    yield cluster, lambda: HTTP2Client(cluster.url, authority), paced_model
    cluster.stop()


def test_an_answer_is_streamed_piece_by_piece_and_cancelled_with_its_stream(paced):
    cluster, connect, model = paced
    proceed, over = threading.Event(), threading.Event()

    def pieces(body):
        yield "Wood "
        assert proceed.wait(60)
        yield "mice."
        while not over.is_set():
            yield "!" * 1_000

    model.pieces = pieces
    client = connect()
    stream = client.request("POST", "/v1/chat/completions", {**QUESTION, "stream": True})
    answer = client.streams[stream]
    client.wait(lambda: b"Wood" in answer["body"])  # the first piece is here before the second is made
    assert answer["head"]["content-type"].startswith("text/event-stream") and b"mice" not in answer["body"]
    proceed.set()
    client.wait(lambda: b"mice" in answer["body"])
    client.reset(stream)
    model.left.get(timeout=30)  # the language model's server lost its caller
    over.set()
    cluster.wait_for(lambda: "client left during an answer" in cluster.log("serve"), "the cancelled answer in the log")
    assert client.call("GET", "/collections")[0] == 200
    client.close()


def test_a_client_of_http1_that_leaves_stops_the_work(paced):
    cluster, _, model = paced
    over = threading.Event()

    def pieces(body):
        while not over.is_set():
            yield "mice " * 100

    model.pieces = pieces
    host, port = cluster.url.split("//")[1].split(":")
    with socket.create_connection((host, int(port)), timeout=30) as plain:
        connection = cluster.ssl.wrap_socket(plain, server_hostname=host) if cluster.ssl else plain
        body = json.dumps({**QUESTION, "stream": True})
        connection.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        received = b""
        while b"mice" not in received:
            received += connection.recv(65536)
        assert received.startswith(b"HTTP/1.1 200 ")
        connection.close()
    model.left.get(timeout=30)
    over.set()


def test_a_reader_that_stands_still_holds_back_who_writes_and_nobody_else(paced):
    cluster, connect, model = paced
    made = []
    most = 200_000  # 200 MB: the kernel's own buffers may take some tens of them

    def pieces(body):
        for _ in range(most):
            made.append(1)
            yield "0123456789" * 100

    model.pieces = pieces
    client = connect()
    client.is_reading = False
    stream = client.request("POST", "/v1/chat/completions", {**QUESTION, "stream": True})
    answer = client.streams[stream]
    window = 65_535
    client.wait(lambda: len(answer["body"]) >= window - 16_384)
    # Other connections, and other streams of this one, go on; what is made for the one that stands still comes to an end.
    other = connect()
    assert other.call("GET", "/collections")[0] == 200
    counts = []

    def stands_still():
        counts.append(len(made))
        return len(counts) > 20 and counts[-1] == counts[-20]

    cluster.wait_for(stands_still, "the model to be held back")
    assert len(made) < most
    client.reset(stream)
    model.left.get(timeout=30)
    other.close()
    client.close()


def test_accepted_requests_are_finished_before_the_gateway_stops(paced):
    cluster, connect, model = paced
    proceed = threading.Event()

    def pieces(body):
        yield "Wood "
        assert proceed.wait(60)
        yield "mice."

    model.pieces = pieces
    # curl keeps to GOAWAY; the library `h2` gives a connection up once it has seen one.
    command = ["curl", "-sSN", "--http2-prior-knowledge" if cluster.ssl is None else "--http2", "-H", "content-type: application/json"]
    command += ["--cacert", cluster.environment["COVEY_AUTHORITY"]] if cluster.ssl else []
    command += ["-d", json.dumps({**QUESTION, "stream": True}), cluster.url + "/v1/chat/completions"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking:
        first = asking.stdout.readline()
        model.requests.get(timeout=30)
        idle = connect()
        assert idle.call("GET", "/collections")[0] == 200
        cluster.processes["serve"].terminate()
        # A notice whose last stream is the greatest there is, so that nothing on its way is lost; then the end.
        while idle.receive():
            pass
        assert idle.goaways[0] == (2**31 - 1, 0)
        proceed.set()
        rest = asking.communicate(timeout=60)[0]
    assert asking.returncode == 0 and "mice" in first + rest and rest.rstrip().endswith("data: [DONE]")
    assert cluster.processes.pop("serve").wait(60) == 0


def test_what_clients_do_wrong_is_named(edge, cluster, folder):
    at = edge.url.removeprefix("https://").split(":")
    with socket.create_connection((at[0], int(at[1])), timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert connection.recv(100) == b""
    edge.wait_for(lambda: "plaintext to a TLS port" in edge.log("serve"), "the line")
    ended = subprocess.run(["openssl", "s_client", "-connect", f"{at[0]}:{at[1]}", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], input="", capture_output=True, text=True, timeout=30)
    assert "alert" in ended.stderr
    edge.wait_for(lambda: "protocol version: the peer has none of TLS 1.2 and 1.3" in edge.log("serve"), "the line")
    assert subprocess.run(["curl", "-sS", edge.url + "/healthz"], capture_output=True, timeout=30).returncode == 60
    edge.wait_for(lambda: re.search("the peer refused: tlsv1 alert unknown ca", edge.log("serve")), "the line")
    assert subprocess.run(["curl", "-sS", cluster.url.replace("http:", "https:") + "/healthz"], capture_output=True, timeout=30).returncode == 35
    cluster.wait_for(lambda: "TLS to a plaintext port: there is no gateway.tls.certificate" in cluster.log("coordinator"), "the line")


def test_connections_that_end_after_their_handshake_leave_nothing_behind(edge, folder):
    host, port = edge.url.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=folder / "authority.pem")
    context.set_alpn_protocols(["h2"])

    def connect(count):
        for _ in range(count):
            with socket.create_connection((host, int(port)), timeout=20) as plain, context.wrap_socket(plain, server_hostname=host):
                pass
        assert edge.get("/healthz")[0] == 200
        status = Path(f"/proc/{edge.processes['serve'].pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    before = connect(500)
    assert connect(1_500) - before < 8_000, "KiB; a session that nobody lets go of has 15"


def test_a_flood_of_cancelled_requests_ends_the_connection(client):
    with pytest.raises((AssertionError, OSError)):
        for _ in range(3_000):
            client.reset(client.request("POST", "/collections/a/points/scroll", headers=[("content-type", "application/json")], end=False))
        client.wait(lambda: False)
    assert "closing a connection that broke HTTP/2" in client.log()


def test_the_certificate_of_the_gateway_is_changed_without_a_restart(edge, folder):
    def serial():
        context = ssl.create_default_context(cafile=folder / "authority.pem")
        host, port = edge.url.removeprefix("https://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as plain, context.wrap_socket(plain, server_hostname=host) as connection:
            return connection.getpeercert()["serialNumber"]

    before = serial()
    certificates(folder, "--host", "localhost", "--host", "127.0.0.1")
    edge.wait_for(lambda: serial() != before, "the new certificate to be shown")
    assert edge.get("/collections")[0] == 200
