import TestServers

/// What the tests ask of a foreign server: each path behaves in its own way.
let testServer = try! PythonServer(
    handler: #"""
        active, most = 0, 0
        class Handler(Base):
            def handle_any(self):
                global active, most
                url = urllib.parse.urlparse(self.path)
                query = dict(urllib.parse.parse_qsl(url.query))
                body = self.body()
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
        """#)
