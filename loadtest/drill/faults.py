"""What happens to the cluster, and how it is undone."""

import asyncio
import os
import signal
from dataclasses import dataclass, field
from typing import Awaitable, Callable

from delay_proxy import DelayProxy


@dataclass
class Fault:
    name: str
    begin: Callable[[], Awaitable]
    end: Callable[[], Awaitable]
    seconds: float
    #: Nodes whose shards are expected to be taken over.
    owners: list = field(default_factory=list)
    #: Whether a single node of two replicas, or a coordinator of two, is hit: then no read may fail.
    is_single: bool = True
    #: Least time between the end of this fault and the next.
    calm: float = 5.0


def faults(drill, quick, repeats, only):
    """The faults of a drill, in order."""
    shards, coordinators = ["shard-1", "shard-2", "shard-3"], ["coordinator", "coordinator-2"]
    if quick:
        plan = [kill(drill, "shard-1", "a shard node", 6), stop(drill, "shard-2", "a shard node", 6), kill(drill, "coordinator", "a coordinator", 4)]
    else:
        plan = [kill(drill, name, "a shard node") for _ in range(repeats) for name in shards]
        plan += [kill(drill, name, "a coordinator") for name in coordinators]
        plan += [stop(drill, name, "a shard node") for name in shards]
        plan += [stop(drill, name, "a coordinator") for name in coordinators[:1]]
        if drill.net:
            plan += [cut(drill, name, "a shard node from everything") for name in shards]
            plan += [cut(drill, "shard-1", "a shard node from the coordinators", *coordinators)]
            plan += [cut(drill, "shard-2", "a shard node from the store", "store")]
            plan += [cut(drill, "coordinator", "a coordinator from one shard node", "shard-3")]
            plan += [cut(drill, "coordinator-2", "a coordinator from everything")]
            plan += [mute(drill, name) for name in shards]
            plan += [delay(drill, "shard-1")]
        if drill.has_small_disk:
            plan += [fill_disk(drill, "shard-2")]
        plan += [stop_store(drill), kill_store(drill)]
    return [fault for fault in plan if not only or only in fault.name]


def kill(drill, name, what, seconds=7):
    async def begin():
        await asyncio.to_thread(drill.cluster.kill, name)

    async def end():
        await asyncio.to_thread(drill.cluster.start, name)

    return Fault(f"kill -9 of {what}, started again after {seconds} s", begin, end, seconds, [name])


def stop(drill, name, what, seconds=8):
    async def begin():
        os.kill(drill.cluster.processes[name].pid, signal.SIGSTOP)

    async def end():
        os.kill(drill.cluster.processes[name].pid, signal.SIGCONT)

    return Fault(f"SIGSTOP of {what} for {seconds} s", begin, end, seconds, [name])


def cut(drill, name, what, *others, seconds=8):
    return Fault(f"network cut: {what}, {seconds} s", step(drill.net.cut, name, *others), step(drill.net.heal, name), seconds, [name])


def mute(drill, name, seconds=8):
    return Fault(f"network cut one way: a shard node hears and is not heard, {seconds} s", step(drill.net.mute, name), step(drill.net.heal, name), seconds, [name])


def delay(drill, name, seconds=10):
    proxy = DelayProxy(drill.port(name), 0.05, 0.15)

    async def begin():
        await proxy.start()
        await asyncio.to_thread(drill.net.redirect, name, drill.port(name), proxy.port)

    async def end():
        await asyncio.to_thread(drill.net.restore, name, drill.port(name))
        proxy.close()

    return Fault(f"delay: 50–150 ms each way to a shard node, {seconds} s", begin, end, seconds)


def fill_disk(drill, name, seconds=15):
    ballast = drill.disk / "ballast"

    async def begin():
        def write():
            with open(ballast, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(1 << 16))
                except OSError:
                    pass

        await asyncio.to_thread(write)
        # Seals need the disk; their failure is not the client's.
        begin.sealing = asyncio.create_task(drill.seal())

    async def end():
        ballast.unlink()
        await begin.sealing

    return Fault(f"disk full: the copies of a shard node's segments, sealing meanwhile, {seconds} s", begin, end, seconds, [])


def stop_store(drill, seconds=30):
    return Fault(f"SIGSTOP of the object store for {seconds} s", step(drill.seaweedfs.pause), step(drill.seaweedfs.resume), seconds, [], is_single=False)


def kill_store(drill, seconds=8):
    return Fault(
        f"kill -9 of the object store, started again after {seconds} s", step(drill.seaweedfs.kill), step(drill.seaweedfs.start), seconds, [], is_single=False)


def step(action, *arguments):
    async def run():
        await asyncio.to_thread(action, *arguments)

    return run
