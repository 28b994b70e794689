#!/usr/bin/env python3
"""Trains a small GPT in PyTorch on a text, for a minute or two, and generates from it with every strategy.

    pip install torch matplotlib
    python examples/your_own_transformer.py [--text FILE] [--steps 400] [--output FOLDER]

Anything that can be called with (tokens, cache) and returns (logits, cache) generates by warploom.generate().
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional

import warploom

Cache = list[tuple[torch.Tensor, torch.Tensor]]


class Block(nn.Module):
    """Attention and a perceptron, each behind a layer norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, x: torch.Tensor, cached: tuple[torch.Tensor, torch.Tensor] | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, -1).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(width, -1)
        )
        if cached is not None:
            k, v = torch.cat([cached[0], k], 2), torch.cat([cached[1], v], 2)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=length > 1)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x)), (k, v)


class SmallGpt(nn.Module):
    """A decoder-only transformer over characters."""

    def __init__(self, vocab_size: int, context: int = 128, width: int = 96, layers: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.context = context
        self.tokens, self.positions = nn.Embedding(vocab_size, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocab_size, bias=False)

    def forward(self, tokens: torch.Tensor, cache: Cache | None = None) -> tuple[torch.Tensor, Cache]:
        """Logits [batch, tokens, vocab_size], and the keys and values of every layer."""
        start = cache[0][0].shape[2] if cache else 0
        x = self.tokens(tokens) + self.positions(torch.arange(start, start + tokens.shape[1]))
        kept: Cache = []
        for i, block in enumerate(self.blocks):
            x, layer = block(x, cache[i] if cache else None)
            kept.append(layer)
        return self.head(self.norm(x)), kept


class Characters:
    """A tokenizer of single characters."""

    def __init__(self, text: str) -> None:
        self.characters = sorted(set(text))
        self.ids = {character: i for i, character in enumerate(self.characters)}

    def encode(self, text: str) -> list[int]:
        return [self.ids[character] for character in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.characters[i] for i in ids)


def train(model: SmallGpt, data: torch.Tensor, steps: int) -> list[float]:
    """Teaches the model the text; returns each step's loss, in nats a character."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    length = min(model.context, len(data) - 1)
    losses = []
    for step in range(steps):
        starts = torch.randint(len(data) - length, (16,))
        batch = torch.stack([data[start : start + length + 1] for start in starts.tolist()])
        logits, _cache = model(batch[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"step {step}: loss {losses[-1]:.2f}", flush=True)
    return losses


def plot(losses: list[float], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
    axis.plot(range(1, len(losses) + 1), losses, color="#0072B2")
    axis.set_xlabel("step")
    axis.set_ylabel("loss (nats a character)")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.set_title("Training a small GPT")
    figure.savefig(path, dpi=130)
    plt.close(figure)


STRATEGIES: dict[str, Any] = {
    "greedy": {"temperature": 0.0},
    "temperature 0.7": {"temperature": 0.7},
    "top-k 5": {"top_k": 5},
    "top-p 0.9": {"top_p": 0.9},
    "top-k 5 + top-p 0.9": {"top_k": 5, "top_p": 0.9},
    "min-p 0.1": {"min_p": 0.1},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains a small GPT and generates from it.")
    text_file = Path(__file__).resolve().parents[1] / "tests" / "data" / "english.txt"
    parser.add_argument("--text", type=Path, default=text_file)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--max-tokens", type=int, default=100)
    parser.add_argument("--prompt", default="The ")
    parser.add_argument("--output", type=Path, help="a folder for the picture of the loss")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    text = arguments.text.read_text()
    characters = Characters(text)
    model = SmallGpt(len(characters.characters))
    started = time.perf_counter()
    losses = train(model, torch.tensor(characters.encode(text)), arguments.steps)
    print(f"trained {arguments.steps} steps in {time.perf_counter() - started:.0f} s: loss {losses[0]:.2f} to {losses[-1]:.2f}")
    model.eval()

    max_tokens = min(arguments.max_tokens, model.context - len(arguments.prompt))
    for name, options in STRATEGIES.items():
        generated = warploom.generate(model, arguments.prompt, tokenizer=characters, max_tokens=max_tokens, seed=1, **options)
        print(f"{name:20} {arguments.prompt}{generated}".replace("\n", " "))

    # Without its cache the model gives the same text, more slowly.
    def uncached(tokens: Any, cache: Any) -> torch.Tensor:
        with torch.inference_mode():
            logits: torch.Tensor = model(torch.from_numpy(tokens))[0]
            return logits

    prompt = characters.encode(arguments.prompt)
    models: dict[str, Any] = {"with its cache": model, "without": uncached}
    for name, callable_model in models.items():
        started = time.perf_counter()
        tokens = warploom.generate(callable_model, prompt, max_tokens=max_tokens, seed=1, temperature=0.7)
        print(f"{name:20} {len(tokens) / (time.perf_counter() - started):.0f} tokens/s")
    if arguments.output is not None:
        arguments.output.mkdir(parents=True, exist_ok=True)
        plot(losses, arguments.output / "loss.png")


if __name__ == "__main__":
    main()
