"""Covey as a user has it: `covey bench` on the set's files, which searches through the engine's own call."""

import hashlib
import json
import subprocess
import time
from pathlib import Path

from contenders import contenders
from peer import ladder
from vector_set import CACHE, K, VectorSet


class CoveyRunner:
    """Runs a binary's bench, pinned as the libraries are; every run builds its segment anew, with the same options."""

    def __init__(self, binary, pin, options):
        self._binary, self._pin, self._options = Path(binary), pin, options
        if not self._binary.exists():
            raise FileNotFoundError(f"{binary}: no such binary; swift build -c release --product covey makes it")

    def chosen(self, vectors: VectorSet, query, again=False):
        """LISTS:CANDIDATES of the settings worth measuring, after a sweep that is kept for this binary and these options.

        The sweep has the bench's own settings and a grid over both knobs.
        """
        folder = CACHE / "peers" / vectors.name
        key = hashlib.sha256(self._binary.read_bytes() + " ".join(self._options).encode()).hexdigest()[:12]
        path = folder / f"covey-{key}-{query}.jsonl"
        if again or not path.exists():
            lines = list(self.lines(vectors, query, []))
            count = max(line["setting"].get("lists", 256) for line in lines)
            lists = ladder(max(1, count / 2_000), max(16, count / 6), 14)
            lines += self.lines(vectors, query, [f"{probed}:{kept}" for probed in lists for kept in ladder(12, 1_200, 8)])
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        points = [json.loads(line) for line in path.read_text().splitlines()]
        swept = [point for point in points if point["kind"] == "measured" and isinstance(point["setting"].get("probes"), int)]
        return [f"{point['setting']['probes']}:{point['setting']['candidates']}" for point in contenders(swept)]

    def lines(self, vectors: VectorSet, query, settings):
        """Measurements of one run, one for each setting and those that the bench always has.

        Lines are taken as they come: whatever the bench calls its settings is what tells them apart.
        """
        command = [
            *self._pin, str(self._binary), "bench", "--base", str(vectors.base_path), "--query", str(vectors.query_paths[query]),
            "--truth", str(vectors.truth_paths[query]), "--metric", "cosine", "--k", str(K), *self._options,
            *(["--sweep", ",".join(settings)] if settings else []),
        ]
        started = time.monotonic()
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if run.returncode != 0:
            raise RuntimeError(f"covey bench ended with {run.returncode} after {time.monotonic() - started:.0f} s: {run.stderr.strip()[-500:]}")
        for text in run.stdout.splitlines():
            line = json.loads(text) if text.startswith("{") else {}
            if "recall" in line and "qps" in line:
                yield _measurement(line, vectors, query)


def _measurement(line, vectors, query):
    memory, raw = line.get("bytes_per_vector", 0), line.get("raw_bytes_per_vector", 0)
    return {
        "kind": "covey-exact" if line.get("exact") else "measured", "index": "covey", "query": query, "setting": line.get("settings", {}), "config": {},
        "recall": line["recall"], "recall_batch": line.get("recall_batch", line["recall"]), **_rates(line, "qps"), **_rates(line, "qps_batch"),
        "ram_bytes_per_vector": memory, "build_s": line.get("build_s"), "file_mb": round((memory + raw) * vectors.count / 1e6, 2), "line": line,
    }


def _rates(line, name):
    """The median pass where the bench tells it, as for the libraries; and by processor time if it tells that."""
    rates = {name: line.get(f"{name}_median", line.get(name, line["qps"]))}
    if f"{name}_cpu" in line:
        rates[f"{name}_cpu"] = line[f"{name}_cpu"]
    return rates
