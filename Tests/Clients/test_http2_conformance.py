"""The MUSTs of HTTP/2 and HPACK, one row each: RFC 9113 and 7541, the cases of h2spec and what it leaves out, at the public port and at a node's.

A row has the section, what a client sends, and what the server must make of it: a connection error (GOAWAY with the code, then the end), a stream
error (RST_STREAM with the code, and the connection goes on), an answer, or nothing. Where the RFC leaves a choice, the row pins the one that is made.
docs/http2.md lists where the server is more lenient or stricter than the RFC, with reasons.
"""

import struct

import pytest
from raw_http2 import *


@pytest.fixture(params=["public port", "node"])
def port(request, cluster):
    return ports(cluster)[request.param]


# What the server makes of a row.


def connection_error(code):
    def check(connection, sent):
        found = connection.wait(lambda each: each.kind == GOAWAY)
        assert found is not None, "closed without a GOAWAY"
        assert found.code == code
        assert connection.wait(lambda each: False) is None, "not closed after the GOAWAY"

    return check


def stream_error(code, stream=1):
    def check(connection, sent):
        found = connection.wait(lambda each: each.kind in (RST_STREAM, GOAWAY))
        assert found is not None, "closed"
        assert (found.kind, found.stream, found.code) == (RST_STREAM, stream, code)
        goes_on(connection, sent)

    return check


def answered(*statuses, stream=1):
    def check(connection, sent):
        assert connection.answer(stream)[0] in statuses
        goes_on(connection, sent)

    return check


def ended(connection, sent):
    """Closed, with or without a word; nothing else can be said to who speaks no HTTP/2."""
    assert connection.wait(lambda each: each.kind == HEADERS) is None


def goes_on(connection, sent):
    """Another request is answered, and nothing was held against the client before."""
    connection.send(headers(1_001, *request()))
    while (found := connection.receive()) is not None:
        if found.kind == HEADERS and found.stream == 1_001:
            return
        assert found.kind != GOAWAY, f"GOAWAY {found.code}"
        assert found.kind != RST_STREAM or found.code == NO_ERROR, f"RST_STREAM {found.code}"
    pytest.fail("closed")


GET = request()
NEVER_INDEXED_GARBAGE = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
TRAILER = ("x-sum", "1")


def without(name):
    return [field for field in GET if field[0] != name]


def whole(stream=1):
    return headers(stream, *GET)


def field(*fields):
    """A request with further fields."""
    return lambda port: headers(1, *GET, *fields)


def in_block(raw):
    """A request whose header block ends with raw bytes of HPACK."""
    return lambda port: headers(1, *GET, raw=raw)


def before_block(raw):
    return lambda port: frame(HEADERS, END_HEADERS | END_STREAM, 1, raw + block(*GET))


malformed = stream_error(PROTOCOL_ERROR)
bad_hpack = connection_error(COMPRESSION_ERROR)
protocol = connection_error(PROTOCOL_ERROR)
frame_size = connection_error(FRAME_SIZE_ERROR)
stream_closed = connection_error(STREAM_CLOSED)
flow_control = connection_error(FLOW_CONTROL_ERROR)

#: Section, what happens, what is sent (of a port), what the server makes of it.
CASES = [
    # 4.1 Frame format
    ("4.1", "a frame of an unknown type is ignored", lambda port: frame(0x16, 0xFF, 0, b"x" * 8), goes_on),
    ("4.1", "a frame of an unknown type on an open stream is ignored", lambda port: port.open_head(1) + frame(0x16, 0, 1, b"x"), goes_on),
    ("4.1", "undefined flags are ignored", lambda port: frame(PING, 0x16, 0, b"x" * 8), goes_on),
    ("4.1", "the reserved bit of a stream's number is ignored", lambda port: frame(PING, 0, 2**31, b"x" * 8), goes_on),
    # 4.2 Frame size
    ("4.2", "a frame of the largest size is taken", lambda port: port.open_head(1) + data(1, b"x" * 16_384), goes_on),
    ("4.2", "DATA larger than SETTINGS_MAX_FRAME_SIZE", lambda port: port.open_head(1) + data(1, b"x" * 16_385), frame_size),
    ("4.2", "HEADERS larger than SETTINGS_MAX_FRAME_SIZE", lambda port: headers(1, *GET, *[("x", "y" * 1_000)] * 17), frame_size),
    ("4.2", "SETTINGS larger than SETTINGS_MAX_FRAME_SIZE", lambda port: settings(*[(INITIAL_WINDOW_SIZE, 1)] * 2_731), frame_size),
    ("4.2", "PING too short", lambda port: frame(PING, 0, 0, b"x" * 6), frame_size),
    ("4.2", "an unknown frame larger than SETTINGS_MAX_FRAME_SIZE", lambda port: frame(0x16, 0, 0, b"x" * 16_385), frame_size),
    # 4.3 Field section compression
    ("4.3", "a header block that cannot be decoded", lambda port: frame(HEADERS, END_HEADERS | END_STREAM, 1, NEVER_INDEXED_GARBAGE), bad_hpack),
    ("4.3", "PRIORITY within a header block", lambda port: headers(1, *GET, flags=0) + frame(PRIORITY, 0, 1, b"\0" * 5), protocol),
    ("4.3", "HEADERS of another stream within a header block", lambda port: headers(1, *GET, flags=0) + whole(3), protocol),
    ("4.3", "DATA within a header block", lambda port: headers(1, *GET, end=False, flags=0) + data(1), protocol),
    # 5.1 Stream states
    ("5.1 idle", "DATA", lambda port: data(1, b"x"), protocol),
    ("5.1 idle", "RST_STREAM", lambda port: reset(1), protocol),
    ("5.1 idle", "WINDOW_UPDATE", lambda port: window_update(1, 100), protocol),
    ("5.1 idle", "CONTINUATION", lambda port: frame(CONTINUATION, END_HEADERS, 1, block(*GET)), protocol),
    ("5.1 idle", "PRIORITY", lambda port: frame(PRIORITY, 0, 1, b"\0\0\0\0\x0f"), goes_on),
    ("5.1 half-closed (remote)", "DATA", lambda port: port.open_head(1) + data(1, end=True) + data(1, b"x"), stream_closed),
    ("5.1 half-closed (remote)", "HEADERS", lambda port: port.open_head(1) + data(1, end=True) + headers(1, TRAILER), stream_closed),
    ("5.1 half-closed (remote)", "CONTINUATION", lambda port: port.open_head(1) + data(1, end=True) + frame(CONTINUATION, END_HEADERS, 1, block(TRAILER)), protocol),
    ("5.1 half-closed (remote)", "WINDOW_UPDATE", lambda port: whole() + window_update(1, 100), goes_on),
    ("5.1 half-closed (remote)", "PRIORITY", lambda port: whole() + frame(PRIORITY, 0, 1, b"\0\0\0\0\x0f"), goes_on),
    ("5.1 half-closed (remote)", "RST_STREAM", lambda port: whole() + reset(1), goes_on),
    ("5.1 closed by RST_STREAM", "DATA", lambda port: port.open_head(1) + reset(1) + data(1, b"x"), stream_closed),
    ("5.1 closed by RST_STREAM", "HEADERS", lambda port: port.open_head(1) + reset(1) + headers(1, TRAILER), stream_closed),
    ("5.1 closed by RST_STREAM", "CONTINUATION", lambda port: port.open_head(1) + reset(1) + frame(CONTINUATION, END_HEADERS, 1, block(TRAILER)), protocol),
    ("5.1 closed by RST_STREAM", "PRIORITY", lambda port: port.open_head(1) + reset(1) + frame(PRIORITY, 0, 1, b"\0\0\0\0\x0f"), goes_on),
    ("5.1 closed by RST_STREAM", "RST_STREAM, once more", lambda port: port.open_head(1) + reset(1) + reset(1), goes_on),
    ("5.1 closed by RST_STREAM", "WINDOW_UPDATE", lambda port: port.open_head(1) + reset(1) + window_update(1, 100), goes_on),
    # 5.1.1 Stream identifiers
    ("5.1.1", "an even stream of a client", lambda port: whole(2), protocol),
    ("5.1.1", "stream 0", lambda port: whole(0), protocol),
    ("5.1.1", "a stream below the latest", lambda port: whole(5) + whole(3), protocol),
    ("5.1.1", "a stream that was used", lambda port: whole(1) + whole(1), stream_closed),
    ("5.1.1", "streams may be left out", lambda port: whole(1) + whole(999), goes_on),
    # 5.3.1 of RFC 7540: kept by the library
    ("7540 5.3.1", "PRIORITY that depends on itself", lambda port: frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 15)), protocol),
    ("7540 5.3.1", "HEADERS that depend on themselves", lambda port: frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, struct.pack(">IB", 1, 15) + block(*GET)), protocol),
    # 5.5 Extending
    ("5.5", "an unknown frame within a header block", lambda port: headers(1, *GET, flags=0) + frame(0x16, 0, 1, b"x"), protocol),
    # 6.1 DATA
    ("6.1", "on stream 0", lambda port: data(0, b"x"), protocol),
    ("6.1", "padding as long as the payload", lambda port: port.open_head(1) + data(1, b"\x06abcde", flags=PADDED), protocol),
    ("6.1", "a length of padding without room for it", lambda port: port.open_head(1) + data(1, b"", flags=PADDED), frame_size),
    ("6.1", "padding is taken off", lambda port: port.open_head(1) + data(1, b"\x04x" + b"\0" * 4, flags=PADDED), goes_on),
    ("6.1", "nothing but padding", lambda port: port.open_head(1) + data(1, b"\x04" + b"\0" * 4, flags=PADDED), goes_on),
    # 6.2 HEADERS
    ("6.2", "padding as long as the payload", lambda port: frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, bytes([len(block(*GET)) + 1]) + block(*GET)), protocol),
    ("6.2", "padding is taken off", lambda port: frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\x03" + block(*GET) + b"\0" * 3), answered(200)),
    ("6.2", "a length of padding without room for it", lambda port: frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b""), frame_size),
    ("6.2", "a priority without room for it", lambda port: frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, b"\0" * 4), frame_size),
    ("6.2", "with a priority", lambda port: frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, b"\0\0\0\0\x0f" + block(*GET)), answered(200)),
    # 6.3 PRIORITY
    ("6.3", "on stream 0", lambda port: frame(PRIORITY, 0, 0, b"\0\0\0\x01\x0f"), protocol),
    ("6.3", "of 4 bytes", lambda port: frame(PRIORITY, 0, 1, b"\0" * 4), frame_size),
    # 6.4 RST_STREAM
    ("6.4", "on stream 0", lambda port: reset(0), protocol),
    ("6.4", "of 3 bytes", lambda port: port.open_head(1) + frame(RST_STREAM, 0, 1, b"\0" * 3), frame_size),
    ("6.4", "of 5 bytes", lambda port: port.open_head(1) + frame(RST_STREAM, 0, 1, b"\0" * 5), frame_size),
    # 6.5 SETTINGS
    ("6.5", "an acknowledgement with a payload", lambda port: settings((INITIAL_WINDOW_SIZE, 1), flags=ACK), frame_size),
    ("6.5", "on a stream", lambda port: settings(stream=1), protocol),
    ("6.5", "of 3 bytes", lambda port: frame(SETTINGS, 0, 0, b"\0" * 3), frame_size),
    ("6.5.2", "SETTINGS_ENABLE_PUSH of 2", lambda port: settings((ENABLE_PUSH, 2)), protocol),
    ("6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE of 2^31", lambda port: settings((INITIAL_WINDOW_SIZE, 2**31)), flow_control),
    ("6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE of 2^31 - 1", lambda port: settings((INITIAL_WINDOW_SIZE, 2**31 - 1)), goes_on),
    ("6.5.2", "SETTINGS_MAX_FRAME_SIZE of 2^14 - 1", lambda port: settings((MAX_FRAME_SIZE, 2**14 - 1)), protocol),
    ("6.5.2", "SETTINGS_MAX_FRAME_SIZE of 2^24", lambda port: settings((MAX_FRAME_SIZE, 2**24)), protocol),
    ("6.5.2", "SETTINGS_MAX_FRAME_SIZE of 2^24 - 1", lambda port: settings((MAX_FRAME_SIZE, 2**24 - 1)), goes_on),
    ("6.5.2", "an unknown setting is ignored", lambda port: settings((0xFF, 1)), goes_on),
    ("6.5.2", "SETTINGS_MAX_CONCURRENT_STREAMS of 0 concerns pushes only", lambda port: settings((MAX_CONCURRENT_STREAMS, 0)), goes_on),
    ("6.5.3", "an acknowledgement of nothing", lambda port: settings(flags=ACK) + settings(flags=ACK), protocol),
    ("9218 2.1", "SETTINGS_NO_RFC7540_PRIORITIES of 2", lambda port: settings((9, 2)), protocol),
    # 6.6 PUSH_PROMISE
    ("6.6", "of a client", lambda port: port.open_head(1) + frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + block(*GET)), protocol),
    # 6.7 PING
    ("6.7", "on a stream", lambda port: frame(PING, 0, 1, b"x" * 8), protocol),
    ("6.7", "of 9 bytes", lambda port: frame(PING, 0, 0, b"x" * 9), frame_size),
    ("6.7", "an acknowledgement of nothing", lambda port: frame(PING, ACK, 0, b"x" * 8), goes_on),
    # 6.8 GOAWAY
    ("6.8", "on a stream", lambda port: frame(GOAWAY, 0, 1, b"\0" * 8), protocol),
    ("6.8", "of 7 bytes", lambda port: frame(GOAWAY, 0, 0, b"\0" * 7), frame_size),
    # 6.9 WINDOW_UPDATE
    ("6.9", "of 0 for the connection", lambda port: window_update(0, 0), protocol),
    ("6.9", "of 0 for a stream", lambda port: port.open_head(1) + window_update(1, 0), protocol),
    ("6.9", "of 3 bytes", lambda port: frame(WINDOW_UPDATE, 0, 0, b"\0" * 3), frame_size),
    ("6.9.1", "beyond 2^31 - 1 for the connection", lambda port: window_update(0, 2**31 - 1), flow_control),
    ("6.9.1", "beyond 2^31 - 1 for a stream", lambda port: port.open_head(1) + window_update(1, 2**31 - 1), stream_error(FLOW_CONTROL_ERROR)),
    ("6.9.2", "a setting that takes a stream's window beyond 2^31 - 1", lambda port: port.open_head(1) + window_update(1, 2**31 - 1 - 65_535) + settings((INITIAL_WINDOW_SIZE, 65_536)), flow_control),
    # 6.10 CONTINUATION
    ("6.10", "several", lambda port: headers(1, GET[0], flags=0) + b"".join(frame(CONTINUATION, END_HEADERS * (i == 3), 1, block(GET[i])) for i in (1, 2, 3)), answered(200)),
    ("6.10", "another frame in between", lambda port: headers(1, *GET, flags=0) + frame(PING, 0, 0, b"x" * 8), protocol),
    ("6.10", "on stream 0", lambda port: headers(1, *GET, flags=0) + frame(CONTINUATION, END_HEADERS, 0), protocol),
    ("6.10", "on another stream", lambda port: headers(1, *GET, flags=0) + frame(CONTINUATION, END_HEADERS, 3), protocol),
    ("6.10", "after the end of the block", lambda port: port.open_head(1) + frame(CONTINUATION, END_HEADERS, 1, block(TRAILER)), protocol),
    ("6.10", "after a CONTINUATION that ended the block", lambda port: headers(1, *port.open, end=False, flags=0) + frame(CONTINUATION, END_HEADERS, 1) + frame(CONTINUATION, END_HEADERS, 1, block(TRAILER)), protocol),
    ("6.10", "after DATA", lambda port: port.open_head(1) + data(1, b"x") + frame(CONTINUATION, END_HEADERS, 1, block(TRAILER)), protocol),
    ("10.5", "CONTINUATION without end", lambda port: headers(1, *GET, flags=0) + frame(CONTINUATION, 0, 1) * 100, connection_error(ENHANCE_YOUR_CALM)),
    # 7 Error codes
    ("7", "an unknown code of RST_STREAM", lambda port: port.open_head(1) + reset(1, 0xFF), goes_on),
    # 8.1 Message framing
    ("8.1", "a second HEADERS without END_STREAM", lambda port: port.open_head(1) + headers(1, TRAILER, end=False), malformed),
    ("8.1", "trailers end a request", lambda port: port.open_head(1) + headers(1, TRAILER), answered(200, 400, 404)),
    ("8.1.1", "content-length of another sum", lambda port: port.open_head(1, ("content-length", "1")) + data(1, b"xx", end=True), malformed),
    ("8.1.1", "content-length of another sum, in two frames", lambda port: port.open_head(1, ("content-length", "1")) + data(1, b"x") + data(1, b"x", end=True), malformed),
    ("8.1.1", "content-length of more than came", lambda port: port.open_head(1, ("content-length", "3")) + data(1, b"xx", end=True), malformed),
    ("8.1.1", "content-length without a body", lambda port: headers(1, *GET, ("content-length", "1")), malformed),
    ("8.1.1", "content-length that is no number", field(("content-length", "x")), malformed),
    ("8.1.1", "content-length twice", field(("content-length", "0"), ("content-length", "0")), malformed),
    # 8.2 Fields
    ("8.2.1", "an upper-case name", field(("X-Test", "ok")), malformed),
    ("8.2.1", "an empty name", field(("", "ok")), malformed),
    ("8.2.1", "a space in a name", field(("x test", "ok")), malformed),
    ("8.2.1", "a colon in a name", field(("x:test", "ok")), malformed),
    ("8.2.1", "a control character in a name", field((b"x\x01", "ok")), malformed),
    ("8.2.1", "a name beyond ASCII", field((b"x\xe4", "ok")), malformed),
    ("8.2.1", "NUL in a value", field(("x-test", b"o\0k")), malformed),
    ("8.2.1", "CR in a value", field(("x-test", b"o\rk")), malformed),
    ("8.2.1", "LF in a value", field(("x-test", b"o\nk")), malformed),
    ("8.2.1", "a space before a value", field(("x-test", " ok")), malformed),
    ("8.2.1", "a tab behind a value", field(("x-test", "ok\t")), malformed),
    ("8.2.1", "a space within a value", field(("x-test", "o k")), answered(200)),
    ("8.2.2", "connection", field(("connection", "keep-alive")), malformed),
    ("8.2.2", "keep-alive", field(("keep-alive", "5")), malformed),
    ("8.2.2", "proxy-connection", field(("proxy-connection", "keep-alive")), malformed),
    ("8.2.2", "transfer-encoding", field(("transfer-encoding", "chunked")), malformed),
    ("8.2.2", "upgrade", field(("upgrade", "h2c")), malformed),
    ("8.2.2", "te beyond trailers", field(("te", "trailers, deflate;q=0.5")), malformed),
    ("8.2.2", "te of trailers", field(("te", "trailers")), answered(200)),
    # 8.3 Control data
    ("8.3", "an unknown pseudo-header", field((":test", "ok")), malformed),
    ("8.3", "a pseudo-header of responses", field((":status", "200")), malformed),
    ("8.3", "a pseudo-header behind a field", lambda port: headers(1, *GET[:3], ("x-test", "ok"), GET[3]), malformed),
    ("8.3", "a pseudo-header in trailers", lambda port: port.open_head(1) + headers(1, (":method", "POST")), malformed),
    *[("8.3", f"{name} twice", lambda port, name=name: headers(1, *GET, next(f for f in GET if f[0] == name)), malformed) for name, _ in GET],
    *[("8.3.1", f"{name} is missing", lambda port, name=name: headers(1, *without(name)), malformed) for name in (":method", ":scheme", ":path")],
    ("8.3.1", ":path is empty", lambda port: headers(1, *request("")), malformed),
    ("8.3.1", ":path does not begin with /", lambda port: headers(1, *request("healthz")), malformed),
    ("8.3.1", ":path is * without OPTIONS", lambda port: headers(1, *request("*")), malformed),
    ("8.3.1", ":path is * with OPTIONS", lambda port: headers(1, *request("*", "OPTIONS")), answered(200, 204, 400, 404, 405)),
    ("8.3.1", "host in place of :authority", lambda port: headers(1, *without(":authority"), ("host", "covey")), answered(200)),
    ("8.3.1", "neither :authority nor host", lambda port: headers(1, *without(":authority")), malformed),
    ("8.3.1", "host beside another :authority", field(("host", "other")), malformed),
    ("8.3.1", "userinfo in :authority", lambda port: headers(1, *without(":authority"), (":authority", "me@covey")), malformed),
    ("8.3.1", "an empty :method", lambda port: headers(1, *without(":method"), (":method", "")), malformed),
    ("8.3.1", "a method that is no token", lambda port: headers(1, *without(":method"), (":method", "GE T")), malformed),
    ("8.3.1", "a scheme that is none", lambda port: headers(1, *without(":scheme"), (":scheme", "h ttp")), malformed),
    # 8.5 CONNECT
    ("8.5", "CONNECT with :path and :scheme", lambda port: headers(1, *request("/", "CONNECT")), malformed),
    ("8.5", "CONNECT without :authority", lambda port: headers(1, (":method", "CONNECT")), malformed),
    ("8.5", "CONNECT is not served", lambda port: headers(1, (":method", "CONNECT"), (":authority", "covey:80")), answered(400, 404, 405, 501)),
    # RFC 7541
    ("7541 2.3.3", "an index beyond the tables", in_block(b"\xc6"), bad_hpack),
    ("7541 2.3.3", "a literal whose name's index is beyond the tables", in_block(b"\x7f\x07\x01x"), bad_hpack),
    ("7541 4.2", "a change of the table's size at the end of a block", in_block(b"\x20"), bad_hpack),
    ("7541 4.2", "changes of the table's size at the beginning", before_block(b"\x20\x3f\xe1\x1f"), answered(200)),
    ("7541 5.1", "an integer that does not end", in_block(b"\x7f" + b"\xff" * 20), bad_hpack),
    ("7541 5.1", "an integer that is cut off", in_block(b"\xff"), bad_hpack),
    ("7541 5.2", "a string that is cut off", in_block(b"\x00\x05abc"), bad_hpack),
    ("7541 5.2", "Huffman padding of more than 7 bits", in_block(b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"), bad_hpack),
    ("7541 5.2", "Huffman padding of zeros", in_block(b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"), bad_hpack),
    ("7541 5.2", "Huffman with EOS", in_block(b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f"), bad_hpack),
    ("7541 6.1", "index 0", in_block(b"\x80"), bad_hpack),
    ("7541 6.3", "a table larger than SETTINGS_HEADER_TABLE_SIZE", before_block(b"\x3f\xe2\x1f"), bad_hpack),
]


@pytest.mark.parametrize("section, what, make, check", CASES, ids=[f"{section}: {what}" for section, what, _, _ in CASES])
def test_rule(port, section, what, make, check):
    connection = RawConnection(port.address)
    sent = make(port)
    connection.send(sent)
    check(connection, sent)
    connection.close()


# What takes more than one step.


@pytest.fixture
def connection(port):
    connection = RawConnection(port.address)
    yield connection
    connection.close()


@pytest.mark.parametrize("begin", [PREFACE[:16] + b"XX\r\n\r\n" + settings(), PREFACE.lower(), b"\0" * 24], ids=["a wrong end", "lower case", "zeros"])
def test_3_4_a_wrong_preface_ends_the_connection(port, begin):
    ended(RawConnection(port.address, begin + whole()), None)


@pytest.mark.parametrize("first", [frame(PING, 0, 0, b"x" * 8), whole(), settings(flags=ACK)], ids=["PING", "HEADERS", "an acknowledgement"])
def test_3_4_settings_come_first(port, first):
    protocol(RawConnection(port.address, PREFACE + first), None)


def test_3_4_a_request_may_come_with_the_preface(port):
    connection = RawConnection(port.address, PREFACE + settings() + whole())
    assert connection.answer(1)[0] == 200


def test_5_1_a_closed_stream_stays_closed(port, connection):
    for make, check in [(data(1, b"x"), stream_closed), (headers(1, TRAILER), stream_closed), (frame(CONTINUATION, END_HEADERS, 1), protocol)]:
        connection = RawConnection(port.address)
        connection.send(whole())
        assert connection.answer(1)[0] == 200
        connection.send(window_update(1, 1), reset(1), frame(PRIORITY, 0, 1, b"\0\0\0\0\x0f"))  # those may have crossed the end
        connection.send(make)
        check(connection, None)


def test_5_1_2_streams_beyond_the_limit_are_refused(port, connection):
    limit = connection.server_settings[MAX_CONCURRENT_STREAMS]
    streams = range(1, 2 * limit + 3, 2)
    connection.send(*[port.open_head(stream) for stream in streams])
    protocol(connection, None)


def test_5_1_frames_for_a_stream_that_the_server_reset_are_ignored_but_counted(port, connection):
    """They may have crossed the reset; what they took from the connection's window is given back: 6.9."""
    connection.send(headers(1, *GET, end=False))
    assert connection.answer(1)[0] == 200
    sent = 0
    while sent < 2 * connection.window or sent < 20 << 20:
        if connection.window < 16_384:
            found = connection.receive()
            assert found is not None and found.kind != GOAWAY
            continue
        connection.send(data(1, b"x" * 16_384))
        connection.window -= 16_384
        sent += 16_384
    connection.send(headers(1, TRAILER))
    goes_on(connection, None)


def test_6_5_3_settings_are_answered_and_taken_in_order(connection):
    connection.send(settings((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)), whole())
    assert connection.wait(lambda each: each.kind == SETTINGS and each.flags & ACK)
    assert len(connection.wait(lambda each: each.kind == DATA).payload) == 1


def test_6_7_pings_are_answered_with_their_payload(connection):
    connection.send(frame(PING, 0, 0, b"12345678"))
    found = connection.wait(lambda each: each.kind == PING)
    assert found.flags == ACK and found.payload == b"12345678"


def test_6_8_a_client_that_says_goaway_is_still_answered(port, connection):
    connection.send(port.open_head(1), frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0xFF)), data(1, b"{}", end=True))
    assert isinstance(connection.answer(1)[0], int)
    assert connection.wait(lambda each: False) is None


def test_6_9_windows_hold_and_open(connection):
    """A window of 1 lets one byte through, one that a setting takes below zero none, and what opens it again the rest."""
    connection.send(settings((INITIAL_WINDOW_SIZE, 3)), whole())
    first = connection.wait(lambda each: each.kind == DATA)
    assert len(first.payload) == 3 and not first.flags & END_STREAM
    connection.send(settings((INITIAL_WINDOW_SIZE, 0)), window_update(1, 3), frame(PING, 0, 0, b"x" * 8))
    assert connection.wait(lambda each: each.kind in (PING, DATA)).kind == PING, "-3 and 3 are 0"
    connection.send(window_update(1, 2))
    assert len(connection.wait(lambda each: each.kind == DATA).payload) == 2
    connection.send(settings((INITIAL_WINDOW_SIZE, 65_535)))
    assert connection.wait(lambda each: each.kind == DATA and each.flags & END_STREAM)


def test_6_9_1_the_connection_has_a_window_of_its_own(port, connection):
    connection.send(settings((INITIAL_WINDOW_SIZE, 2**20)))
    count = 0
    body = 0
    # 64 KiB in all, whichever streams they are for.
    while body < 65_535:
        count += 1
        connection.send(headers(2 * count - 1, *request("/metrics")))
        while (found := connection.receive()).kind != DATA or not found.flags & END_STREAM:
            assert found.kind != GOAWAY
            body += len(found.payload) if found.kind == DATA else 0
            if body == 65_535:
                break
        else:
            body += len(found.payload)
        assert count < 100
    connection.send(window_update(0, 1))
    assert len(connection.wait(lambda each: each.kind == DATA).payload) == 1


def test_7541_4_2_the_server_keeps_to_the_clients_table(connection):
    connection.send(settings((HEADER_TABLE_SIZE, 0)))
    connection.wait(lambda each: each.kind == SETTINGS and each.flags & ACK)
    connection.decoder.max_allowed_table_size = 0  # the decoder throws for a block that goes on with a larger one
    for stream in (1, 3, 5):
        connection.send(whole(stream))
        assert connection.answer(stream)[0] == 200


def test_10_5_1_a_header_list_beyond_the_limit_is_refused(port, connection):
    limit = connection.server_settings[MAX_HEADER_LIST_SIZE]
    fields = [("x", "y" * 1_000)] * (limit // 1_033 + 1)
    connection.send(headers(1, *GET, *fields[:8], flags=0), frame(CONTINUATION, 0, 1, block(*fields[8:14])), frame(CONTINUATION, END_HEADERS, 1, block(*fields[14:])))
    assert connection.answer(1)[0] == 431 or connection.fields["grpc-status"] == "8"
    connection.send(whole(3))
    assert connection.answer(3)[0] == 200


def test_10_5_1_a_header_list_that_unpacks_without_end_ends_the_connection(connection):
    """One field of 4,000 bytes in the table, then a byte for each time that it is named: 16 KiB that unpack to 64 MiB."""
    big = b"\x40" + integer(1, 7) + b"x" + integer(3_900, 7) + b"y" * 3_900
    connection.send(frame(HEADERS, END_STREAM, 1, block(*GET) + big + b"\xbe" * 8_000), frame(CONTINUATION, END_HEADERS, 1, b"\xbe" * 16_000))
    connection_error(ENHANCE_YOUR_CALM)(connection, None)
