"""HTTP/2 by hand: frames and header blocks that say what a test says, right or wrong, over a plain socket."""

import socket
import struct
from dataclasses import dataclass

from hpack import Decoder

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(7)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(7, 12)
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    length = len(payload) if length is None else length
    return struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(*entries, flags=0, stream=0):
    return frame(SETTINGS, flags, stream, b"".join(struct.pack(">HI", key, value) for key, value in entries))


def integer(value, prefix, first=0):
    """RFC 7541, 5.1."""
    if value < 2**prefix - 1:
        return bytes([first | value])
    out, value = bytes([first | 2**prefix - 1]), value - (2**prefix - 1)
    while value >= 128:
        out, value = out + bytes([value % 128 | 128]), value // 128
    return out + bytes([value])


def block(*fields):
    """Each field as a literal that is not indexed, so that no block depends on another."""
    out = b""
    for name, value in fields:
        name, value = (text if isinstance(text, bytes) else text.encode() for text in (name, value))
        out += b"\0" + integer(len(name), 7) + name + integer(len(value), 7) + value
    return out


def headers(stream, *fields, end=True, flags=END_HEADERS, raw=b""):
    return frame(HEADERS, flags | (END_STREAM if end else 0), stream, block(*fields) + raw)


def data(stream, payload=b"", end=False, flags=0):
    return frame(DATA, flags | (END_STREAM if end else 0), stream, payload)


def reset(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def request(path="/healthz", method="GET", *more):
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", "covey"), *more]


#: Heads of requests whose bodies are waited for, at the public port and at a shard node's.
OPEN_AT_GATEWAY = request("/collections/absent/points/query", "POST", ("content-type", "application/json"))
OPEN_AT_NODE = request("/covey.v1.Shard/Status", "POST", ("content-type", "application/grpc"), ("te", "trailers"))


@dataclass(frozen=True)
class Port:
    address: str
    #: Of a request whose body is waited for.
    open: tuple

    def open_head(self, stream, *more, end=False):
        return headers(stream, *self.open, *more, end=end)


def ports(cluster):
    """The two places where a cluster speaks HTTP/2."""
    return {
        "public port": Port(cluster.url.removeprefix("http://"), tuple(OPEN_AT_GATEWAY)),
        "node": Port(cluster.addresses["shard-1"], tuple(OPEN_AT_NODE)),
    }


@dataclass
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes
    #: Of HEADERS.
    fields: dict | None = None

    @property
    def code(self):
        """Of a reset or a GOAWAY."""
        return struct.unpack(">I", self.payload[:4] if self.kind == RST_STREAM else self.payload[4:8])[0]


class RawConnection:
    """A connection whose preface and settings are exchanged, unless `begin` is empty."""

    def __init__(self, address, begin=None, timeout=20, receive_buffer=None):
        host, port = address.split(":")
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect((host, int(port)))
        self.received = b""
        self.decoder = Decoder()
        self.server_settings = {}
        #: What the server lets this end send in all; who sends DATA takes it off.
        self.window = 65_535
        #: Of the answer that was read last.
        self.fields = {}
        if begin is None:
            self.send(PREFACE, settings())
            assert self.wait(lambda each: each.kind == SETTINGS and each.flags & ACK), "settings are not answered"
        else:
            self.send(begin)

    def send(self, *parts):
        self.socket.sendall(b"".join(parts))

    def receive(self):
        """The next frame; None at the end of the connection."""
        while len(self.received) < 9 or len(self.received) < 9 + int.from_bytes(self.received[:3]):
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                return None
            self.received += more
        end = 9 + int.from_bytes(self.received[:3])
        found = Frame(self.received[3], self.received[4], struct.unpack(">I", self.received[5:9])[0] & 2**31 - 1, self.received[9:end])
        self.received = self.received[end:]
        if found.kind == SETTINGS and not found.flags & ACK:
            for at in range(0, len(found.payload), 6):
                key, value = struct.unpack(">HI", found.payload[at : at + 6])
                self.server_settings[key] = value
            self.send(settings(flags=ACK))
        if found.kind == HEADERS:  # of every stream: the decoder's table is the connection's
            found.fields = dict(self.decoder.decode(found.payload))
        if found.kind == WINDOW_UPDATE and found.stream == 0:
            self.window += struct.unpack(">I", found.payload)[0]
        if found.kind == PING and not found.flags & ACK:
            self.send(frame(PING, ACK, 0, found.payload))
        return found

    def wait(self, condition):
        """The first frame for which it holds; None if the connection ends before."""
        while (found := self.receive()) is not None:
            if condition(found):
                return found
        return None

    def answer(self, stream):
        """Status and body of the answer on a stream; in place of the status the name of what came instead."""
        status, body = None, b""
        while True:
            found = self.receive()
            if found is None:
                return "closed", body
            if found.kind == GOAWAY and found.code != NO_ERROR:
                return f"GOAWAY {found.code}", body
            if found.stream != stream:
                continue
            if found.kind == HEADERS:
                self.fields = found.fields
                status = int(found.fields.get(":status", status or 0))
            if found.kind == RST_STREAM and status is None:
                return f"RST_STREAM {found.code}", body
            if found.kind == DATA:
                body += found.payload
            if found.kind == RST_STREAM or found.kind in (HEADERS, DATA) and found.flags & END_STREAM:
                return status, body

    def close(self):
        self.socket.close()
