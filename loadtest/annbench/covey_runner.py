"""Covey as a user has it: `covey bench` on the set's files, which searches through the engine's own call."""

import json
import os
import subprocess
import time

from vector_set import K, VectorSet


def covey_lines(binary, pin, vectors: VectorSet, query, options=()):
    """Measurements of one run of the bench, one for each of its settings. It builds its segment anew.

    Lines are taken as they come: whatever the bench calls its settings is what tells them apart.
    """
    command = [
        *pin, str(binary), "bench", "--base", str(vectors.base_path), "--query", str(vectors.query_paths[query]),
        "--truth", str(vectors.truth_paths[query]), "--metric", "cosine", "--k", str(K), *options,
    ]
    started = time.monotonic()
    # One thread: pinned to one core the bench sees one, and batches share no more.
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"LC_ALL": "C"})
    if run.returncode != 0:
        raise RuntimeError(f"covey bench ended with {run.returncode} after {time.monotonic() - started:.0f} s: {run.stderr.strip()[-500:]}")
    for text in run.stdout.splitlines():
        if not text.startswith("{"):
            continue
        line = json.loads(text)
        if "recall" not in line or "qps" not in line:
            continue
        exact = bool(line.get("exact"))
        yield {
            "kind": "covey-exact" if exact else "measured", "index": "covey", "query": query, "setting": line.get("settings", {}), "config": {},
            "recall": line["recall"], "recall_batch": line.get("recall_batch", line["recall"]),
            **_rates(line, "qps"), **_rates(line, "qps_batch"),
            "ram_bytes_per_vector": line.get("bytes_per_vector"), "build_s": line.get("build_s"),
            "file_mb": round((line.get("bytes_per_vector", 0) + line.get("raw_bytes_per_vector", 0)) * vectors.count / 1e6, 2), "line": line,
        }


def _rates(line, name):
    """The median pass where the bench tells it, as for the libraries; and by processor time if it tells that."""
    rates = {name: line.get(f"{name}_median", line.get(name, line["qps"]))}
    if f"{name}_cpu" in line:
        rates[f"{name}_cpu"] = line[f"{name}_cpu"]
    return rates
