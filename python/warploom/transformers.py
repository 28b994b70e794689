"""Hugging Face's models (transformers 5) with this sampler: filters as LogitsProcessors, and a function for
generate(custom_generate=...)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import LogitsProcessor
from transformers.generation import logits_process

from ._native import request_seed
from .options import FilterOptions
from .sampling import kept_mask, sample

if TYPE_CHECKING:
    from typing_extensions import Unpack

# What the sampler does itself, from the same values of the generation's configuration.
_WARPERS = tuple(
    getattr(logits_process, name)
    for name in ("TemperatureLogitsWarper", "TopKLogitsWarper", "TopPLogitsWarper", "MinPLogitsWarper")
)


class FilterLogitsProcessor(LogitsProcessor):
    """Divides scores by the temperature and sets those that the filters drop to -inf: top-k, then top-p, then min-p.

    options: FilterOptions says what they mean. For model.generate(logits_processor=[...]). Raises InvalidArgument on parameters
    out of range.
    """

    def __init__(self, **options: Unpack[FilterOptions]) -> None:
        kept_mask(np.zeros(1, np.float32), **options)  # checks them
        self._options = options

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """scores: [rows, vocab_size]. Returns them changed, of the same type and on the same device."""
        kept: torch.Tensor = kept_mask(scores.detach().cpu(), **self._options).to(scores.device)
        temperature = self._options.get("temperature") or 1.0
        return (scores / temperature).masked_fill(~kept, float("-inf"))


def _draws(
    seed: int | Sequence[int], input_ids: torch.Tensor, attention_mask: torch.Tensor | None
) -> tuple[npt.NDArray[np.uint64], list[int]]:
    """Each row's seed and subsequence."""
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    seeds, subsequences, seen = [], [], Counter[int]()
    for row, (ids, real) in enumerate(zip(input_ids, mask)):
        own = request_seed(seed if isinstance(seed, int) else seed[row], ids[real.bool()].cpu().numpy())
        seeds.append(own)
        subsequences.append(seen[own])
        seen[own] += 1
    return np.array(seeds, np.uint64), subsequences


def sampler(seed: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function for model.generate(custom_generate=...): the model draws with this library's sampler.

    seed: in [0, 2^64), for all rows or one for each. Each row draws as a request with its prompt does, padding left out; rows
    with equal prompts (num_return_sequences) from subsequences 0, 1 and so on. Temperature, top_k, top_p and min_p of the
    generation's configuration (do_sample=False: temperature 0) are applied by the sampler; other processors run before it. The
    same logits and seed give the same tokens as everywhere in this library.

    The function returns what generate() returns: int64 [rows, prompt and new tokens]. It raises ValueError if nothing can be
    drawn.
    """

    def generate(
        model: Any,
        input_ids: torch.Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> torch.Tensor:
        rows, first = input_ids.shape
        processors = [one for one in logits_processor if not isinstance(one, _WARPERS)]
        options: dict[str, Any] = {"temperature": 0.0}
        if generation_config.do_sample:
            options = {name: getattr(generation_config, name, None) for name in ("temperature", "top_k", "top_p", "min_p")}
        seeds, subsequences = _draws(seed, input_ids, model_kwargs.get("attention_mask"))
        fill = generation_config.pad_token_id
        unfinished = torch.ones(rows, dtype=torch.bool, device=input_ids.device)
        for position in range(generation_config.max_length - first):
            length = 1 if position > 0 and model_kwargs.get("use_cache", True) else None
            inputs = model.prepare_inputs_for_generation(input_ids, next_sequence_length=length, **model_kwargs)
            with torch.inference_mode():
                outputs = model(**inputs, return_dict=True)
            model_kwargs = model._update_model_kwargs_for_generation(outputs, model_kwargs)
            scores = outputs.logits[:, -1].to(dtype=torch.float32, copy=True)
            for processor in processors:
                scores = processor(input_ids, scores)
            tokens = sample(scores.cpu(), seed=seeds, position=position, subsequence=subsequences, **options)
            tokens = tokens.to(device=input_ids.device, dtype=torch.int64)
            if bool((tokens[unfinished] < 0).any()):
                raise ValueError(f"nothing can be drawn at position {position}: the logits are NaN, +inf or all masked")
            if fill is not None:
                tokens = torch.where(unfinished, tokens, torch.full_like(tokens, int(fill)))
            input_ids = torch.cat([input_ids, tokens[:, None]], -1)
            unfinished = unfinished & ~stopping_criteria(input_ids, None)
            if not bool(unfinished.any()):
                break
        return input_ids

    return generate
