"""Clients that flood, stand still, begin and do not end, at the public port and at a node's: they are cut off in time, the rest is served.

What it costs the server and others meanwhile is measured by `loadtest/hostile`.
"""

import json
import time

import pytest
from http2_client import HTTP2Client
from raw_http2 import *

#: Seconds for what begins; who takes nothing loses within twice the stall.
ARRIVAL, STALL, IDLE, BODY = 2, 2, 6, 3
CONNECTIONS = 32


@pytest.fixture(scope="module")
def hasty(make_cluster):
    """A cluster that is short of patience and of places."""
    settings = {
        "connections.arrival_seconds": ARRIVAL, "connections.stall_seconds": STALL, "connections.body_seconds": BODY, "gateway.idle_seconds": IDLE,
        "gateway.connections": CONNECTIONS,
    }
    cluster = make_cluster(shards=1, settings={**settings, "replicas": 1})
    fill(cluster)
    return cluster


def fill(cluster):
    """A collection whose points are 5 MiB of JSON."""
    assert cluster.json("PUT", "/collections/large", {"vectors": {"size": 2, "distance": "Dot"}})[0] == 200
    points = [{"id": i, "vector": [i, 1], "payload": {"text": "x" * 1_000}} for i in range(5_000)]
    for start in range(0, 5_000, 1_000):
        assert cluster.json("PUT", "/collections/large/points?wait=true", {"points": points[start : start + 1_000]})[0] == 200


@pytest.fixture(params=["public port", "node"])
def port(request, cluster):
    return ports(cluster)[request.param]


@pytest.fixture(params=["public port", "node"])
def hasty_port(request, hasty):
    return ports(hasty)[request.param]


def public(cluster):
    return cluster.url.removeprefix("http://")


def flood(connection, make, limit):
    """Sends what `make` makes, without waiting, until the server ends the connection; returns the code of its GOAWAY, and how many times it took."""
    count = 0
    try:
        while count < limit:
            connection.send(*[make(count + i) for i in range(100)])
            count += 100
    except OSError:
        pass
    try:
        found = connection.wait(lambda each: each.kind == GOAWAY)
    except OSError:
        found = None
    return found and found.code, count


REQUEST = OPEN_AT_GATEWAY
FLOODS = {
    "PING": lambda i: frame(PING, 0, 0, b"x" * 8),
    "acknowledgements of PING": lambda i: frame(PING, ACK, 0, b"x" * 8),
    "SETTINGS": lambda i: settings((INITIAL_WINDOW_SIZE, 65_535 + i % 2)),
    "PRIORITY": lambda i: frame(PRIORITY, 0, 2 * (i % 10_000) + 3, b"\0\0\0\0\x0f"),
    "WINDOW_UPDATE": lambda i: window_update(0, 1),
    "an unknown type": lambda i: frame(0x16, 0, 0, b"x"),
    "empty DATA": lambda i: headers(1, *REQUEST, end=False) if i == 0 else data(1),
    "DATA of nothing but padding": lambda i: headers(1, *REQUEST, end=False) if i == 0 else data(1, b"\x01\0", flags=PADDED),
    "DATA of one byte": lambda i: headers(1, *REQUEST, end=False) if i == 0 else data(1, b" "),
    "rapid reset": lambda i: headers(2 * i + 1, *REQUEST, end=False) + reset(2 * i + 1),
    "requests that the server must reset": lambda i: headers(2 * i + 1, *REQUEST, ("connection", "close"), end=False),
    "requests whose windows overflow": lambda i: headers(2 * i + 1, *REQUEST, end=False) + window_update(2 * i + 1, 2**31 - 1),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_frames_that_lead_to_nothing_ends_the_connection(port, name):
    connection = RawConnection(port.address)
    code, count = flood(connection, FLOODS[name], 1_000_000)
    assert count < 1_000_000, "the server took all of it"
    # A reset of the socket may overtake the GOAWAY; streams that the server's reset has not left yet count as open, so there may be too many.
    assert code in (ENHANCE_YOUR_CALM, None) or code == PROTOCOL_ERROR and name.startswith("requests")
    other = RawConnection(port.address)
    other.send(headers(1, *request()))
    assert other.answer(1)[0] == 200


def test_ordinary_clients_are_no_flood(port):
    """Many small requests, each with a window update and a ping, one after the other: what they get done pays for them."""
    connection = RawConnection(port.address)
    for i in range(3_000):
        stream = 2 * i + 1
        connection.send(headers(stream, *request()), window_update(0, 20), frame(PING, 0, 0, b"x" * 8))
        status, _ = connection.answer(stream)
        assert status == 200


def test_cancelled_requests_within_reason_are_no_flood(cluster):
    client = HTTP2Client(cluster.url)
    for _ in range(200):
        client.reset(client.request("POST", "/collections/a/points/query", headers=[("content-type", "application/json")], end=False))
    assert client.call("GET", "/collections")[0] == 200


# What begins and does not end


def seconds_until_closed(connection, trickle=None, limit=60):
    """Sends a byte of `trickle` now and then, until the server closes the connection."""
    start = time.monotonic()
    connection.socket.settimeout(0.3)
    trickle = iter(trickle or b"")
    while time.monotonic() - start < limit:
        try:
            if (byte := next(trickle, None)) is not None:
                connection.socket.sendall(bytes([byte]))
            if not connection.socket.recv(65536):
                return time.monotonic() - start
        except TimeoutError:
            continue
        except OSError:
            return time.monotonic() - start
    pytest.fail(f"still open after {limit} s")


HEAD = headers(1, *REQUEST, end=False)
BEGUN = PREFACE + settings() + settings(flags=ACK)
SLOW = {
    "nothing": (b"", b""),
    "a preface": (b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n\r\n"),
    "no settings": (PREFACE, b""),
    "a frame": (PREFACE + settings(), frame(SETTINGS, 0, 0, b"\0" * 12)),
    "a header block": (BEGUN + HEAD[:30], HEAD[30:]),
    "continuations": (BEGUN + headers(1, *request(), flags=0), frame(CONTINUATION, 0, 1, b"\0\1x\1y" * 100)),
    "no answer to settings": (PREFACE + settings() + headers(1, *request()), b""),
}


@pytest.mark.parametrize("name", SLOW)
def test_what_begins_and_does_not_end_is_cut_off(hasty_port, name):
    begin, trickle = SLOW[name]
    assert seconds_until_closed(RawConnection(hasty_port.address, begin), trickle) < 3 * ARRIVAL + 4


@pytest.mark.parametrize(
    "begin, trickle",
    [
        (b"G", b"ET / HTTP/1.1\r\nhost: covey\r\nx: " + b"y" * 1_000),
        (b"GET /healthz HTTP/1.1\r\nhost: covey\r\n\r\n" + b"G", b"ET / HTTP/1.1\r\n" + b"x: y\r\n" * 1_000),
        (b"GET /healthz HTTP/1.1\r\nhost: covey\r\ncontent-length: 10000\r\n\r\n", b"x" * 10_000),
        (b"POST /collections/large/points/query HTTP/1.1\r\nhost: covey\r\ncontent-type: application/json\r\ncontent-length: 10000\r\n\r\n", b" " * 10_000),
    ],
    ids=["a first request", "a second request", "a body that nobody reads", "a body"],
)
def test_slow_requests_of_http1_are_cut_off(hasty, begin, trickle):
    assert seconds_until_closed(RawConnection(public(hasty), begin), trickle) < 3 * max(ARRIVAL, BODY) + 4


def test_slow_bodies_of_http2_are_refused(hasty_port):
    connection = RawConnection(hasty_port.address)
    connection.send(hasty_port.open_head(1), data(1, b"\0"))
    status, _ = connection.answer(1)
    assert status == 408 or connection.fields["grpc-status"] == "4"  # DEADLINE_EXCEEDED


# Who asks and does not read


SCROLL = json.dumps({"limit": 5_000}).encode()
SCROLL_HEAD = request("/collections/large/points/scroll", "POST", ("content-type", "application/json"))


def read_until(connection, condition, seconds=10 * STALL):
    """Reads and answers pings until a frame is as wanted, which is the last of those returned."""
    found, end = [], time.monotonic() + seconds
    while not found or not condition(found[-1]):
        each = connection.receive()
        assert each is not None and time.monotonic() < end, [(each.kind, each.stream) for each in found[-5:]]
        found.append(each)
    return found


def data_bytes(frames):
    return sum(len(each.payload) for each in frames if each.kind == DATA)


def test_a_stream_whose_window_stays_shut_is_reset(hasty):
    """The connection lives on: pings are answered, other streams are served."""
    connection = RawConnection(public(hasty))
    connection.send(window_update(0, 2**30), headers(1, *SCROLL_HEAD, end=False), data(1, SCROLL, end=True))
    found = read_until(connection, lambda each: each.kind == RST_STREAM)
    assert data_bytes(found) == 65_535 and found[-1].code == CANCEL
    connection.send(headers(3, *request()))
    assert connection.answer(3)[0] == 200


def test_a_window_that_opens_by_a_byte_at_a_time_is_as_good_as_shut(hasty):
    connection = RawConnection(public(hasty))
    connection.send(window_update(0, 2**30), headers(1, *SCROLL_HEAD, end=False), data(1, SCROLL, end=True))
    read_until(connection, lambda each: each.kind == DATA and each.stream == 1)
    taken = 0
    while taken < 1_000:
        connection.send(window_update(1, 1))
        last = read_until(connection, lambda each: each.kind in (DATA, RST_STREAM))[-1]
        if last.kind == RST_STREAM:
            assert last.code == CANCEL
            return
        taken += 1
        time.sleep(0.02)  # a hundred bytes in the time in which 512 would do
    pytest.fail("still open")


def test_a_connection_whose_window_stays_shut_is_ended(hasty):
    connection = RawConnection(public(hasty))
    connection.send(settings((INITIAL_WINDOW_SIZE, 2**30)), headers(1, *SCROLL_HEAD, end=False), data(1, SCROLL, end=True))
    found = read_until(connection, lambda each: each.kind == GOAWAY)
    assert data_bytes(found) == 65_535 and found[-1].code == ENHANCE_YOUR_CALM


def test_replies_that_nobody_reads_are_bounded_over_all_connections(make_cluster):
    # Nothing is cut off, however long the others take.
    cluster = make_cluster(shards=1, settings={"connections.stall_seconds": 3_600, "coordinator.deadline_ms": 60_000, "replicas": 1})
    fill(cluster)
    unread, streams, dropped = [], range(1, 17, 2), 0
    for _ in range(10):  # 80 of 5 MiB, of 256 MiB
        connection = RawConnection(public(cluster), timeout=60)
        connection.send(settings((INITIAL_WINDOW_SIZE, 0)), *[headers(stream, *SCROLL_HEAD, end=False) + data(stream, SCROLL, end=True) for stream in streams])
        missing = set(streams)
        while missing:
            found = connection.receive()
            if found.kind in (HEADERS, RST_STREAM) and found.stream in missing:
                missing.remove(found.stream)
                dropped += found.kind == RST_STREAM and found.code == ENHANCE_YOUR_CALM
        unread.append(connection)
    assert 10 <= dropped < 60
    reader = RawConnection(public(cluster), timeout=60)
    reader.send(settings((INITIAL_WINDOW_SIZE, 2**30)), window_update(0, 2**30), headers(1, *SCROLL_HEAD, end=False), data(1, SCROLL, end=True))
    assert reader.answer(1)[0] == 200
    for connection in unread:
        connection.close()


def test_a_slow_but_steady_reader_gets_all(hasty):
    connection = RawConnection(public(hasty))
    connection.send(window_update(0, 2**30), headers(1, *SCROLL_HEAD, end=False), data(1, SCROLL, end=True))
    count, end = 0, time.monotonic() + 4 * STALL
    while time.monotonic() < end:
        found = read_until(connection, lambda each: each.kind in (DATA, RST_STREAM, GOAWAY))
        assert found[-1].kind == DATA
        count += data_bytes(found)
        if count >= 65_535:
            time.sleep(0.1)
            connection.send(window_update(1, 1_000))  # 10 kB/s
    assert count > 65_535 + 10_000
    connection.send(window_update(1, 2**30))
    read_until(connection, lambda each: each.kind == DATA and each.flags & END_STREAM)


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_a_socket_that_nobody_reads_is_closed(hasty, version):
    """The kernel's buffers fill up, then the server's, and nothing moves any more."""
    body = b"POST /collections/large/points/scroll HTTP/1.1\r\nhost: covey\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(SCROLL), SCROLL)
    begin = body * 8
    if version == "HTTP/2":
        streams = range(1, 17, 2)
        begin = PREFACE + settings((INITIAL_WINDOW_SIZE, 2**30)) + window_update(0, 2**30) + settings(flags=ACK)
        begin += b"".join(headers(stream, *SCROLL_HEAD, end=False) + data(stream, SCROLL, end=True) for stream in streams)
    connection = RawConnection(public(hasty), begin, receive_buffer=4_096)
    local = "%s:%d" % connection.socket.getsockname()
    hasty.wait_for(lambda: any(local.split(":")[1] in line and "waiting bytes" in line for line in hasty.log("coordinator").splitlines()), "the line", seconds=6 * STALL)


def test_connections_that_do_nothing_make_room(hasty):
    """Places are short; those who have asked for nothing lose theirs to those who come, and who is being served keeps it."""
    served = RawConnection(public(hasty))
    served.send(window_update(0, 2**30), headers(1, *SCROLL_HEAD, end=False), data(1, SCROLL, end=True))  # unread, so under way
    served.wait(lambda each: each.kind == HEADERS)
    idle = [RawConnection(public(hasty)) for _ in range(4 * CONNECTIONS)]
    served.send(window_update(1, 2**30))
    assert served.wait(lambda each: each.kind == DATA and each.flags & END_STREAM)
    late = RawConnection(public(hasty))
    late.send(headers(1, *request()))
    assert late.answer(1)[0] == 200
    status, text = hasty.get("/metrics")
    evicted = next(line for line in text.decode().splitlines() if line.startswith("covey_gateway_evicted_connections_total"))
    assert int(evicted.split()[1]) >= 3 * CONNECTIONS
    for connection in idle:
        connection.close()


def test_a_client_that_is_gone_without_a_word_is_noticed(hasty_port):
    """It answers no ping. To the server a stopped machine and a cut network look like this."""
    connection = RawConnection(hasty_port.address)
    assert seconds_until_closed(connection) < 2 * STALL + 4  # bytes are received, and never answered


def test_open_requests_without_an_end_are_bounded(port):
    connection = RawConnection(port.address)
    limit = connection.server_settings[MAX_CONCURRENT_STREAMS]
    connection.send(*[port.open_head(stream) for stream in range(1, 2 * limit + 3, 2)])
    assert connection.wait(lambda each: each.kind == GOAWAY) is not None
