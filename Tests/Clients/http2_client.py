"""A client of HTTP/2 that does what a test says, frame by frame: the library `h2` on a socket, in plaintext or in TLS."""

import json
import socket
import ssl
from urllib.parse import urlparse

import h2.config
import h2.connection
import h2.errors
import h2.events


class HTTP2Client:
    def __init__(self, url, authority=None, timeout=60):
        at = urlparse(url)
        self.authority = at.netloc
        self.socket = socket.create_connection((at.hostname, at.port), timeout=timeout)
        if authority:
            context = ssl.create_default_context(cafile=authority)
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket, server_hostname=at.hostname)
            assert self.socket.selected_alpn_protocol() == "h2"
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.connection.initiate_connection()
        self.scheme = at.scheme
        self.flush()
        # By stream: head, body so far, trailers, `ended` or the code of a reset.
        self.streams = {}
        self.goaways = []
        # Whether what arrives is let go on.
        self.is_reading = True
        self.is_closed = False

    def flush(self):
        self.socket.sendall(self.connection.data_to_send())

    def request(self, method, path, body=None, headers=(), end=True):
        """Sends a request's headers, and its body if there is one; returns its stream."""
        stream = self.connection.get_next_available_stream_id()
        head = [(":method", method), (":scheme", self.scheme), (":authority", self.authority), (":path", path), *headers]
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            head.append(("content-type", "application/json"))
        self.connection.send_headers(stream, head, end_stream=end and body is None)
        if body is not None:
            self.send(stream, body, end)
        self.flush()
        self.streams[stream] = {"head": None, "body": b"", "trailers": None, "end": None}
        return stream

    def send(self, stream, body, end=True):
        """Sends all of a body, as the server's windows let it."""
        while body:
            room = min(self.connection.local_flow_control_window(stream), self.connection.max_outbound_frame_size)
            if room == 0:
                self.receive()
                continue
            self.connection.send_data(stream, body[:room])
            body = body[room:]
            self.flush()
        if end:
            self.connection.end_stream(stream)
        self.flush()

    def receive(self):
        """Waits for bytes and takes them; False at the end of the connection."""
        data = self.socket.recv(65536)
        if not data:
            self.is_closed = True
            return False
        for event in self.connection.receive_data(data):
            at = self.streams.get(getattr(event, "stream_id", None), {})
            match event:
                case h2.events.ResponseReceived():
                    at["head"] = dict(event.headers)
                case h2.events.DataReceived():
                    at["body"] += event.data
                    if self.is_reading:
                        self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.TrailersReceived():
                    at["trailers"] = dict(event.headers)
                case h2.events.StreamEnded():
                    at["end"] = "ended"
                case h2.events.StreamReset():
                    at["end"] = event.error_code
                case h2.events.ConnectionTerminated():
                    self.goaways.append((event.last_stream_id, event.error_code))
        self.flush()
        return True

    def wait(self, condition):
        while not condition():
            assert self.receive(), f"the connection ended: {self.streams} {self.goaways}"

    def finish(self, stream):
        """The response to a request, once it has ended."""
        at = self.streams[stream]
        self.wait(lambda: at["end"] is not None)
        return at

    def call(self, method, path, body=None, headers=()):
        """Status and JSON of a request."""
        at = self.finish(self.request(method, path, body, headers))
        return int(at["head"][":status"]), json.loads(at["body"]) if at["body"] else None

    def reset(self, stream):
        self.connection.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        self.flush()

    def close(self):
        self.socket.close()
