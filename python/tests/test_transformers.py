"""Hugging Face's models and filters, where transformers is installed. The model is random and tiny: no file is fetched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import warploom
from test_sampling import rows_of

torch: Any = pytest.importorskip("torch")
transformers: Any = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def llama() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=120,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.5,
    )
    return transformers.LlamaForCausalLM(config).eval()


WARPERS: list[Any] = [
    ("top_k", 1, "TopKLogitsWarper"),
    ("top_k", 37, "TopKLogitsWarper"),
    ("top_p", 0.5, "TopPLogitsWarper"),
    ("top_p", 0.93, "TopPLogitsWarper"),
    ("min_p", 0.02, "MinPLogitsWarper"),
]


@pytest.mark.parametrize(("name", "value", "warper"), WARPERS)
def test_kept_sets_are_those_of_transformers(name: str, value: Any, warper: str) -> None:
    rows = torch.from_numpy(rows_of(20))
    assert all(len(np.unique(row)) == row.numel() for row in rows)  # no ties
    theirs = getattr(transformers, warper)(value)(None, rows.clone()) > -float("inf")
    np.testing.assert_array_equal(warploom.kept_mask(rows, **{name: value}), theirs.numpy())


def test_filters_as_a_logits_processor() -> None:
    from warploom.transformers import FilterLogitsProcessor

    rows = torch.from_numpy(rows_of(20))
    ours = FilterLogitsProcessor(temperature=0.8, top_k=50, top_p=0.9)(None, rows)
    theirs = rows
    for warper in (
        transformers.TemperatureLogitsWarper(0.8),
        transformers.TopKLogitsWarper(50),
        transformers.TopPLogitsWarper(0.9),
    ):
        theirs = warper(None, theirs)
    torch.testing.assert_close(ours, theirs)
    with pytest.raises(warploom.InvalidArgument):
        FilterLogitsProcessor(top_p=-1.0)


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_model_draws_with_this_sampler(llama: Any, use_cache: bool) -> None:
    from warploom.transformers import sampler

    prompt = torch.tensor([[1, 5, 9, 33]])
    options: Any = {"temperature": 0.9, "top_k": 20, "top_p": 0.95}
    tokens = llama.generate(
        prompt, custom_generate=sampler(seed=4), do_sample=True, max_new_tokens=12, use_cache=use_cache, **options
    )

    def model(tokens: Any, cache: Any) -> Any:
        with torch.inference_mode():
            return llama(torch.from_numpy(tokens)).logits, None

    expected = warploom.generate(model, prompt[0].numpy(), max_tokens=12, seed=4, stop_token_ids=[2], **options)
    assert tokens[0, 4:].tolist() == expected.tolist()


def test_greedy_is_transformers_own(llama: Any) -> None:
    from warploom.transformers import sampler

    prompt = torch.tensor([[0, 0, 1, 5], [1, 7, 9, 33]])  # the first is padded on the left
    inputs: Any = {"input_ids": prompt, "attention_mask": (prompt != 0).long(), "do_sample": False, "max_new_tokens": 10}
    assert llama.generate(**inputs, custom_generate=sampler()).tolist() == llama.generate(**inputs).tolist()


def test_rows_and_seeds(llama: Any) -> None:
    from warploom.transformers import sampler

    prompt = torch.tensor([[1, 5, 9, 33]])

    def draw(seed: Any, n: int = 3) -> Any:
        return llama.generate(
            prompt, custom_generate=sampler(seed), do_sample=True, top_k=0, max_new_tokens=8, num_return_sequences=n
        ).tolist()

    assert draw(1) == draw(1) and draw(1) != draw(2)
    assert len({tuple(row) for row in draw(1)}) == 3
    assert draw(1, 1)[0] == draw(1)[0][: len(draw(1, 1)[0])]
