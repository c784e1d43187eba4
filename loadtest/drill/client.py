"""A client of several coordinators: keeps connections, and asks another coordinator when one does not answer or says 5xx."""

import asyncio
import collections
import itertools
import random
import time

#: Time for which a coordinator that did not answer is spared, but for one request.
REST_SECONDS = 2.0


class Reply:
    __slots__ = ("status", "body", "errors", "retries")

    def __init__(self, status, body, errors, retries):
        #: 0 if nobody answered in time.
        self.status, self.body = status, body
        #: Bodies of replies with status 5xx or 429 on the way.
        self.errors = errors
        #: Attempts that ended without a reply.
        self.retries = retries


class Client:
    def __init__(self, ports):
        self.ports = list(ports)
        self.idle = {port: collections.deque() for port in ports}
        self.rest = dict.fromkeys(ports, 0.0)
        self.turn = itertools.count()

    async def call(self, method, path, body, request_id, attempt_seconds, seconds):
        """One request to whichever coordinator answers it; the same key each time, so that a write takes effect once."""
        end = time.monotonic() + seconds
        errors, retries, reply = [], 0, (0, b"")
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: drill\r\ncontent-type: application/json\r\nx-request-id: {request_id}\r\n"
            f"idempotency-key: {request_id}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        ).encode()
        asked, pause = [], 0.05
        while (now := time.monotonic()) < end:
            port = self._choose(asked, now)
            if len(asked) >= len(self.ports):
                asked = []
                await asyncio.sleep(pause)
                pause = 0.05
            asked.append(port)
            try:
                async with asyncio.timeout(min(attempt_seconds, end - now)):
                    *reply, retry_after = await self._exchange(port, head + body)
            except (OSError, EOFError, asyncio.TimeoutError, ValueError):
                retries += 1
                self.rest[port] = time.monotonic() + REST_SECONDS
                continue
            self.rest[port] = 0.0
            if reply[0] < 500 and reply[0] != 429:
                return Reply(*reply, errors, retries)
            errors.append(reply[1])
            # As a service asks its clients to; each a little different.
            pause = max(0.05, retry_after * random.uniform(0.5, 1))
        return Reply(*reply, errors, retries) if errors else Reply(0, b"", errors, retries)

    def _choose(self, asked, now):
        """One that was not asked yet, in turn; those that did not answer lately come last, but for one request in a while that tries."""
        candidates = [port for port in self.ports if port not in asked] or self.ports
        rested = [port for port in candidates if self.rest[port] <= now]
        port = rested[next(self.turn) % len(rested)] if rested else min(candidates, key=self.rest.get)
        if self.rest[port]:
            # Until it has answered, the others go on sparing it.
            self.rest[port] = now + REST_SECONDS
        return port

    async def _exchange(self, port, request):
        connection = None
        while self.idle[port] and connection is None:
            connection = self.idle[port].pop()
            if connection[0].at_eof():
                connection[1].close()
                connection = None
        reader, writer = connection or await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            status = int(head[9:12])
            start = head.index(b"content-length:") + 15
            body = await reader.readexactly(int(head[start : head.index(b"\r\n", start)]))
            retry_after = head.partition(b"retry-after:")[2].partition(b"\r\n")[0]
        except BaseException:
            writer.close()
            raise
        self.idle[port].append((reader, writer))
        return status, body, float(retry_after or 0)

    def close(self):
        for connections in self.idle.values():
            for _, writer in connections:
                writer.close()
