"""Covey as a user has it: `covey bench` on the set's files, which searches through the engine's own call."""

import json
import subprocess
import time
from pathlib import Path

from vector_set import K, VectorSet

# Vectors up to which Covey's exact scan is timed, too: beyond, it would take longer than all else.
MOST_EXACT = 300_000
# Recalls to aim at: closer where ratios are told, since what is reached differs by some thousandths.
TARGETS = (0.8, 0.85, 0.88, 0.9, 0.905, 0.91, 0.92, 0.94, 0.95, 0.955, 0.96, 0.97, 0.98, 0.985, 0.99, 0.992, 0.994, 0.995, 0.996, 0.997)


class CoveyRunner:
    """Runs a binary's bench, pinned as the libraries are; every run builds its segment anew, with the same options."""

    def __init__(self, binary, pin, options):
        self._binary, self._pin, self._options = Path(binary), pin, options
        if not self._binary.exists():
            raise FileNotFoundError(f"{binary}: no such binary; swift build -c release --product covey makes it")

    def lines(self, vectors: VectorSet, query):
        """Measurements of one run, one for each recall aimed at and those that the bench always has.

        Lines are taken as they come: whatever the bench calls its settings is what tells them apart.
        """
        command = [
            *self._pin, str(self._binary), "bench", "--base", str(vectors.base_path), "--query", str(vectors.query_paths[query]),
            "--truth", str(vectors.truth_paths[query]), "--metric", "cosine", "--k", str(K), *self._options,
            "--sweep", ",".join(map(str, TARGETS)), *(["--no-exact"] if vectors.count > MOST_EXACT else []),
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
        "kind": "covey-exact" if line.get("settings", {}).get("exact") else "measured", "index": "covey", "query": query, "setting": line.get("settings", {}), "config": {},
        "recall": line["recall"], "recall_batch": line.get("recall_batch", line["recall"]), **_rates(line, "qps"), **_rates(line, "qps_batch"),
        "ram_bytes_per_vector": memory, "build_s": line.get("build_s"), "file_mb": round((memory + raw) * vectors.count / 1e6, 2), "line": line,
    }


def _rates(line, name):
    """The median pass where the bench tells it, as for the libraries; and by processor time if it tells that."""
    rates = {name: line.get(f"{name}_median", line.get(name, line["qps"]))}
    if f"{name}_cpu" in line:
        rates[f"{name}_cpu"] = line[f"{name}_cpu"]
    return rates
