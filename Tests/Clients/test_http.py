"""The edge itself: request ids, errors, bounds, keys, tenants, slow and rude clients. Raw HTTP, no client library."""

import hashlib
import http.client
import json
import os
import socket
import uuid
from urllib.parse import urlparse

import pytest


def call(cluster, method, path, body=None, headers=None):
    """Status, headers and body of one request on a connection of its own."""
    at = urlparse(cluster.url)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    if body is not None:
        headers.setdefault("content-type", "application/json")
    connection.request(method, path, body=body, headers=headers)
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply.status, {k.lower(): v for k, v in reply.getheaders()}, text


def raw(cluster, text, timeout=60):
    """What the server says to these bytes, until it closes or falls silent."""
    at = urlparse(cluster.url)
    with socket.create_connection((at.hostname, at.port), timeout=timeout) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


@pytest.fixture
def collection(cluster):
    name = f"http-{uuid.uuid4().hex[:12]}"
    assert call(cluster, "PUT", f"/collections/{name}", {"vectors": {"size": 2, "distance": "Dot"}})[0] == 200
    yield name
    call(cluster, "DELETE", f"/collections/{name}")


def test_health_readiness_and_metrics(cluster):
    assert call(cluster, "GET", "/healthz")[0] == 200
    assert call(cluster, "GET", "/readyz")[0] == 200
    status, headers, text = call(cluster, "GET", "/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain")
    assert b"covey_http_requests_total" in text


def test_a_request_id_is_taken_over_or_made_and_stands_in_errors(cluster):
    _, headers, _ = call(cluster, "GET", "/collections", headers={"x-request-id": "mine-42"})
    assert headers["x-request-id"] == "mine-42"
    made = {call(cluster, "GET", "/collections")[1]["x-request-id"] for _ in range(5)}
    assert len(made) == 5
    status, _, text = call(cluster, "GET", "/collections/absent", headers={"x-request-id": "mine-43"})
    assert status == 404
    error = json.loads(text)
    assert "absent" in error["status"]["error"] and error["request_id"] == "mine-43" and error["time"] >= 0
    status, _, text = call(cluster, "GET", "/v1/models/absent", headers={"x-request-id": "mine-44"})
    assert status == 404
    error = json.loads(text)["error"]
    assert error["code"] == "model_not_found" and error["type"] == "invalid_request_error" and error["request_id"] == "mine-44"
    _, headers, _ = call(cluster, "GET", "/collections", headers={"x-request-id": "a\tb"})
    assert headers["x-request-id"] != "a\tb"


@pytest.mark.parametrize("path", ["/nothing", "/collections/a/points/recommend", "/v1/responses"])
def test_an_unknown_route_is_an_error_in_the_apis_shape(cluster, path):
    status, _, text = call(cluster, "POST", path, {})
    assert status == 404
    error = json.loads(text)
    assert path in (error["error"]["message"] if path.startswith("/v1") else error["status"]["error"])


@pytest.mark.parametrize(
    "text, words",
    [
        (b'{"limit": 1', "end of the text"),
        (b'{"limit": 01}', '","'),
        (b'{"limit": 1, "limit": 2}', "twice"),
        (b'{"limit": "\x01"}', "control character"),
        (b'{"limit": "\xff"}', "UTF-8"),
        (b'{"filter": ' + b"[" * 200 + b"]" * 200 + b"}", "nested deeper"),
        (b"", "end of the text"),
        (b"[1,2]", "object"),
        (b'{"a": tru}', "expected a value"),
    ],
)
def test_bodies_that_are_no_json_are_refused_with_the_place(cluster, collection, text, words):
    status, _, reply = call(cluster, "POST", f"/collections/{collection}/points/scroll", text)
    assert status == 400 and words in json.loads(reply)["status"]["error"], reply


def test_unknown_fields_and_parameters_are_refused_by_name(cluster, collection):
    status, _, reply = call(cluster, "POST", f"/collections/{collection}/points/scroll", {"limt": 3})
    assert status == 400 and b"limt" in reply
    status, _, reply = call(cluster, "POST", f"/collections/{collection}/points/scroll?colour=red", {})
    assert status == 400 and b"colour" in reply
    body = {"points": [{"id": 1, "vector": [1, 2], "extra": 1}]}
    status, _, reply = call(cluster, "PUT", f"/collections/{collection}/points", body)
    assert status == 400 and b"points[0].extra" in reply
    body = {"points": [{"id": 1, "vector": [1, "2"]}]}
    status, _, reply = call(cluster, "PUT", f"/collections/{collection}/points", body)
    assert status == 400 and b"points[0].vector[1]" in reply
    body = {"points": [{"id": 1, "vector": [1, 1e39]}]}
    status, _, reply = call(cluster, "PUT", f"/collections/{collection}/points", body)
    assert status == 400 and b"points[0].vector[1]" in reply


def test_a_body_beyond_the_limit_is_refused_with_limit_and_size(cluster, collection):
    size = 2**40
    head = f"PUT /collections/{collection}/points HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n"
    reply = raw(cluster, head.encode())
    assert b" 413 " in reply.split(b"\r\n")[0] and str(size).encode() in reply and b"the limit is" in reply


def test_headers_beyond_the_limit_are_refused(cluster):
    reply = raw(cluster, b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * (1 << 20) + b"\r\n\r\n")
    assert b" 200 " not in reply.split(b"\r\n")[0]
    assert call(cluster, "GET", "/")[0] == 200


def test_bytes_that_are_no_http_do_no_harm(cluster):
    for text in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\r\n" * 100, os.urandom(4096)):
        try:
            raw(cluster, text)
        except ConnectionError:
            pass
    assert call(cluster, "GET", "/healthz")[0] == 200


def test_the_body_must_say_that_it_is_json(cluster, collection):
    path = f"/collections/{collection}/points/scroll"
    assert call(cluster, "POST", path, b"{}", {"content-type": "text/plain"})[0] == 415
    assert call(cluster, "POST", path, b"{}", {"content-encoding": "gzip"})[0] == 415


def test_the_partial_policy_comes_as_field_parameter_or_header(cluster, collection):
    path = f"/collections/{collection}/points/query"
    for body, suffix, headers in (
        ({"partial": "fail"}, "", {}), ({}, "?partial=fail", {}), ({}, "", {"covey-partial": "fail"}), ({"partial": "degrade"}, "", {}),
    ):
        assert call(cluster, "POST", path + suffix, {"query": [1, 2], **body}, headers)[0] == 200
    for body, suffix, headers in (({"partial": "no"}, "", {}), ({}, "?partial=no", {}), ({}, "", {"covey-partial": "no"})):
        status, _, reply = call(cluster, "POST", path + suffix, {"query": [1, 2], **body}, headers)
        assert status == 400 and b"partial" in reply


def test_a_timeout_out_of_bounds_is_refused(cluster, collection):
    for value in ("0", "-1", "soon", "nan", "100000"):
        status, _, reply = call(cluster, "GET", f"/collections/{collection}?timeout={value}")
        assert status == 400 and b"timeout" in reply, value
    assert call(cluster, "GET", f"/collections/{collection}?timeout=5")[0] == 200


@pytest.fixture(scope="module")
def keyed(make_cluster):
    """A cluster with a key for each of two tenants."""
    keys = {"acme": "acme-" + uuid.uuid4().hex, "umbra": "umbra-" + uuid.uuid4().hex}
    lines = [f"{tenant}:{hashlib.sha256(key.encode()).hexdigest()}" for tenant, key in keys.items()]
    return make_cluster(shards=1, settings={"keys": lines}), keys


def test_with_keys_configured_a_call_without_one_is_refused(keyed):
    cluster, keys = keyed
    for headers in ({}, {"api-key": "wrong"}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {keys['acme']}"}, {"api-key": ""}):
        for path in ("/", "/collections", "/v1/models", "/metrics", "/nothing"):
            status, reply_headers, _ = call(cluster, "GET", path, headers=headers)
            assert status == 401, (path, headers)
            assert reply_headers["www-authenticate"] == "Bearer"
    assert call(cluster, "GET", "/healthz")[0] == 200 and call(cluster, "GET", "/readyz")[0] == 200
    for headers in ({"api-key": keys["acme"]}, {"authorization": f"Bearer {keys['acme']}"}):
        assert call(cluster, "GET", "/collections", headers=headers)[0] == 200
    # The figures name all tenants.
    assert call(cluster, "GET", "/metrics", headers={"api-key": keys["acme"]})[0] == 403


def test_tenants_do_not_see_each_other(keyed):
    cluster, keys = keyed
    acme, umbra = ({"api-key": keys[tenant]} for tenant in ("acme", "umbra"))
    create = {"vectors": {"size": 2, "distance": "Dot"}}
    assert call(cluster, "PUT", "/collections/mine", create, acme)[0] == 200
    point = {"points": [{"id": 1, "vector": [1, 2], "payload": {"of": "acme"}}]}
    assert call(cluster, "PUT", "/collections/mine/points", point, acme)[0] == 200
    assert json.loads(call(cluster, "GET", "/collections", headers=umbra)[2])["result"]["collections"] == []
    assert call(cluster, "GET", "/collections/mine", headers=umbra)[0] == 404
    assert call(cluster, "POST", "/collections/mine/points/query", {"query": [1, 2]}, umbra)[0] == 404
    assert json.loads(call(cluster, "DELETE", "/collections/mine", headers=umbra)[2])["result"] is False
    # The same name is another collection.
    assert call(cluster, "PUT", "/collections/mine", create, umbra)[0] == 200
    assert call(cluster, "GET", "/collections/mine/points/1", headers=umbra)[0] == 404
    status, _, reply = call(cluster, "GET", "/collections/mine/points/1", headers=acme)
    assert status == 200 and json.loads(reply)["result"]["payload"] == {"of": "acme"}


def test_uploaded_files_belong_to_their_tenant(keyed):
    cluster, keys = keyed
    acme, umbra = ({"api-key": keys[tenant]} for tenant in ("acme", "umbra"))
    form = (
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nA secret of acme.\r\n--b--\r\n'
    )
    status, _, reply = call(cluster, "POST", "/v1/files", form, {**acme, "content-type": "multipart/form-data; boundary=b"})
    assert status == 200, reply
    file = json.loads(reply)["id"]
    assert call(cluster, "GET", f"/v1/files/{file}/content", headers=acme)[2] == b"A secret of acme."
    for path in (f"/v1/files/{file}", f"/v1/files/{file}/content"):
        assert call(cluster, "GET", path, headers=umbra)[0] == 404
    assert call(cluster, "DELETE", f"/v1/files/{file}", headers=umbra)[0] == 404
    assert json.loads(call(cluster, "GET", "/v1/files", headers=umbra)[2])["data"] == []
    assert call(cluster, "DELETE", f"/v1/files/{file}", headers=acme)[0] == 200


@pytest.mark.parametrize(
    "form, words",
    [
        (b"", "no part"),
        (b"--b\r\n", "ends within"),
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--', "purpose"),
        (b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n--b--', "file"),
        (b'--b\r\nContent-Disposition: form-data; name="colour"\r\n\r\nred\r\n--b--', "colour"),
        (b"--b\r\nno header", "ends within"),
        (b"--b\r\nno colon\r\n\r\nx\r\n--b--", "colon"),
    ],
)
def test_forms_that_are_wrong_are_refused_with_the_reason(cluster, form, words):
    status, _, reply = call(cluster, "POST", "/v1/files", form, {"content-type": "multipart/form-data; boundary=b"})
    assert status == 400 and words in json.loads(reply)["error"]["message"], reply


class Connection:
    """One connection of HTTP/1.1 to the cluster, byte by byte."""

    def __init__(self, cluster):
        at = urlparse(cluster.url)
        self.socket = socket.create_connection((at.hostname, at.port), timeout=30)
        self.file = self.socket.makefile("rb")

    def send(self, text):
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def head(self):
        """Status and headers of the next response."""
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers

    def response(self):
        status, headers = self.head()
        return status, headers, self.file.read(int(headers["content-length"]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()


def test_head_is_answered_as_get_without_a_body_and_the_connection_goes_on(cluster, collection):
    with Connection(cluster) as connection:
        for path, expected in [("/healthz", 200), ("/v1/models", 200), (f"/collections/{collection}", 200), ("/collections/absent", 404), ("/nothing", 404)]:
            connection.send(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
            status, headers, body = connection.response()
            assert status == expected and body
            connection.send(f"HEAD {path} HTTP/1.1\r\nhost: a\r\n\r\n")
            bare, bare_headers = connection.head()
            assert bare == expected and bare_headers["content-type"] == headers["content-type"]
            assert path != "/healthz" or bare_headers["content-length"] == headers["content-length"]


def upsert_head(collection, body, *fields):
    lines = [f"PUT /collections/{collection}/points HTTP/1.1", "host: a", "content-type: application/json", f"content-length: {len(body)}", *fields]
    return "\r\n".join(lines) + "\r\n\r\n"


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(cluster, collection):
    small = json.dumps({"points": [{"id": 1, "vector": [1, 2]}]})
    large = json.dumps({"points": [{"id": i, "vector": [1, 2], "payload": {"text": "x" * 8_000}} for i in range(4_500)]})  # beyond 32 MiB: written in parts
    with Connection(cluster) as connection:
        for body in (small, large, small):
            connection.send(upsert_head(collection, body, "Expect: 100-Continue"))
            assert connection.head()[0] == 100
            connection.send(body)
            assert connection.response()[0] == 200
            connection.send(upsert_head(collection, small) + small)
            assert connection.response()[0] == 200


def test_a_body_that_is_refused_is_not_asked_for(cluster, collection):
    for fields in (["expect: 100-continue"], ["expect: 100-continue", "connection: close"]):
        with Connection(cluster) as connection:
            connection.send(upsert_head(collection, range(2**40), *fields))
            assert connection.response()[0] == 413
    with Connection(cluster) as connection:
        connection.send(f"PUT /collections/{collection}/points HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert connection.response()[0] == 415


@pytest.mark.parametrize(
    "version, field, closes",
    [
        ("1.1", "connection: Close", True), ("1.1", "Connection: close, TE", True), ("1.1", "connection: TE\r\nconnection: CLOSE", True),
        ("1.1", "connection: close", True), ("1.1", "x: close", False), ("1.1", "connection: keep-alive", False),
        ("1.0", "x: close", True), ("1.0", "connection: keep-alive", False),
    ],
)
def test_a_connection_is_closed_behind_the_response_if_its_client_says_so(cluster, version, field, closes):
    with Connection(cluster) as connection:
        connection.send(f"GET /healthz HTTP/{version}\r\nhost: a\r\n{field}\r\n\r\n")
        assert connection.response()[0] == 200
        if closes:
            assert connection.file.read() == b""
        else:
            connection.send("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
            assert connection.response()[0] == 200
