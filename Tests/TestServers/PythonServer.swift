import Foundation

/// A foreign HTTP server for tests: Python's, in a process of its own, on a free port of this machine. It ends with the test process,
/// however that ends.
package final class PythonServer: Sendable {
    /// `http://127.0.0.1:<port>`.
    package let base: String
    private let process: Process

    /// - Parameter handler: Python: methods of a subclass of `Base`, which has `body()`, `reply(status, body, headers)`,
    ///   `start_chunked(kind)` and `chunk(bytes)`; before them, at the left margin, whatever else they need, and `class Handler(Base):`.
    package init(handler: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", "-u", "-c", Self.head + handler + Self.tail]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        process.standardInput = Pipe()  // the server ends when this pipe does
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

    package static let isPossible = ProcessInfo.processInfo.environment["PATH"]?.split(separator: ":")
        .contains { FileManager.default.isExecutableFile(atPath: "\($0)/python3") } ?? false

    private static let head = #"""
        import http.server, json, os, socket, sys, threading, time, urllib.parse
        counts, lock = {}, threading.Lock()
        class Base(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def log_message(self, *_): pass
            def body(self): return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            def reply(self, status, body=b"", headers={}):
                self.send_response(status)
                for name, value in headers.items(): self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD": self.wfile.write(body)
            def start_chunked(self, kind="text/plain"):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
            def chunk(self, bytes): self.wfile.write(b"%x\r\n%s\r\n" % (len(bytes), bytes)); self.wfile.flush()

        """#

    private static let tail = #"""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128  # the default of 5 drops connections of a busy test run
            def handle_error(self, *_): pass
        server = Server(("127.0.0.1", 0), Handler)
        print(server.server_port, flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
        os._exit(0)
        """#
}
