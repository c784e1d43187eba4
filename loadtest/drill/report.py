"""What the clients noticed of each fault, as rows of a table, and what of it breaks a promise."""

from load import between, longest_wait, percentile

#: Promised for the time that a shard takes no writes when its owner dies.
TAKEOVER_P50, TAKEOVER_P99 = 2.0, 5.0
COLUMNS = [
    "fault", "times", "reads sent", "failed", "5xx", "5xx where no older answer may do", "partial", "unverified", "stale", "p99 ms", "writes sent", "failed", "acknowledged", "missing",
    "longest wait of a shard's writes, p50 / p99 s", "recovered after s",
]


class Row:
    """One fault: requests that began between its start and the end of the calm after it."""

    def __init__(self, fault, owned, start, healed, end):
        self.fault, self.owned, self.start, self.healed, self.end = fault, owned, start, healed, end

    def count(self, load, missing):
        reads, writes = between(load.reads, self.start, self.end), between(load.writes, self.start, self.end)
        self.reads = len(reads)
        self.failed_reads = sum(read.status != 200 for read in reads)
        self.errors = sum(len(read.errors) for read in reads if read.consistency != "lookup")
        self.strict_errors = sum(len(read.errors) for read in reads if read.consistency == "lookup")
        self.partial = sum(read.gaps for read in reads)
        self.unverified = sum(read.unverified for read in reads)
        self.stale = sum(read.stale for read in reads)
        self.read_p99 = percentile([read.end - read.start for read in reads], 0.99)
        self.writes = len(writes)
        self.failed_writes = sum(write.status != 200 for write in writes)
        self.acknowledged = sum(write.status == 200 for write in writes)
        self.missing = sum(write.status == 200 and write.id in missing and (missing[write.id] or -1) < write.number for write in writes)
        slow = [row.end for row in reads + writes if row.status != 200 or row.end - row.start > 1]
        self.recovered = max(slow, default=self.start) - self.start
        times = {}
        for write in load.writes:
            if write.status == 200:
                times.setdefault(write.shard, []).append((write.start, write.end))
        shards = self.owned if self.fault.owners else times
        self.waits = [longest_wait(times[shard], self.start, self.end) for shard in shards]
        reasons = load.stale[-4:] if self.stale else []
        reasons += [error.decode(errors="replace")[:300] for read in reads for error in read.errors] + [
            f"write: {error.decode(errors='replace')[:300]}" for write in writes for error in write.errors]
        slowest = sorted(reads + writes, key=lambda row: row.start - row.end)[:4]
        reasons += [f"{type(row).__name__} {row.request} began {row.start - self.start:.2f}, took {row.end - row.start:.2f} s, {row.retries} retries" for row in slowest]
        self.reasons = list(dict.fromkeys(reasons))[:7]

    def line(self):
        waits = ", ".join(f"{wait:.2f}" for wait in sorted(self.waits))
        return (
            f"{self.fault.name} ({', '.join(self.fault.owners)}): reads {self.reads}, failed {self.failed_reads}, 5xx {self.errors} + {self.strict_errors}, partial {self.partial}, unverified {self.unverified}, "
            f"stale {self.stale}, p99 {self.read_p99 * 1000:.0f} ms; writes {self.writes}, failed {self.failed_writes}; waits {waits} s; recovered after "
            f"{self.recovered:.1f} s" + "".join(f"\n          {reason}" for reason in self.reasons))

    def values(self):
        names = ["reads", "failed_reads", "errors", "strict_errors", "partial", "unverified", "stale", "read_p99", "writes", "failed_writes", "acknowledged", "missing", "waits", "recovered"]
        return {"fault": self.fault.name, "owners": self.fault.owners} | {name: getattr(self, name) for name in names}


def table(rows):
    """A Markdown table, one line a kind of fault."""
    kinds = {}
    for row in rows:
        kinds.setdefault(row.fault.name, []).append(row)
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for name, same in kinds.items():
        total = lambda field: sum(getattr(row, field) for row in same)  # noqa: E731
        waits = [wait for row in same for wait in row.waits]
        cells = [
            name, len(same), total("reads"), total("failed_reads"), total("errors"), total("strict_errors"), total("partial"), total("unverified"), total("stale"),
            f"{max(row.read_p99 for row in same) * 1000:.0f}", total("writes"), total("failed_writes"), total("acknowledged"), total("missing"),
            f"{percentile(waits, 0.5):.1f} / {percentile(waits, 0.99):.1f}" if waits else "–", f"{max(row.recovered for row in same):.1f}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


class Takeovers:
    def __init__(self, seconds):
        self.seconds = sorted(seconds)
        self.p50, self.p99 = percentile(seconds, 0.5), percentile(seconds, 0.99)
        self.text = f"Takeovers of {len(seconds)} shards: p50 {self.p50:.2f} s, p99 {self.p99:.2f} s, longest {max(seconds, default=0):.2f} s."


def takeovers(rows):
    """Of each shard whose owner was hit, the longest time that its writes waited and none was acknowledged."""
    return Takeovers([wait for row in rows if row.fault.is_single and any(name.startswith("shard") for name in row.fault.owners) for wait in row.waits])


def problems(rows, summary, missing, verified, is_timed):
    """What was promised and not kept, in words; times only of a run that is told to judge them."""
    found = []
    for row in rows:
        name = f"{row.fault.name} ({', '.join(row.fault.owners)})"
        if row.stale:
            found.append(f"{name}: {row.stale} strong reads did not show a write acknowledged before")
        if row.fault.is_single:
            for count, what in [(row.failed_reads, "reads failed"), (row.errors + row.strict_errors, "replies to reads were 5xx"), (row.partial, "answers were partial"), (row.failed_writes, "writes failed")]:
                if count:
                    found.append(f"{name}: {count} {what}" + (f", the first: {row.reasons[0]}" if row.reasons else ""))
    if is_timed and (summary.p50 > TAKEOVER_P50 or summary.p99 > TAKEOVER_P99):
        found.append(f"takeovers took {summary.p50:.2f} s (p50) and {summary.p99:.2f} s (p99), promised are {TAKEOVER_P50} and {TAKEOVER_P99}")
    if missing:
        found.append(f"{len(missing)} acknowledged writes are missing: {dict(list(missing.items())[:5])}")
    if verified.returncode:
        found.append(f"covey verify ended with {verified.returncode}:\n{verified.stdout[-2_000:]}{verified.stderr[-500:]}")
    return found
