#!/usr/bin/env python3
"""Draws from PyTorch's logits: one call instead of a page of code, the same tokens in every batch.

pip install torch
python examples/sampling_from_torch.py
"""

from __future__ import annotations

import argparse

import torch

import warploom
import warploom.torch


def by_hand(logits: torch.Tensor, temperature: float, top_k: int, top_p: float) -> torch.Tensor:
    """What is usually written."""
    logits = logits / temperature
    kth = torch.topk(logits, top_k, dim=-1).values[:, -1:]
    logits = logits.masked_fill(logits < kth, float("-inf"))
    ordered, ids = torch.sort(logits, descending=True, dim=-1)
    p = torch.softmax(ordered, -1)
    drop = p.cumsum(-1) - p >= top_p
    logits = logits.masked_fill(drop.scatter(-1, ids, drop), float("-inf"))
    return torch.multinomial(torch.softmax(logits, -1), 1)[:, 0]


def main() -> None:
    argparse.ArgumentParser(description="Draws from PyTorch's logits.").parse_args()
    torch.manual_seed(0)
    logits = torch.randn(4, 32000) * 3

    print("by hand:          ", by_hand(logits, 0.8, 50, 0.9).tolist())
    tokens = warploom.sample(logits, temperature=0.8, top_k=50, top_p=0.9, seed=[1, 2, 3, 4])
    print("warploom.sample:  ", tokens.tolist(), tokens.dtype)

    # A row's token does not depend on the batch that it is in.
    assert warploom.sample(logits[2], temperature=0.8, top_k=50, top_p=0.9, seed=3) == tokens[2]
    # Every row has parameters of its own; position counts a sequence's tokens.
    mixed = warploom.sample(logits, temperature=torch.tensor([0.0, 0.5, 1.0, 1.5]), top_k=[0, 10, 0, 1000], seed=7, position=5)
    print("mixed parameters: ", mixed.tolist())
    # Half precision is read as it is.
    print("bfloat16:         ", warploom.sample(logits.bfloat16(), temperature=0.8, seed=1).tolist())

    details = warploom.sample_details(logits, temperature=0.8, top_k=50, top_p=0.9, seed=[1, 2, 3, 4], top=3)
    for row in range(4):
        print(
            f"row {row}: token {details.token[row]}, log-probability {details.logprob[row]:.3f} before and "
            f"{details.filtered_logprob[row]:.3f} after the filters, {details.num_kept[row]} tokens kept, "
            f"most probable {details.top_token[row].tolist()}"
        )

    kept = warploom.top_p_mask(logits, 0.9)
    print("tokens in the nucleus:", kept.sum(-1).tolist())

    # As an operator of PyTorch, which torch.compile takes.
    @torch.compile(backend="eager", fullgraph=True)
    def step(hidden: torch.Tensor, head: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        seed = torch.zeros_like(position)
        tokens: torch.Tensor = torch.ops.warploom.sample(hidden @ head, seed, position, temperature=0.8, top_p=0.9)
        return tokens

    print("compiled:         ", step(torch.randn(4, 64), torch.randn(64, 1000), torch.arange(4)).tolist())


if __name__ == "__main__":
    main()
