#!/usr/bin/env python3
"""Compares sampling strategies: a table with what was measured, and plots of what they do.

    pip install matplotlib rich
    python examples/compare_strategies.py [MODEL] [--output FOLDER]

Writes filters.png (the distribution of one token before and after each filter), entropy.png (the model's uncertainty along the
text), diversity.png (how varied texts are against how likely the model finds them) and kv_cache.png (what the KV cache is
worth).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

import warploom
from generate import model_path

STRATEGIES: dict[str, warploom.FilterOptions] = {
    "greedy": {"temperature": 0.0},
    "temperature 0.7": {"temperature": 0.7},
    "top-k 50": {"top_k": 50},
    "top-p 0.9": {"top_p": 0.9},
    "top-k 50 + top-p 0.9": {"top_k": 50, "top_p": 0.9},
}
TEMPERATURES = (0.2, 0.5, 1.0, 1.5, 2.0)
# Okabe and Ito's colours, which colour-blind people can tell apart; each strategy has a marker and a line style, too.
COLORS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00")
MARKERS = ("o", "s", "^", "D", "v")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


@dataclass
class Probe:
    """Looks at the logits that each token is drawn from, and changes nothing."""

    filters: warploom.FilterOptions
    entropies: list[float] = field(default_factory=list)  # of the whole distribution, in bits
    kept: list[int] = field(default_factory=list)  # tokens that the filters left

    def __call__(self, history: npt.NDArray[np.int32], logits: npt.NDArray[np.float32]) -> None:
        p = warploom.softmax(logits)
        p = p[p > 0].astype(np.float64)
        self.entropies.append(float(-(p * np.log2(p)).sum()))
        self.kept.append(int(warploom.sample_details(logits, **self.filters).num_kept[0]))


@dataclass
class Measured:
    """What one strategy came to."""

    name: str
    texts: list[str]
    tokens_per_second: float
    logprob: float  # mean of the tokens' log-probabilities at temperature 1, in nats
    distinct: float  # share of different pairs of neighbouring tokens among all
    entropies: list[float]
    kept: float


def distinct_pairs(sequences: list[list[int]]) -> float:
    """The share of different pairs of neighbouring tokens."""
    pairs = [pair for tokens in sequences for pair in zip(tokens, tokens[1:])]
    return len(set(pairs)) / max(1, len(pairs))


def measure(
    generator: warploom.Generator, name: str, filters: warploom.FilterOptions, prompt: str, max_tokens: int, texts: int
) -> Measured:
    """Runs a strategy: once for speed, once with the probe."""
    common: Any = {"max_tokens": max_tokens, "ignore_eos": True, **filters}
    requests = [generator.request(prompt, seed=seed, logprobs=True, **common) for seed in range(texts)]
    started = time.perf_counter()
    completions = [output.completions[0] for output in generator.run(requests)]
    seconds = time.perf_counter() - started
    probe = Probe(filters)
    generator.generate(prompt, logits_processor=probe, **common)
    return Measured(
        name,
        [completion.text for completion in completions],
        texts * max_tokens / seconds,
        float(np.mean([completion.logprobs.mean() for completion in completions])),
        distinct_pairs([completion.token_ids for completion in completions]),
        probe.entropies,
        float(np.mean(probe.kept)),
    )


def table_of(results: list[Measured]) -> Table:
    table = Table(title="Strategies", caption="log-probability at temperature 1; pairs of neighbouring tokens")
    table.add_column("strategy")
    for column in ("tokens/s", "log-prob. (nats/token)", "different pairs", "entropy (bits)", "tokens kept"):
        table.add_column(column, justify="right")
    for r in results:
        table.add_row(
            r.name,
            f"{r.tokens_per_second:.0f}",
            f"{r.logprob:.2f}",
            f"{100 * r.distinct:.0f}%",
            f"{np.mean(r.entropies):.2f}",
            f"{r.kept:.0f}",
        )
    return table


def plot_filters(model: warploom.Model, prompt: str, path: Path) -> None:
    """The most probable next tokens, before and after each filter."""
    logits = model.logits(model.tokenizer.encode(prompt), last=True)
    order = np.argsort(-logits, kind="stable")[:60]
    before = warploom.softmax(logits)[order]
    panels: dict[str, warploom.FilterOptions] = {
        "temperature 0.7": {"temperature": 0.7},
        "top-k 20": {"top_k": 20},
        "top-p 0.7": {"top_p": 0.7},
        "min-p 0.05": {"min_p": 0.05},
    }
    figure, axes = plt.subplots(2, 2, figsize=(10, 6.5), sharex=True, sharey=True, layout="constrained")
    for axis, (name, filters) in zip(axes.flat, panels.items()):
        after = warploom.softmax(logits, **filters)[order]
        ranks = np.arange(1, len(order) + 1)
        axis.bar(ranks, np.where(after > 0, after, np.nan), width=0.8, color=COLORS[2], label="after")
        axis.step(ranks, before, where="mid", color=COLORS[4], linewidth=1.5, label="before")
        kept = int((warploom.softmax(logits, **filters) > 0).sum())
        axis.set_title(f"{name}: keeps {kept:,} of {len(logits):,} tokens")
        axis.set_yscale("log")
        axis.set_ylim(1e-4, 1)
        axis.grid(axis="y", alpha=0.3)
        axis.legend(loc="upper right")
    for axis in axes[-1]:
        axis.set_xlabel("token's rank")
    for axis in axes[:, 0]:
        axis.set_ylabel("probability")
    figure.suptitle(f"The token after “{prompt}”")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def smooth(values: list[float], width: int = 16) -> npt.NDArray[np.float64]:
    width = min(width, len(values))
    return np.convolve(values, np.ones(width) / width, mode="valid")


def plot_entropy(results: list[Measured], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(9, 5), layout="constrained")
    for i, r in enumerate(results[: len(STRATEGIES)]):
        line = smooth(r.entropies)
        positions = np.arange(len(line)) + len(r.entropies) - len(line) + 1
        axis.plot(positions, line, color=COLORS[i], linestyle=LINES[i], linewidth=2, label=r.name)
    axis.set_xlabel("position in the text (tokens)")
    axis.set_ylabel("entropy of the next token (bits), mean of 16")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axis.set_title("How uncertain the model is along each strategy's text")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def plot_diversity(results: list[Measured], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(9, 5), layout="constrained")
    strategies, temperatures = results[: len(STRATEGIES)], results[len(STRATEGIES) :]
    axis.plot(
        [r.logprob for r in temperatures],
        [100 * r.distinct for r in temperatures],
        color="#777777",
        linewidth=1.5,
        marker=".",
        label="temperature alone, " + " to ".join(f"{t:g}" for t in (TEMPERATURES[0], TEMPERATURES[-1])),
    )
    for r, temperature in zip(temperatures, TEMPERATURES):
        axis.annotate(
            f"{temperature:g}", (r.logprob, 100 * r.distinct), textcoords="offset points", xytext=(-5, -13), ha="right"
        )
    for i, r in enumerate(strategies):
        axis.plot(r.logprob, 100 * r.distinct, MARKERS[i], color=COLORS[i], markersize=9, linestyle="none", label=r.name)
    axis.set_xlabel("mean log-probability of the tokens (nats)")
    axis.set_ylabel("different pairs of neighbouring tokens (%)")
    axis.set_ylim(0, 105)
    axis.margins(x=0.08)
    axis.grid(alpha=0.3)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axis.set_title("Diversity against likelihood")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def plot_kv_cache(model: warploom.Model, lengths: list[int], path: Path, console: Console) -> None:
    """Seconds that it takes to generate so many tokens, with the KV cache and without."""
    figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
    for i, (name, cached) in enumerate({"with the KV cache": True, "without": False}.items()):
        generator = warploom.Generator(model, use_kv_cache=cached, max_num_seqs=1)
        seconds = []
        for length in track(lengths, f"{len(lengths)} lengths {name}", console=console, transient=True):
            generator.clear_cache()
            started = time.perf_counter()
            generator.generate("Once upon a time", max_tokens=length, temperature=0.0, ignore_eos=True)
            seconds.append(time.perf_counter() - started)
        axis.plot(lengths, seconds, MARKERS[i] + "-", color=COLORS[3 + i], linewidth=2, label=name)
        axis.annotate(f"{seconds[-1]:.2g} s", (lengths[-1], seconds[-1]), textcoords="offset points", xytext=(8, -4))
    axis.set_xlabel("tokens generated")
    axis.set_ylabel("time (s)")
    axis.set_ylim(bottom=0)
    axis.margins(x=0.12)
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left")
    axis.set_title("What the KV cache is worth")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares sampling strategies.")
    parser.add_argument("model", nargs="?", help="a GGUF file; else SmolLM2-135M")
    parser.add_argument("--prompt", default="The old lighthouse keeper")
    parser.add_argument("--max-tokens", type=int, default=100)
    parser.add_argument("--texts", type=int, default=8, help="texts of each strategy")
    parser.add_argument("--lengths", default="16,32,64,96,128", help="tokens, for the plot of the KV cache")
    parser.add_argument("--output", type=Path, default=Path("strategies"), help="a folder for the pictures")
    arguments = parser.parse_args()

    console = Console()
    model = warploom.Model.load(model_path(arguments.model))
    generator = warploom.Generator(model, enable_prefix_caching=False)
    runs = dict(STRATEGIES)
    for temperature in TEMPERATURES:
        runs[f"temperature {temperature:g} alone"] = {"temperature": temperature}
    results = [
        measure(generator, name, filters, arguments.prompt, arguments.max_tokens, arguments.texts)
        for name, filters in track(runs.items(), "Strategies", console=console, transient=True)
    ]
    console.print(table_of(results))
    for r in results[: len(STRATEGIES)]:
        console.print(f"[bold]{r.name}:[/bold]", arguments.prompt + r.texts[0].replace("\n", " ")[:200], highlight=False)
    arguments.output.mkdir(parents=True, exist_ok=True)
    plot_filters(model, arguments.prompt, arguments.output / "filters.png")
    plot_entropy(results, arguments.output / "entropy.png")
    plot_diversity(results, arguments.output / "diversity.png")
    plot_kv_cache(model, [int(length) for length in arguments.lengths.split(",")], arguments.output / "kv_cache.png", console)
    console.print(f"pictures are in {arguments.output}")


if __name__ == "__main__":
    main()
