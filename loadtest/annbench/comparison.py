"""Runs index libraries and Covey on the same vectors, queries and core, in turn: what `loadtest/peers` starts.

Four steps, each one's results kept in the cache folder: build every index once; scout every setting once, by processor time;
then rounds, each of which measures the exact scan (how fast is the machine now?), every library's contenders and Covey, in an
order that turns, so that the machine's drift falls on all; then the report. The figures are medians over rounds.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import report
from contenders import contenders
from covey_runner import CoveyRunner
from peer import PEERS, peer_class
from vector_set import CACHE, ROOT, VectorSet
from worker import index_folder

HERE = Path(__file__).resolve().parent
SETS = ("ann-minilm-384", "ann-glove-50", "debian-docs-256")
# Exact scans are told on this one, whatever set is measured: earlier figures name its rate.
REFERENCE_SET = "ann-minilm-384"


class Comparison:
    def __init__(self, arguments):
        self._arguments = arguments
        self._names = arguments.only.split(",") if arguments.only else [*PEERS, "covey"]
        for name in self._names:
            if name != "covey":
                peer_class(name)
        self._pin = ["taskset", "-c", str(arguments.core)]
        self._covey = CoveyRunner(arguments.covey, self._pin, arguments.covey_options.split()) if "covey" in self._names else None
        self._out = Path(arguments.out)
        self._out.mkdir(parents=True, exist_ok=True)

    def run(self, set_name):
        vectors = VectorSet(set_name)
        indexes = [(name, config) for name in self._names if name != "covey" for config in self._configs(name, vectors)]
        facts = {}
        for name, config in indexes:
            [built] = self._worker(vectors, name, config, "build")
            facts[name, json.dumps(config)] = built
        scouted = {}
        for name, config in indexes:
            for point in self._scout(vectors, name, config):
                if point["kind"] == "scout":
                    scouted.setdefault((name, point["query"]), []).append(point | {"config": config})
        settings = {}
        for (name, query), points in scouted.items():
            for point in contenders(points):
                settings.setdefault((name, json.dumps(point["config"])), {}).setdefault(query, []).append(point["setting"])

        path = self._out / f"{set_name}.jsonl"
        with open(path, "w") as file:
            def note(line):
                file.write(json.dumps({"set": set_name} | line) + "\n")
                file.flush()

            note({"kind": "run", "time": time.strftime("%Y-%m-%d %H:%M"), "rounds": self._arguments.rounds, "core": self._arguments.core})
            if not self._arguments.rounds:
                for (name, query), points in scouted.items():
                    for point in points:
                        rates = {f"{rate}_cpu": point[rate] for rate in ("qps", "qps_batch")}
                        built = facts[name, json.dumps(point["config"])]
                        note(point | rates | {"kind": "measured", "index": name, "build_s": built["build_s"], "file_mb": built["file_mb"]})
            for name in dict.fromkeys(name for name, _ in indexes):
                config = next(config for other, config in indexes if other == name)
                for line in self._worker(vectors, name, config, "overhead"):
                    note(line | {"index": name})
            for round_number in range(self._arguments.rounds):
                for line in self._worker(VectorSet(REFERENCE_SET), None, None, "exact"):
                    note(line | {"round": round_number})
                turn = round_number * len(self._names) // max(1, self._arguments.rounds)
                for name in self._names[turn:] + self._names[:turn]:
                    self._say(f"{set_name}: round {round_number + 1} of {self._arguments.rounds}: {name}")
                    for line in self._measured(vectors, name, settings, facts):
                        note(line | {"round": round_number})
        clock = "wall" if self._arguments.rounds else "cpu"
        print(report.text(path, clock), flush=True)
        for plot in report.plots(path, self._out, clock):
            print(f"plot: {plot}")
        print(f"measurements: {path}")

    def _measured(self, vectors, name, settings, facts):
        if name == "covey":
            for query in vectors.query_paths:
                yield from self._covey.lines(vectors, query)
            return
        for (other, config), chosen in settings.items():
            if other != name:
                continue
            ram = None
            for line in self._worker(vectors, name, json.loads(config), "measure", settings=chosen, seconds=self._arguments.seconds):
                if line["kind"] == "memory":
                    ram = line["ram_bytes_per_vector"]
                else:
                    built = facts[name, config]
                    yield line | {
                        "index": name, "config": built["config"], "ram_bytes_per_vector": ram, "build_s": built["build_s"], "file_mb": built["file_mb"],
                    }

    def _configs(self, name, vectors):
        configs = peer_class(name).configs(vectors.count, vectors.dimension)
        return configs[:1] if self._arguments.quick else configs

    def _scout(self, vectors, name, config):
        path = index_folder(vectors.name, name, config) / "scout.jsonl"
        if not path.exists() or self._arguments.scout_again:
            self._say(f"{vectors.name}: sweeping {name} {json.dumps(config)}")
            lines = self._worker(vectors, name, config, "scout")
            path.with_suffix(".part").write_text("".join(json.dumps(line) + "\n" for line in lines))
            path.with_suffix(".part").rename(path)
        return [json.loads(line) for line in path.read_text().splitlines()]

    def _worker(self, vectors, name, config, do, **more):
        asked = {"set": vectors.name, "peer": name, "config": config, "do": do} | more
        # One thread for every library, and BLAS kernels of this processor, not those an environment asks for.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS_")}
        environment |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        if do == "build" and not (index_folder(vectors.name, name, config) / "build.json").exists():
            self._say(f"{vectors.name}: building {name} {json.dumps(config)}")
        run = subprocess.run(
            [*self._pin, sys.executable, str(HERE / "worker.py")], input=json.dumps(asked), env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        if run.returncode != 0:
            sys.exit(f"{name} {json.dumps(config)} on {vectors.name}: {do} ended with {run.returncode}: {run.stderr.strip()[-1500:]}")
        return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]

    @staticmethod
    def _say(text):
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(prog="loadtest/peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default=",".join(SETS), help="sets, separated by commas (default: %(default)s)")
    parser.add_argument("--only", help=f"indexes, separated by commas, of: covey,{','.join(PEERS)}")
    parser.add_argument("--rounds", type=int, default=3, help="0: only build and sweep, and report the sweeps by processor time (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one way to build each index and one round, to see that everything runs")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each setting, mode and round (default: %(default)s; at least 2 passes)")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the core that all are pinned to (default: %(default)s)")
    parser.add_argument("--covey", default=str(ROOT / ".build" / "release" / "covey"), help="its binary (default: %(default)s)")
    parser.add_argument("--covey-options", default="", help="more options of covey bench, one way to build for all that is measured")
    parser.add_argument("--scout-again", action="store_true", help="sweep anew what earlier runs swept")
    parser.add_argument("--out", default=str(CACHE / "peers" / "results"), help="folder of measurements and plots (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds = 1
    comparison = Comparison(arguments)
    for name in arguments.set.split(","):
        comparison.run(name)


if __name__ == "__main__":
    main()
