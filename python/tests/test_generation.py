"""Models and generation: prompts, options, what comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import warploom
from callbacks import PROMPT, Alternate, Failure, fail
from conftest import MODEL, REPOSITORY


def command_line(*arguments: str) -> Any:
    """What the C++ command line says, as JSON."""
    run = subprocess.run(
        [sys.executable, "-m", "warploom", "generate", "--json", "-m", str(MODEL), *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    return json.loads(run.stdout.splitlines()[0])


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0.8, "top_k": 0, "top_p": 1, "seed": 5}, {"temperature": 1.2, "top_k": 40, "top_p": 0.9, "seed": 6}],
)
def test_equal_to_the_command_line(smollm2: warploom.Model, options: Any) -> None:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    said = command_line("The old lighthouse", "--max-tokens=24", *flags)
    generator = warploom.Generator(smollm2)
    assert generator.generate("The old lighthouse", max_tokens=24, **options) == said["text"]
    streamed = [event.text for event in generator.stream("The old lighthouse", max_tokens=24, **options)]
    assert "".join(streamed) == said["text"] and len(streamed) > 10


def test_chat(smollm2: warploom.Model) -> None:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    said = command_line("What is the capital of France?", "--chat", "--temperature=0", "--max-tokens=12")
    generator = warploom.Generator(smollm2)
    text = generator.generate(messages, temperature=0.0, max_tokens=12)
    assert text == said["text"] and text
    assert generator.generate([MappingProxyType(messages[0])], temperature=0.0, max_tokens=12) == text


def test_kinds_of_prompts(tiny: warploom.Model) -> None:
    generator = warploom.Generator(tiny)
    options: Any = {"max_tokens": 8, "seed": 3, "ignore_eos": True}
    text = generator.generate("Hello", **options)
    assert isinstance(text, str)
    ids = tiny.tokenizer.encode("Hello")
    for prompt in [ids, tuple(ids), np.array(ids), np.array(ids, np.int32), np.array(ids, np.uint16), b"Hello"]:
        assert generator.generate(prompt, **options) == text
    assert generator.generate(["Hello", "Hello"], **options) == [text, text]
    assert generator.generate(np.array([ids, ids]), **options) == [text, text]
    assert generator.generate([ids, ids, ids], **options) == [text] * 3
    assert generator.generate([], **options) == []


def test_the_function(tiny: warploom.Model) -> None:
    ids = tiny.tokenizer.encode("Hello")
    tokens = warploom.generate(tiny, np.array(ids), max_tokens=8, seed=3, ignore_eos=True)
    assert tokens.dtype == np.int32 and len(tokens) == 8
    assert warploom.generate(tiny, "Hello", max_tokens=8, seed=3, ignore_eos=True) == warploom.Generator(tiny).generate(
        "Hello", max_tokens=8, seed=3, ignore_eos=True
    )


def test_everything_that_comes_back(tiny: warploom.Model) -> None:
    generator = warploom.Generator(tiny)
    request = generator.request(
        PROMPT, max_tokens=6, n=3, seed=1, ignore_eos=True, logprobs=True, top_logprobs=2, prompt_logprobs=True
    )
    (output,) = generator.run([request])
    assert output.prompt_token_ids == PROMPT
    assert output.prompt_logprobs.shape == (4,) and (output.prompt_logprobs < 0).all()
    assert [c.index for c in output.completions] == [0, 1, 2]
    assert len({tuple(c.token_ids) for c in output.completions}) == 3
    for completion in output.completions:
        assert len(completion.token_ids) == len(completion.logprobs) == len(completion.top_logprobs) == 6
        assert completion.finish_reason == "length" and completion.stop_string == ""
        assert all(len(top) == 2 and top[0][1] >= top[1][1] for top in completion.top_logprobs)
        assert completion.timings.time_to_first_token > 0
    assert output.text == output.completions[0].text and output.error == ""


def test_logits_and_score_agree_with_reported_logprobs(tiny: warploom.Model) -> None:
    logits = tiny.logits(PROMPT)
    assert logits.shape == (5, 300) and logits.dtype == np.float32
    np.testing.assert_array_equal(logits[-1], tiny.logits(np.array(PROMPT), last=True))
    wide = logits.astype(np.float64)
    logprobs = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    expected = [logprobs[i, PROMPT[i + 1]] for i in range(4)]
    score = warploom.score(tiny, PROMPT)
    np.testing.assert_allclose(score.logprobs, expected, atol=1e-9)
    assert score.perplexity == pytest.approx(np.exp(-np.mean(expected)))


def test_a_cache_of_int8_rounds_little(tiny: warploom.Model) -> None:
    whole, eighth = (tiny.score(PROMPT * 20, kv_type=kind) for kind in ("f32", "int8"))
    assert not np.array_equal(eighth.logprobs, whole.logprobs)
    # 0.0175 of random weights, where a cache of bf16 gives 0.0077; single ones are up to four times as far.
    errors = eighth.logprobs[1:] - whole.logprobs[1:]
    assert np.sqrt(np.mean(errors**2)) < 0.02
    assert np.abs(errors).max() < 0.08
    generator = warploom.Generator(tiny, kv_type="int8")
    [alone] = generator.generate([PROMPT], max_tokens=20, seed=1)
    assert generator.generate([PROMPT, PROMPT[:3]], max_tokens=20, seed=1)[0] == alone


def test_logits_of_as_many_tokens_as_the_context_holds(tiny: warploom.Model) -> None:
    tokens = (PROMPT * 103)[:512]
    logits = tiny.logits(tokens)
    assert logits.shape == (512, 300)
    np.testing.assert_array_equal(logits[-1], tiny.logits(tokens, last=True))
    np.testing.assert_array_equal(logits[:5], tiny.logits(PROMPT))
    with pytest.raises(warploom.InvalidArgument, match="513"):
        tiny.logits([*tokens, 1])


def test_greedy_is_the_argmax_of_the_logits(tiny: warploom.Model) -> None:
    tokens = warploom.generate(tiny, PROMPT, max_tokens=5, temperature=0.0, ignore_eos=True)
    history = list(PROMPT)
    for token in tokens:
        assert token == tiny.logits(history, last=True).argmax()
        history.append(int(token))


def test_stop_bias_and_masks(tiny: warploom.Model) -> None:
    generator = warploom.Generator(tiny)
    assert set(warploom.generate(tiny, PROMPT, max_tokens=40, allowed_token_ids=[65, 66]).tolist()) == {65, 66}
    assert 65 not in warploom.generate(tiny, PROMPT, max_tokens=40, allowed_token_ids=[65, 66], banned_token_ids=[65])
    text = generator.generate(PROMPT, max_tokens=40, allowed_token_ids=[65, 66], stop="B", seed=4)
    assert "B" not in text
    assert generator.generate(PROMPT, max_tokens=3, logit_bias={67: float("inf") and 1e9}) == "CCC"
    (output,) = generator.run([generator.request(PROMPT, max_tokens=40, allowed_token_ids=[65, 66], stop=["AA", "BB"])])
    assert output.completions[0].finish_reason == "stop_string" and output.completions[0].stop_string in ("AA", "BB")


@pytest.mark.parametrize("kind", ["bool", "uint32", "int32"])
def test_constraint(tiny: warploom.Model, kind: str) -> None:
    constraint = Alternate(kind)
    assert warploom.Generator(tiny).generate(PROMPT, max_tokens=6, constraint=constraint) == "ABABAB"
    assert constraint.histories[3] == [65, 66, 65]


def test_logits_processor(tiny: warploom.Model) -> None:
    def only_z(history: Any, logits: Any) -> None:
        assert logits.shape == (300,) and len(history) < 4
        logits[:] = -np.inf
        logits[90] = 0

    def only_y(history: Any, logits: Any) -> Any:
        row = np.full(300, -np.inf, np.float32)
        row[89] = 0
        return row

    generator = warploom.Generator(tiny)
    assert generator.generate(PROMPT, max_tokens=4, logits_processor=only_z) == "ZZZZ"
    assert generator.generate(PROMPT, max_tokens=4, logits_processor=only_y) == "YYYY"


def test_cuda_is_missing_or_works() -> None:
    try:
        model = warploom.synthetic_model("llama-3.2-1b", device="cuda")
    except warploom.BackendError as error:
        assert "CUDA" in str(error) or "GPU" in str(error)
    else:
        assert "cuda" in model.device


def test_progress_of_loading(smollm2: warploom.Model) -> None:
    shares: list[float] = []
    warploom.Model.load(MODEL, device="cpu", progress=shares.append)
    assert shares and shares == sorted(shares) and 0 <= shares[0] and shares[-1] == 1
    with pytest.raises(Failure):
        warploom.Model.load(MODEL, device="cpu", progress=fail)


def test_text_for_messages_and_bytes(smollm2: warploom.Model) -> None:
    messages: Any = [{"role": "user", "content": "Name a colour."}]
    for prompt in (messages, b"Once upon a time"):
        text = warploom.generate(smollm2, prompt, max_tokens=5, temperature=0)
        assert text == warploom.Generator(smollm2).generate(prompt, max_tokens=5, temperature=0)
    with pytest.raises(warploom.InvalidArgument, match="Model.load"):
        warploom.generate("model.gguf", "Once")  # type: ignore[call-overload]
