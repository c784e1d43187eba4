"""Builds or measures one index in a process of its own, on the core that it was pinned to: used by `comparison.py`.

One JSON object on standard input: set, peer, config, and `do`:

- `build`: builds and saves the index unless the cache has it; prints its build.json.
- `scout`: runs through the ladders once, on every query file; prints a measurement per setting.
- `measure`: several passes for each of `settings` (a list for each query file); prints a measurement per setting.
- `overhead`: prints the time of a call that finds ten of sixteen vectors, an upper bound of what the language binding costs.
- `exact`: prints queries/s of the exact float32 scan, one query at a time.
"""

import hashlib
import json
import resource
import shutil
import statistics
import sys
import time

import numpy

from peer import K, peer_class
from vector_set import CACHE, RecallJudge, VectorSet, unit

# A recall below this is not on any table; answers/s below this are not worth waiting for.
LOWEST_RECALL, LOWEST_RATE = 0.85, 150


def index_folder(set_name, peer, config):
    key = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    return CACHE / "peers" / set_name / f"{peer}-{key}"


def emit(**line):
    print(json.dumps(line), flush=True)


def build(vectors, name, config):
    folder = index_folder(vectors.name, name, config)
    if not (folder / "build.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        base, peer = vectors.unit_base(), peer_class(name)()
        wall, processor = time.perf_counter(), time.process_time()
        peer.build(base, config)
        # On a busy machine the processor's time of the one thread is the better figure.
        made = {"config": config, "build_wall_s": round(time.perf_counter() - wall, 2), "build_s": round(time.process_time() - processor, 2)}
        made["build_peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
        peer.save(part)
        made["file_mb"] = round(sum(path.stat().st_size for path in part.rglob("*") if path.is_file()) / 1e6, 2)
        (part / "build.json").write_text(json.dumps(made))
        part.rename(folder)
    emit(kind="build", **json.loads((folder / "build.json").read_text()))


def private_bytes():
    """Bytes of this process that no file backs."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


def load(vectors, name, config):
    peer = peer_class(name)()
    before = private_bytes()
    peer.load(index_folder(vectors.name, name, config), config)
    emit(kind="memory", ram_bytes_per_vector=round((private_bytes() - before) / vectors.count, 1))
    return peer


class Timing:
    """Seconds of a call: by the clock, and of the processor, which other work on the machine disturbs less."""

    def __init__(self, run):
        wall, processor = time.perf_counter(), time.process_time()
        self.result = run()
        self.processor, self.wall = time.process_time() - processor, time.perf_counter() - wall


def timed_batch(peer, queries):
    return Timing(lambda: peer.batch(queries))


def timed_singles(peer, prepared):
    one = peer.one
    return Timing(lambda: [one(query) for query in prepared])


def scout(vectors, name, config):
    peer = load(vectors, name, config)
    ladders = peer.ladders(config, vectors.count, vectors.dimension)
    for query_name in vectors.query_paths:
        judge, queries = RecallJudge(vectors, query_name), vectors.unit_queries(query_name)
        prepared, front, near = peer.prepared(queries), [], []
        peer.apply(ladders[0][-1])
        timed_batch(peer, queries[:200])  # pages of the index are in memory after that
        hopeless = 0  # so many first places of a list find too little, whatever the second knob says
        for steps in ladders:
            last = flat = off = 0
            for place, setting in list(enumerate(steps))[hopeless:]:
                peer.apply(setting)
                timing = timed_batch(peer, queries)
                # The ladders are long: the processor's time tells what is worth measuring well, whatever else runs.
                recall, rate = judge.recall(timing.result), len(queries) / timing.processor
                flat = flat + 1 if recall < last + 0.0005 else 0
                last = max(last, recall)
                if recall < LOWEST_RECALL:
                    hopeless = max(hopeless, place + 1) if len(steps) > 1 else 0
                # Single queries are timed where the batch is not far from the best for its recall.
                elif all(rate > 0.75 * other for other_recall, other in front if other_recall >= recall):
                    off = 0
                    front.append((recall, rate))
                    near.append(setting)
                    singles = timed_singles(peer, prepared)
                    emit(
                        kind="scout", query=query_name, setting=setting, recall_batch=recall, qps_batch=rate,
                        recall=judge.recall(numpy.stack(singles.result)), qps=len(queries) / singles.processor,
                    )
                else:
                    off += 1
                if flat >= 2 or (off >= 2 and near and near[-1] in steps) or recall >= 0.998 or rate < LOWEST_RATE:
                    break
        # A further query file has other recalls, but its best settings are among those that were near the best for the first.
        ladders = [[setting] for setting in near]


def measure(vectors, name, config, settings, seconds):
    peer = load(vectors, name, config)
    for query_name, chosen in settings.items():
        judge, queries = RecallJudge(vectors, query_name), vectors.unit_queries(query_name)
        prepared = peer.prepared(queries)
        for setting in chosen:
            peer.apply(setting)
            recall_batch = judge.recall(timed_batch(peer, queries).result)  # warms, too
            recall = judge.recall(numpy.stack(timed_singles(peer, prepared).result))
            rates = {}
            for rate, run in (("qps", lambda: timed_singles(peer, prepared)), ("qps_batch", lambda: timed_batch(peer, queries))):
                passes, begin = [], time.perf_counter()
                while len(passes) < 2 or (time.perf_counter() - begin < seconds and len(passes) < 50):
                    passes.append(run())
                rates[rate] = len(queries) / statistics.median(timing.wall for timing in passes)
                rates[f"{rate}_cpu"] = len(queries) / statistics.median(timing.processor for timing in passes)
            emit(kind="measured", query=query_name, setting=setting, recall=recall, recall_batch=recall_batch, **rates)


def overhead(vectors, name, config):
    few = unit(numpy.random.default_rng(1).standard_normal((16, vectors.dimension), dtype=numpy.float32))
    peer = peer_class(name)()
    peer.build_few(few, config)
    prepared = peer.prepared(few) * 50
    emit(kind="overhead", call_us=round(min(timed_singles(peer, prepared).processor for _ in range(20)) / len(prepared) * 1e6, 2))


def exact(vectors):
    import faiss

    faiss.omp_set_num_threads(1)
    base, queries = vectors.unit_base(), vectors.unit_queries("query")[:100]
    flat = faiss.IndexFlatIP(vectors.dimension)
    flat.add(base)

    def plain(query):
        scores = base @ query[0]
        best = numpy.argpartition(scores, -K)[-K:]
        return best[numpy.argsort(-scores[best])]

    def rates(name, one):
        passes = [Timing(lambda: [one(queries[row : row + 1]) for row in range(len(queries))]) for _ in range(5)]
        wall, processor = (statistics.median(getattr(timing, clock) for timing in passes) for clock in ("wall", "processor"))
        return {name: round(len(queries) / wall, 1), f"{name}_cpu": round(len(queries) / processor, 1)}

    emit(kind="exact", **rates("faiss_flat", lambda query: flat.search(query, K)), **rates("numpy_flat", plain))


def main():
    asked = json.load(sys.stdin)
    vectors = VectorSet(asked["set"])
    match asked["do"]:
        case "build": build(vectors, asked["peer"], asked["config"])
        case "scout": scout(vectors, asked["peer"], asked["config"])
        case "measure": measure(vectors, asked["peer"], asked["config"], asked["settings"], asked["seconds"])
        case "overhead": overhead(vectors, asked["peer"], asked["config"])
        case "exact": exact(vectors)


if __name__ == "__main__":
    main()
