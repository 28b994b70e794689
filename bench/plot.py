"""Draws results of warploom-bench and scripts/compare-peers; called by bench/plot."""
import argparse
import json
import os
import sys
from dataclasses import dataclass, field
from statistics import median

# Okabe and Ito's colours, which people with any colour vision tell apart; series also differ in their markers.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]


@dataclass
class Throughput:
    """Tokens a second by batch size: (batch, minimum, median, maximum) by what is generated."""
    model: str
    device: str
    series: dict = field(default_factory=dict)


@dataclass
class Serving:
    """Results of one serving run or sweep, by ascending rate."""
    model: str
    device: str
    limits: dict
    knee: float | None
    rates: list
    latencies: dict  # "ttft" or "itl" -> {"p50": [ms], "p99": [ms]}
    goodput: list


@dataclass
class Programs:
    """Medians and ranges of several programs by row: {"name", "unit", "lower_is_better", "values": by program a list}."""
    model: str
    device: str
    titles: list
    rows: list


def read(path):
    """A Throughput, a Serving or Programs. Exits with a message that names the file."""
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        if "programs" in data:
            return read_programs(path, data)
        if "results" in data:
            return read_serving(path, data)
        return read_throughput(path, data)
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"{path}: cannot be read: {error}")
    except json.JSONDecodeError as error:
        sys.exit(f"{path}: is no JSON: {error}")
    except (AttributeError, KeyError, TypeError) as error:
        sys.exit(f"{path}: is no result of warploom-bench: {type(error).__name__} {error}")


def read_throughput(path, data):
    result = Throughput(data["model"], data["device"])
    for m in data["measurements"]:
        if "length" not in m or "no KV cache" in m["test"]:
            continue
        series = result.series.setdefault(f"{m['length']} tokens after {m['prompt']}", [])
        series.append((m["batch"], m["min"], m["median"], m["max"]))
    if not result.series:
        sys.exit(f"{path}: holds no measurement of generation")
    for points in result.series.values():
        points.sort()
    return result


def read_serving(path, data):
    results = sorted((r for r in data["results"] if r["rate"] is not None), key=lambda r: r["rate"])
    if not results:
        sys.exit(f"{path}: all requests of its runs came at once: there is no rate to draw against")
    latencies = {name: {p: [1000 * r[f"{name}_seconds"][p] for r in results] for p in ("p50", "p99")}
                 for name in ("ttft", "itl")}
    return Serving(data["model"], data["device"], data["limits"], data["knee"], [r["rate"] for r in results], latencies,
                   [r["goodput"] for r in results])


def read_programs(path, data):
    rows = [row for row in data["rows"] if any(row["values"].values())]
    if not rows:
        sys.exit(f"{path}: no program was measured")
    return Programs(data["model"], f"{data['processor']}, {data['threads']} threads", data["programs"], rows)


def labels(paths, results):
    """The models' names, or the files' where those are equal."""
    models = [r.model for r in results]
    return models if len(set(models)) == len(models) else [os.path.splitext(os.path.basename(p))[0] for p in paths]


def style(axes, x, y):
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True, which="major", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def plain_ticks(axis, values):
    """At the measured values alone, as plain numbers."""
    from matplotlib.ticker import NullLocator
    axis.set_ticks(values, [f"{v:.3g}" for v in values])
    axis.set_minor_locator(NullLocator())


def draw_throughput(plt, names, results):
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    lines = [(name, what, points) for name, r in zip(names, results) for what, points in r.series.items()]
    whats = {what for _, what, _ in lines}
    for i, (name, what, points) in enumerate(lines):
        batches, low, median, high = zip(*points)
        spread = [[m - l for l, m in zip(low, median)], [h - m for m, h in zip(median, high)]]
        label = name if len(whats) == 1 else f"{name}, {what}"
        axes.errorbar(batches, median, spread, label=label, color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)],
                      capsize=3, linewidth=1.8)
    axes.set_xscale("log", base=2)
    plain_ticks(axes.xaxis, sorted({p[0] for _, _, points in lines for p in points}))
    axes.set_ylim(bottom=0)
    style(axes, "batch size (sequences)", "generated tokens per second")
    axes.legend(frameon=False)
    axes.set_title(f"{whats.pop()}; bars: slowest to fastest run" if len(whats) == 1 else "bars: slowest to fastest run", fontsize=10)
    return figure


def draw_serving(plt, names, results):
    from matplotlib.ticker import LogFormatter
    figure, panels = plt.subplots(1, 3, figsize=(13, 4.6), layout="constrained")
    for i, (name, r) in enumerate(zip(names, results)):
        look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "linewidth": 1.8}
        for axes, key in zip(panels, ("ttft", "itl")):
            axes.plot(r.rates, r.latencies[key]["p50"], label=f"{name}, p50", **look)
            axes.plot(r.rates, r.latencies[key]["p99"], label=f"{name}, p99", linestyle="--", markerfacecolor="white", **look)
        panels[2].plot(r.rates, r.goodput, **look)
        if r.knee is not None:
            whose = f"{name}, " if len(results) > 1 else ""
            panels[2].axvline(r.knee, color=look["color"], linestyle=":", linewidth=1.5,
                              label=f"{whose}knee: {r.knee:.3g} requests/s")
    limits = results[0].limits
    for axes, key, what in zip(panels, ("ttft", "itl"), ("time to first token (ms)", "time between tokens (ms)")):
        if all(r.limits == limits for r in results):
            axes.axhline(1000 * limits[f"{key}_seconds"], color="#777777", linestyle="-.", linewidth=1,
                         label="limit (between tokens: of a request's mean)")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
        style(axes, "offered requests per second", what)
    highest = max(rate for r in results for rate in r.rates)
    panels[2].plot([0, highest], [0, highest], color="#777777", linewidth=1, label="goodput if all requests were good")
    panels[2].set_ylim(bottom=0)
    style(panels[2], "offered requests per second", "goodput (requests per second)")
    for axes in panels:
        axes.set_xlim(left=0)
    # One legend for all panels, beside which nothing is hidden.
    handles = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def draw_programs(plt, names, results):
    """A panel for each row, a bar for each program."""
    result, columns = results[0], 4
    lines = -(-len(result.rows) // columns)
    figure, panels = plt.subplots(lines, columns, figsize=(14, 2.9 * lines), layout="constrained", squeeze=False, sharey=True)
    places = list(range(len(result.titles)))
    for axes, row in zip(panels.flat, result.rows):
        for place, title in zip(places, result.titles):
            values = row["values"].get(title)
            if not values:
                axes.annotate(" not measured", (0, place), va="center", fontsize=8, color="#555555")
                continue
            middle = median(values)
            spread = [[middle - min(values)], [max(values) - middle]]
            axes.barh(place, middle, xerr=spread, color=COLOURS[place % len(COLOURS)], capsize=2)
        better = "lower" if row["lower_is_better"] else "higher"
        style(axes, f"{row['unit']} ({better} is better)", "")
        axes.set_title(row["name"], fontsize=10)
        axes.set_xlim(left=0)
    panels[0][0].set_yticks(places, result.titles)
    panels[0][0].invert_yaxis()
    for axes in panels.flat[len(result.rows):]:
        axes.set_visible(False)
    return figure


def main():
    parser = argparse.ArgumentParser(prog="bench/plot", description="Draws results that warploom-bench or scripts/compare-peers wrote as JSON.")
    parser.add_argument("results", nargs="+", metavar="RESULT.json")
    parser.add_argument("-o", "--output", default="plot.png", help="a .png or .svg file (default: %(default)s)")
    parser.add_argument("--title", help="default: the device")
    parser.add_argument("--check", action="store_true", help="draw nothing, and say what could not be drawn")
    args = parser.parse_args()
    if not args.output.endswith((".png", ".svg")):
        parser.error(f"--output: {args.output} ends neither in .png nor in .svg")
    results = [read(path) for path in args.results]
    if len({type(r) for r in results}) > 1:
        parser.error("results of different kinds do not fit one picture")
    if isinstance(results[0], Programs) and len(results) > 1:
        parser.error("results of scripts/compare-peers fill one picture each")
    if args.check:
        return
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    draw = {Serving: draw_serving, Programs: draw_programs, Throughput: draw_throughput}[type(results[0])]
    figure = draw(plt, labels(args.results, results), results)
    figure.suptitle(args.title or "; ".join(sorted({r.device for r in results})), fontsize=11)
    try:
        figure.savefig(args.output, dpi=150)
    except OSError as error:
        sys.exit(f"{args.output}: cannot be written: {error}")


if __name__ == "__main__":
    main()
