#!/usr/bin/env python3
"""Generates text interactively: ask for a prompt, a strategy and a temperature, and watch the text come.

pip install rich
python examples/generate.py [MODEL]
python examples/generate.py --prompt "Once upon a time" --strategy top-p --temperature 0.8
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.prompt import FloatPrompt, Prompt
from rich.text import Text

import warploom

STRATEGIES: dict[str, warploom.RequestOptions] = {
    "greedy": {"temperature": 0.0},
    "temperature": {},
    "top-k": {"top_k": 50},
    "top-p": {"top_p": 0.9},
    "top-k + top-p": {"top_k": 50, "top_p": 0.9},
    "min-p": {"min_p": 0.05},
}


def model_path(given: str | None) -> Path:
    """The model that was given, the one that scripts/setup fetched, or the one of an installed package."""
    fetched = Path(__file__).resolve().parents[1] / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if given is not None:
        return Path(given)
    return fetched if fetched.exists() else warploom.pretrained("smollm2-135m")


def show(console: Console, generator: warploom.Generator, prompt: str, options: warploom.RequestOptions) -> None:
    """Streams one text; Ctrl-C ends it."""
    text, started, tokens = Text(prompt, style="dim"), time.perf_counter(), 0
    with Live(text, console=console, refresh_per_second=20), generator.stream(prompt, **options) as stream:
        try:
            for event in stream:
                text.append(event.text, style="default")
                tokens += event.token is not None
        except KeyboardInterrupt:
            pass
    seconds = time.perf_counter() - started
    console.print(f"[cyan]{tokens} tokens in {seconds:.2f} s, {tokens / seconds:.0f} tokens/s[/cyan]")


def main() -> None:
    parser = argparse.ArgumentParser(description="Generates text interactively.")
    parser.add_argument("model", nargs="?", help="a GGUF file; else SmolLM2-135M")
    parser.add_argument("--prompt", help="one text, without questions")
    parser.add_argument("--strategy", choices=STRATEGIES, default="top-p")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--max-tokens", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    console = Console()
    generator = warploom.Generator(warploom.Model.load(model_path(arguments.model)))
    prompt, strategy, temperature, seed = arguments.prompt, arguments.strategy, arguments.temperature, arguments.seed
    while True:
        if arguments.prompt is None:
            try:
                prompt = Prompt.ask("\nprompt (empty: end)", console=console, default="", show_default=False)
                if not prompt:
                    return
                strategy = Prompt.ask("strategy", console=console, choices=list(STRATEGIES), default=strategy)
                if strategy != "greedy":
                    temperature = FloatPrompt.ask("temperature", console=console, default=temperature)
            except (EOFError, KeyboardInterrupt):
                return
        options: warploom.RequestOptions = {"max_tokens": arguments.max_tokens, "seed": seed, "temperature": temperature}
        options.update(STRATEGIES[strategy])
        try:
            show(console, generator, prompt, options)
        except warploom.InvalidArgument as error:
            console.print(f"[red]{error}[/red]")
        if arguments.prompt is not None:
            return
        seed += 1


if __name__ == "__main__":
    main()
