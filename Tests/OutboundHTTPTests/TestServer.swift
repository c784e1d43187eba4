import Foundation

/// A foreign HTTP server for the tests: Python's, in a process of its own, on a free port of this machine.
final class TestServer: Sendable {
    let base: String
    private let process: Process

    init() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", "-u", "-c", Self.program]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        // It ends when this pipe does: with the test process, however that ends.
        process.standardInput = Pipe()
        try process.run()
        self.process = process
        var line = Data()
        while line.last != UInt8(ascii: "\n") {
            let bytes = output.fileHandleForReading.availableData
            guard !bytes.isEmpty else { throw CocoaError(.executableLoad) }
            line += bytes
        }
        base = "http://127.0.0.1:" + String(decoding: line.dropLast(), as: UTF8.self)
    }
    deinit { process.terminate() }

    static let isPossible = ProcessInfo.processInfo.environment["PATH"]?.split(separator: ":")
        .contains { FileManager.default.isExecutableFile(atPath: "\($0)/python3") } ?? false

    private static let program = #"""
        import http.server, json, os, socket, sys, threading, time, urllib.parse

        counts, lock = {}, threading.Lock()
        active, most = 0, 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def log_message(self, *_): pass
            def reply(self, status, body=b"", headers={}):
                self.send_response(status)
                for name, value in headers.items(): self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD": self.wfile.write(body)
            def chunk(self, bytes): self.wfile.write(b"%x\r\n%s\r\n" % (len(bytes), bytes)); self.wfile.flush()
            def start_chunked(self, kind="text/plain"):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
            def handle_any(self):
                global active, most
                url = urllib.parse.urlparse(self.path)
                query = dict(urllib.parse.parse_qsl(url.query))
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if url.path == "/echo":
                    self.reply(200, json.dumps({"method": self.command, "body": body.decode("latin-1"),
                        "headers": [[name.lower(), value] for name, value in self.headers.items()]}).encode(),
                        {"X-Answer": "yes", "X-Empty": ""})
                elif url.path == "/status":
                    code = int(query["code"])
                    self.reply(code, b"" if code == 204 else b"the body", {"Location": "/echo"})
                elif url.path == "/bytes": self.reply(200, b"x" * int(query["count"]))
                elif url.path == "/endless":
                    self.start_chunked()
                    sent = 0
                    try:
                        while True:
                            self.chunk(b"y" * 65536)
                            sent += 65536
                            with lock: counts[query["id"]] = sent
                    except OSError:
                        with lock: counts[query["id"]] = -sent
                        self.close_connection = True
                elif url.path == "/count":
                    with lock: text = str(counts.get(query["id"], 0)).encode()
                    self.reply(200, text)
                elif url.path == "/silent":
                    if "head" in query: self.start_chunked(); self.chunk(b"a")
                    self.connection.settimeout(30)
                    try: self.connection.recv(1)
                    except OSError: pass
                    self.close_connection = True
                elif url.path == "/broken":
                    self.send_response(200); self.send_header("Content-Length", "100"); self.end_headers()
                    self.wfile.write(b"only this"); self.close_connection = True
                elif url.path == "/hangup": self.close_connection = True; self.connection.shutdown(socket.SHUT_RDWR)
                elif url.path == "/noise": self.wfile.write(b"\x00\x01 this is not HTTP\r\n\r\n"); self.close_connection = True
                elif url.path == "/headers":
                    self.send_response(200)
                    for i in range(90): self.send_header("X-%d" % i, "h" * 4000)
                    self.send_header("Content-Length", "0"); self.end_headers()
                elif url.path == "/events":
                    self.start_chunked("text/event-stream")
                    for i in range(3): self.chunk(b"data: %d\n" % i); self.chunk(b"\n")
                    self.chunk(b"data: [DONE]\n\n"); self.wfile.write(b"0\r\n\r\n")
                elif url.path == "/together":
                    with lock: active += 1; most = max(most, active)
                    time.sleep(0.02)
                    with lock: active -= 1
                    self.reply(200, str(most).encode())
                else: self.reply(404)
            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = handle_any

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128
            def handle_error(self, *_): pass

        server = Server(("127.0.0.1", 0), Handler)
        print(server.server_port, flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
        os._exit(0)
        """#
}
