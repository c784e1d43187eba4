"""Readers and writers at a rate that does not depend on the answers, and what became of each request."""

import asyncio
import bisect
import collections
import itertools
import json
import random
import time
import uuid

DIMENSION = 64
#: Requests under way at most; those beyond are counted, not sent.
LIMIT = 4_000
#: Share of the requests that write; of these, a quarter overwrites.
WRITES = 0.2
READ_SECONDS, READ_ATTEMPT = 10.0, 3.0
WRITE_SECONDS, WRITE_ATTEMPT = 60.0, 3.0

READS = [("strong", 0.45), ("bounded:1000", 0.15), ("eventual", 0.15), ("lookup", 0.25)]

Read = collections.namedtuple("Read", "start end consistency status errors retries gaps unverified stale request")
Write = collections.namedtuple("Write", "start end status errors retries id number shard node request")


class Load:
    """Points have a number in their payload, which grows with each write of the same id; no two writes of an id are under way at once."""

    def __init__(self, client, collection, seed=1):
        self.client, self.collection = client, collection
        self.random = random.Random(seed)
        self.reads, self.writes = [], []
        #: Of each id, the last number that was acknowledged; and since when.
        self.acknowledged, self.known = {}, []
        self.busy, self.stale = set(), []
        self.next_id, self.number = 1_000_000, 0
        self.rate, self.unsent = 0.0, 0
        self.tasks = set()
        vectors = [[round(self.random.gauss(0, 1), 3) for _ in range(DIMENSION)] for _ in range(256)]
        self.vectors = [json.dumps(vector) for vector in vectors]
        self.queries = [f'{{"query":{text},"limit":10}}'.encode() for text in self.vectors]

    async def run(self, stopped):
        """Sends requests at `rate` a second, spaced at random, until told to stop; then waits for those under way."""
        due = time.monotonic()
        while not stopped.is_set():
            now = time.monotonic()
            if self.rate <= 0:
                due = now
                await asyncio.sleep(0.01)
                continue
            while due <= now:
                due += self.random.expovariate(self.rate)
                if len(self.tasks) >= LIMIT:
                    self.unsent += 1
                    continue
                task = asyncio.create_task(self._write() if self.random.random() < WRITES else self._read())
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
            await asyncio.sleep(max(0.0, min(due - time.monotonic(), 0.02)))
        await self.drain()

    async def drain(self):
        while self.tasks:
            await asyncio.wait(set(self.tasks))

    async def _read(self):
        chance, kind = self.random.random(), READS[-1][0]
        for word, share in READS:
            chance -= share
            if chance < 0:
                kind = word
                break
        path, body, expected = f"/collections/{self.collection}/points", self.random.choice(self.queries), None
        if kind == "lookup" and self.known:
            # A strong read of a write that was acknowledged before sees it.
            id = self.known[self.random.randrange(len(self.known))]
            expected, body = self.acknowledged[id], b'{"ids":[%d]}' % id
        else:
            kind = "strong" if kind == "lookup" else kind
            # With `degrade`, which a search has unless told otherwise: an older answer, named as such, is better than none.
            path += f"/query?consistency={kind}"
        start, request = time.monotonic(), uuid.uuid4().hex
        reply = await self.client.call("POST", path, body, request, READ_ATTEMPT, READ_SECONDS)
        gaps = unverified = stale = False
        if reply.status == 200:
            result = json.loads(reply.body)
            if expected is None:
                coverage = result["covey"]["coverage"]
                gaps, unverified = not coverage["complete"], bool(coverage["unverified"])
            else:
                points = result["result"]
                stale = not points or points[0]["payload"]["n"] < expected
                if stale:
                    self.stale.append(f"{request}: point {id} had been acknowledged with n = {expected} before, the read shows {points and points[0]['payload']}")
        self.reads.append(Read(start, time.monotonic(), kind, reply.status, reply.errors, reply.retries, gaps, unverified, stale, request))

    async def _write(self):
        id = None
        if self.known and self.random.random() < 0.25:
            id = self.known[self.random.randrange(len(self.known))]
            if id in self.busy:
                id = None
        if id is None:
            id = self.next_id
            self.next_id += 1
        self.number += 1
        number = self.number
        self.busy.add(id)
        body = f'{{"points":[{{"id":{id},"vector":{self.random.choice(self.vectors)},"payload":{{"n":{number}}}}}]}}'.encode()
        start, request = time.monotonic(), uuid.uuid4().hex
        reply = await self.client.call(
            "PUT", f"/collections/{self.collection}/points?wait=true", body, request, WRITE_ATTEMPT, WRITE_SECONDS)
        shard = node = None
        if reply.status == 200:
            (part,) = json.loads(reply.body)["covey"]["shards"]
            shard, node = part["shard"], part["node"]
            if id not in self.acknowledged:
                self.known.append(id)
            self.acknowledged[id] = number
            self.busy.discard(id)
        # An id whose write has no outcome is left alone: the write may take effect later.
        self.writes.append(Write(start, time.monotonic(), reply.status, reply.errors, reply.retries, id, number, shard, node, request))

    def owners(self):
        """Of each shard, the node that acknowledged its last write."""
        owners = {}
        for write in reversed(self.writes[-5_000:]):
            if write.status == 200:
                owners.setdefault(write.shard, write.node)
        return owners


def percentile(values, share):
    """The smallest value that at least this share of them does not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def between(rows, start, end):
    """Requests that began in a span of time."""
    return [row for row in rows if start <= row.start < end]


def longest_wait(writes, start, end):
    """Longest time in a span that a shard let a write wait and acknowledged none, given the (start, end) of its acknowledged writes.

    A time in which nobody wrote is not one: at a low rate most of the time between two acknowledgements is of that kind.
    """
    ends = sorted(finish for _, finish in writes)
    #: Of the writes that end at a place in `ends` or later, the earliest start.
    waiting = list(itertools.accumulate((begin for begin, _ in sorted(writes, key=lambda write: -write[1])), min))[::-1]
    longest = 0.0
    for index in range(bisect.bisect_left(ends, start), len(ends)):
        since = max(start, waiting[index], ends[index - 1] if index else start)
        longest = max(longest, min(ends[index], end) - since)
    return longest
