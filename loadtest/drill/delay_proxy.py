"""A TCP proxy that passes bytes on after a while, in order: the kernel has no netem everywhere."""

import asyncio
import random


class DelayProxy:
    def __init__(self, target_port, least, most, seed=1):
        self.target_port, self.least, self.most = target_port, least, most
        self.random = random.Random(seed)

    async def start(self):
        self.server = await asyncio.start_server(self._serve, "0.0.0.0", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader, writer):
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            return writer.close()
        await asyncio.gather(self._pass(reader, there[1]), self._pass(there[0], writer), return_exceptions=True)

    async def _pass(self, reader, writer):
        queue = asyncio.Queue()

        async def send():
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0, due - asyncio.get_running_loop().time()))
                if not data:
                    return writer.close()
                writer.write(data)
                await writer.drain()

        sender = asyncio.create_task(send())
        try:
            while True:
                data = await reader.read(1 << 16)
                queue.put_nowait((asyncio.get_running_loop().time() + self.random.uniform(self.least, self.most), data))
                if not data:
                    break
            await sender
        finally:
            sender.cancel()
            writer.close()

    def close(self):
        self.server.close()
