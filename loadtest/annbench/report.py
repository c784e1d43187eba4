"""The table, the ratios and the plot of a file of measurements.

    report.py MEASUREMENTS.jsonl [FOLDER] [--cpu]      prints the tables; with a folder, draws the plots into it

`--cpu`: queries per second of processor time, for a machine that others use too.
"""

import json
import statistics
import sys
from pathlib import Path

from contenders import LEVELS, MODES, best_at, pareto

# Queries/s one at a time and in a batch at the levels, as measured before with a sweep of its own, by set (first query file);
# 0: not reached. A library below that times the machine's factor (exact scan now over exact scan then) is not swept widely enough.
EARLIER = json.loads((Path(__file__).parent / "earlier_figures.json").read_text())


class Measurements:
    """All lines of a file; points are medians over rounds."""

    def __init__(self, path, clock="wall"):
        self.clock = clock
        self.lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
        self.set = self.lines[0]["set"]
        self.run = next(line for line in self.lines if line["kind"] == "run")
        groups = {}
        for line in self.lines:
            if line["kind"] == "measured":
                key = (line["query"], line["index"], json.dumps(line["config"], sort_keys=True), json.dumps(line["setting"], sort_keys=True))
                groups.setdefault(key, []).append(line)
        self.points = {}
        for (query, index, _, _), lines in groups.items():
            numbers = [key for key, value in lines[0].items() if isinstance(value, (int, float)) and key != "round"]
            if clock == "cpu" and "qps_cpu" not in lines[0]:
                continue
            point = lines[0] | {key: statistics.median(line[key] for line in lines if line.get(key) is not None) for key in numbers}
            if clock == "cpu":
                point |= {rate: point[f"{rate}_cpu"] for _, rate in MODES}
            self.points.setdefault(query, {}).setdefault(index, []).append(point)

    def median(self, kind, field):
        field += "_cpu" if self.clock == "cpu" else ""
        values = [line[field] for line in self.lines if line["kind"] == kind and field in line]
        return statistics.median(values) if values else None

    def overhead(self, index):
        """Microseconds of a call of the index's language binding; 0 for Covey, which is measured inside."""
        return next((line["call_us"] for line in self.lines if line["kind"] == "overhead" and line["index"] == index), 0)


def _rate(points, level, recall, rate):
    found = best_at(points, level, recall, rate)
    return found[0][rate] if found else 0


def _shown(value):
    return f"{value:,.0f}" if value else "—"


def text(path, clock="wall"):
    """The report in Markdown."""
    measured = Measurements(path, clock)
    lines = []
    for query, indexes in measured.points.items():
        lines += [f"### {measured.set}, {query} ({measured.run['time']}, {measured.run['rounds']} rounds, one thread{', per processor second' if clock == 'cpu' else ''})", ""]
        lines += _table(measured, indexes) + [""]
        if "covey" in indexes and len(indexes) > 1:
            lines += _ratios(measured, indexes) + [""]
        if query == "query":
            lines += _beside_earlier(measured, indexes)
    return "\n".join(lines)


def _table(measured, indexes):
    levels = " | ".join(f"{level:.2f}" for level in LEVELS)
    lines = [f"| index | MB | RAM bytes a vector | build s | call µs | {levels} |", "|---|---|---|---|---|" + "---|" * len(LEVELS)]
    for index, points in sorted(indexes.items()):
        # Size and build time are those of the index that is fastest at 0.95, else at the highest level reached.
        shown = next(found[0] for level in (0.95, 0.90, 0) if (found := best_at(points, level, *MODES[0])))
        cells = [" / ".join(_shown(_rate(points, level, *mode)) for mode in MODES) for level in LEVELS]
        cells = [cell if cell != "— / —" else "—" for cell in cells]
        ram = shown.get("ram_bytes_per_vector")
        lines.append(
            f"| {index} | {shown['file_mb']:.0f} | {'' if ram is None else f'{ram:.0f}'} | {shown['build_s']:.0f} | {measured.overhead(index):.1f} | "
            f"{' | '.join(cells)} |"
        )
    return lines


def _ratios(measured, indexes):
    lines = ["Covey to the best library, queries/s (one at a time: beside it, if the library's call cost nothing):", ""]
    for recall, rate in MODES:
        cells = []
        for level in LEVELS:
            ours = _rate(indexes["covey"], level, recall, rate)
            theirs, name = max((_rate(points, level, recall, rate), index) for index, points in indexes.items() if index != "covey")
            if not theirs:
                cells.append(f"{level:.2f}: no library reaches it")
                continue
            if not ours:
                cells.append(f"{level:.2f}: not reached ({name} does)")
                continue
            cell = f"{level:.2f}: {ours / theirs:.2f} of {name}"
            if rate == "qps":
                free = max(
                    (1 / max(1e-9, 1 / found - measured.overhead(index) / 1e6), index)
                    for index, points in indexes.items() if index != "covey" and (found := _rate(points, level, recall, rate))
                )
                cell += f" ({ours / free[0]:.2f} of {free[1]})"
            cells.append(cell)
        lines.append(f"- {'one at a time' if rate == 'qps' else 'batch'}: " + "; ".join(cells))
    return lines


def _beside_earlier(measured, indexes):
    """Whether each library does what it did before: its rates over the earlier ones, beside the machine's factor."""
    scans = {name: measured.median("exact", name) for name in ("faiss_flat", "numpy_flat")}
    lines = [
        f"Exact float32 scan of ann-minilm-384, one query at a time, earlier {EARLIER['exact_scan']}/s: "
        + ", ".join(f"{name} {rate:.0f}/s (factor {rate / EARLIER['exact_scan']:.2f})" for name, rate in scans.items() if rate)
    ]
    for index, earlier in EARLIER["sets"].get(measured.set, {}).items():
        cells = [
            f"{_rate(indexes[index], level, *mode) / before:.2f}"
            for level, rates in zip(LEVELS, earlier) for mode, before in zip(MODES, rates) if index in indexes and before
        ]
        if cells:
            lines.append(f"- {index}, over its earlier rates, cell by cell: {' '.join(cells)}")
    return [*lines, ""]


def plots(path, folder, clock="wall"):
    """Draws recall against queries/s, one file for each query file; gives the paths."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "covey"
    from matplotlib import pyplot

    measured = Measurements(path, clock)
    for query, indexes in measured.points.items():
        figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.6), sharey=True)
        for panel, (recall, rate), title in zip(panels, MODES, ("one query at a time", "one batch")):
            for number, (index, points) in enumerate(sorted(indexes.items(), key=lambda entry: entry[0] != "covey")):
                front = [point for point in pareto(points, recall, rate) if point[recall] >= 0.8]
                style = {"color": "black", "linewidth": 2.2, "zorder": 5} if index == "covey" else {"color": f"C{(number - 1) % 10}", "linewidth": 1.2}
                panel.plot([point[recall] for point in front], [point[rate] for point in front], marker=".", label=index, **style)
            panel.set(title=title, xlabel="recall@10", yscale="log", xlim=(0.85, 1.0))
            panel.grid(True, which="both", linewidth=0.3)
        panels[0].set_ylabel("queries/s, one thread")
        panels[1].legend(fontsize=8, loc="lower left")
        figure.suptitle(f"{measured.set}, {query}, {measured.run['time']}", fontsize=10)
        figure.tight_layout()
        target = Path(folder) / f"{measured.set}-{query}.svg"
        figure.savefig(target, metadata={"Date": None})
        pyplot.close(figure)
        yield target


if __name__ == "__main__":
    files = [argument for argument in sys.argv[1:] if argument != "--cpu"]
    chosen = "cpu" if "--cpu" in sys.argv else "wall"
    print(text(files[0], chosen))
    for plot in plots(*files, chosen) if len(files) > 1 else ():
        print(f"plot: {plot}")
