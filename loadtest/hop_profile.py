"""Where the processors' time of some processes goes, by what it is spent in: perf's samples, summed up."""

import collections
import contextlib
import re
import shutil
import subprocess

#: Samples a second of each process: a prime, so that they do not keep step with timers.
FREQUENCY = 997
MODULES = {
    "NIO, Hummingbird": "NIO|Hummingbird|_NIO|HTTP1|HTTPTypes|AsyncAlgorithms|ServiceLifecycle|Atomics|Deque",
    "protobuf": "SwiftProtobuf|Wire", "HTTP/2, gRPC, TLS of ours": "HTTP2|Transport|TLS", "routes and JSON": "Gateway|Model",
    "fan-out and merge": "Coordination|Placement", "shards": "Sharding|Storage", "index": "VectorIndex|VectorMath", "metrics and log": "Observability|Logging",
}
LIBRARIES = {
    r"\[kernel": "kernel: sockets, switches", "libnghttp2": "nghttp2", "libssl|libcrypto": "OpenSSL", "libswift_Concurrency": "Swift tasks",
    "libdispatch": "dispatch", "libswift|libFoundation": "Swift runtime: counting, strings, arrays",
}
MEMORY = re.compile(r"malloc|free|calloc|realloc|unlink_chunk|memmove|memcpy|memset|sysmalloc|tcache|arena")
#: C functions of the program itself.
JSON, KERNELS = re.compile(r"^jk_"), re.compile(r"^(scan|score_bytes|nearest|dot_tables|quantize_tables|encode|keep_\w+|vk_\w+|to_bytes|add_bytes|\w+_(dot|gather|rows)\w*)$")


@contextlib.contextmanager
def profiled(processes, folder):
    """Samples processes, name to id, while the body runs; gives a dictionary that has each one's parts, name to share, afterwards."""
    if not shutil.which("perf"):
        raise SystemExit("perf is missing: apt-get install linux-perf")
    found = {}
    recorders = {
        name: subprocess.Popen(["perf", "record", "-q", "-F", str(FREQUENCY), "-p", str(pid), "-o", f"{folder}/{name}.perf"], stderr=subprocess.DEVNULL)
        for name, pid in processes.items()
    }
    try:
        yield found
    finally:
        for recorder in recorders.values():
            recorder.send_signal(2)
            recorder.wait()
    for name in processes:
        report = subprocess.run(
            ["perf", "report", "-i", f"{folder}/{name}.perf", "--no-children", "--sort", "dso,symbol", "-t", "\t", "--stdio", "-q"],
            check=True, capture_output=True, text=True).stdout
        shares = collections.Counter()
        for line in report.splitlines():
            cells = [cell.strip() for cell in line.split("\t")]
            if len(cells) >= 3 and cells[0].endswith("%"):
                shares[part(cells[1], cells[2].split("] ", 1)[-1])] += float(cells[0][:-1])
        found[name] = shares


def part(library, symbol):
    """What a function belongs to."""
    for pattern, name in LIBRARIES.items():
        if re.search(pattern, library):
            return name
    if "libc" in library:
        return "memory: malloc, free, copies" if MEMORY.search(symbol) else "C library"
    if JSON.match(symbol):
        return "routes and JSON"
    if KERNELS.match(symbol):
        return "index"
    module = re.match(r"\$s(\d+)(\w+)", symbol)
    if module:
        module = module[2][: int(module[1])]
        for name, pattern in MODULES.items():
            if re.match(f"({pattern})", module):
                return name
    return "other"


def table(found):
    """Markdown: a row for each part, the greatest first."""
    names = list(found)
    total = collections.Counter()
    for shares in found.values():
        total.update(shares)
    lines = ["| in | " + " | ".join(f"{name}, %" for name in names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {part} | " + " | ".join(f"{found[name][part]:.1f}" for name in names) + " |" for part, _ in total.most_common()]
    return "\n".join(lines)
