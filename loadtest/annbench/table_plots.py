"""Draws the tables of filters and of growth in docs/performance.md, which `loadtest/index` made.

    table_plots.py docs/performance.md docs/images
"""

import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "covey"
from matplotlib import pyplot


def tables(text):
    """Each Markdown table as its rows, by column."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        header, _, *rows = ([cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines())
        yield [dict(zip(header, row)) for row in rows]


def table(text, column):
    return next(rows for rows in tables(text) if column in rows[0])


def number(cell):
    """The first number of a cell."""
    return float(re.search(r"[\d.]+", cell.replace(",", ""))[0])


def panel(axes, title, x, y, **scales):
    axes.set(title=title, xlabel=x, ylabel=y, **scales)
    axes.grid(True, which="both", linewidth=0.3)


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    print(f"plot: {path}")


def filters(rows, path):
    names = list(dict.fromkeys(row["set"] for row in rows))
    figure, panels = pyplot.subplots(len(names), 3, figsize=(13, 4 * len(names)), squeeze=False)
    figures = (("recall@10", "recall@10", "linear", 0.95), ("over scoring the admitted", "queries/s × of scoring the admitted", "log", 1), ("over no filter", "queries/s × of no filter", "log", 0.5))
    for name, row_of_panels in zip(names, panels):
        for axes, (column, label, scale, promised) in zip(row_of_panels, figures):
            for place in ("scattered", "near", "elsewhere", "far"):
                points = sorted((number(row["admitted"]), number(row[column])) for row in rows if row["set"] == name and row["where"] == place)
                axes.plot(*zip(*points), marker=".", label=place)
            axes.axhline(promised, color="black", linewidth=0.8, linestyle="--")
            panel(axes, name.strip("`"), "rows admitted, %", label, xscale="log", yscale=scale)
    panels[0][0].legend(fontsize=8)
    save(figure, path)


def growth(rows, path):
    rows = [row for row in rows if re.fullmatch(r"`growth-\d+m`", row["set"])]
    count = lambda row: number(row["set"]) * 1e6
    figure, panels = pyplot.subplots(1, 3, figsize=(13, 4))
    for target in sorted({row["aimed at"] for row in rows}):
        points = sorted((count(row), number(row["queries/s"])) for row in rows if row["aimed at"] == target)
        line, = panels[0].plot(*zip(*points), marker=".", label=f"aimed at {target}")
        first = points[0]
        panels[0].plot([each[0] for each in points], [first[1] * (first[0] / each[0]) ** 0.5 for each in points], linestyle=":", linewidth=0.9, color=line.get_color())
    panel(panels[0], "speed (dotted: 1/√n)", "vectors", "queries/s, one thread", xscale="log", yscale="log")
    panels[0].legend(fontsize=8)
    sizes = sorted({count(row): row for row in rows}.items())
    panels[1].plot([size for size, _ in sizes], [number(row["build s (CPU s), 1 thread"]) for _, row in sizes], marker=".")
    panel(panels[1], "building", "vectors", "s, one thread", xscale="log", yscale="log")
    panels[2].plot([size for size, _ in sizes], [size * number(row["bytes a vector in memory"]) / 1e6 for size, row in sizes], marker=".", label="of a search")
    panels[2].plot([size for size, _ in sizes], [number(row["memory of building, MB"]) for _, row in sizes], marker=".", label="of building")
    panel(panels[2], "memory", "vectors", "MB", xscale="log", yscale="log")
    panels[2].legend(fontsize=8)
    save(figure, path)


if __name__ == "__main__":
    text, folder = Path(sys.argv[1]).read_text(), Path(sys.argv[2])
    filters(table(text, "over scoring the admitted"), folder / "filters.svg")
    growth(table(text, "rows scanned"), folder / "growth.svg")
