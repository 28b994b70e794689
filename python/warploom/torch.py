"""torch.ops.warploom.sample: the sampler as an operator of PyTorch, so that torch.compile and torch.export take it.

Importing this module registers it:

    import warploom.torch
    tokens = torch.ops.warploom.sample(logits, seed, position, temperature=0.8, top_p=0.9)
"""

from __future__ import annotations

import torch

from .sampling import sample as _sample


@torch.library.custom_op("warploom::sample", mutates_args=())
def sample(
    logits: torch.Tensor,
    seed: torch.Tensor,
    position: torch.Tensor,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> torch.Tensor:
    """Draws a token from each row, as warploom.sample() does.

    logits: float32, float16 or bfloat16 [rows, vocab_size]. seed, position: int64 [rows], in host memory or where the logits
    are.

    Returns int32 [rows], where the logits are. Raises InvalidArgument as warploom.sample() does.
    """
    tokens: torch.Tensor = _sample(
        logits, seed=seed, position=position, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p
    )
    return tokens


@sample.register_fake
def _(
    logits: torch.Tensor,
    seed: torch.Tensor,
    position: torch.Tensor,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> torch.Tensor:
    return logits.new_empty(logits.shape[:-1], dtype=torch.int32)
