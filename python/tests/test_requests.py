"""Requests that cannot be run: each says what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warploom
from callbacks import PROMPT, Failing, Failure, WrongMask, fail
from conftest import MODEL


def test_what_callbacks_raise(tiny: warploom.Model) -> None:
    generator = warploom.Generator(tiny)
    for option in [{"constraint": Failing()}, {"logits_processor": fail}]:
        with pytest.raises(Failure, match="of a callback"):
            generator.generate(PROMPT, max_tokens=4, **option)
        with pytest.raises(Failure):
            list(generator.stream(PROMPT, max_tokens=4, **option))
    with pytest.raises(warploom.InvalidArgument, match=r"what allowed\(\) returned has the shape"):
        generator.generate(PROMPT, max_tokens=4, constraint=WrongMask())
    assert len(warploom.generate(tiny, PROMPT, max_tokens=4, ignore_eos=True)) == 4  # and nothing is broken


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ([], {}, "prompt"),
        (np.zeros(0, np.int32), {}, "prompt"),
        ([300], {}, "300"),
        ([-1], {}, "-1"),
        ([1.5], {}, "an integer|prompt"),
        ([2**40], {}, "1099511627776"),
        (np.zeros(3, np.float32), {}, "float32; they must be integers"),
        (np.zeros((2, 2, 2), np.int32), {}, "one dimension"),
        ("\ud800", {}, "lone surrogate"),
        (PROMPT, {"max_tokens": -1}, "max_tokens"),
        (PROMPT, {"max_tokens": 1.5}, "max_tokens is a float"),
        (PROMPT, {"temperature": -1}, "temperature"),
        (PROMPT, {"top_p": 0}, "top_p"),
        (PROMPT, {"seed": -1}, "seed is -1"),
        (PROMPT, {"n": 2}, "run"),
        (PROMPT, {"stop": ""}, "stop"),
        (PROMPT, {"stop": 1}, "stop"),
        (PROMPT, {"logit_bias": {300: 1.0}}, "300"),
        (PROMPT, {"logit_bias": [1]}, "logit_bias must be a dict"),
        (PROMPT, {"logprobs_mode": "x"}, "logprobs_mode"),
        (PROMPT, {"constraint": 1}, "constraint is a int"),
        (PROMPT, {"logits_processor": 1}, "logits_processor is a int"),
        (PROMPT * 200, {}, "context"),
    ],
)
def test_wrong_requests(tiny: warploom.Model, prompt: Any, options: Any, message: str) -> None:
    with pytest.raises(warploom.InvalidArgument, match=message):
        warploom.Generator(tiny).generate([prompt] if isinstance(prompt, list) and not prompt else prompt, **options)


def test_what_is_no_request(tiny: warploom.Model, tmp_path: Path) -> None:
    generator = warploom.Generator(tiny)
    with pytest.raises(warploom.InvalidArgument, match=r"requests\[1\] is a NoneType; it must be a Request"):
        generator.run([generator.request("a"), None])  # type: ignore[list-item]
    with pytest.raises(warploom.InvalidArgument, match="requests is a Request; it must be a list"):
        generator.run(generator.request("a"))  # type: ignore[arg-type]
    for kind_of_path in (None, 5):
        with pytest.raises(warploom.InvalidArgument, match="path is a .*; it must be a str or an os.PathLike"):
            warploom.Model.load(kind_of_path)  # type: ignore[arg-type]
    for serves in (warploom.Generator, warploom.Engine):
        with pytest.raises(warploom.InvalidArgument, match="model is a str; it must be a Model: Model.load"):
            serves("model.gguf")  # type: ignore[arg-type]
    with pytest.raises(warploom.InvalidArgument, match="prompt is a NoneType"):
        generator.generate(None)  # type: ignore[call-overload]
    with pytest.raises(warploom.InvalidArgument, match="null character"):
        warploom.Model.load(f"{tmp_path}\0.gguf")
    for kind in (warploom.Model, warploom.TokenEvent, warploom.RequestOutput):
        with pytest.raises(TypeError):
            kind()


def test_wrong_names_of_options(tiny: warploom.Model) -> None:
    with pytest.raises(TypeError, match='no option "max_token"'):
        warploom.Generator(tiny).generate("a", max_token=1)
    with pytest.raises(TypeError, match='no option "blocks"'):
        warploom.Generator(tiny, blocks=1)


def test_exceptions_are_pythons_too(tiny: warploom.Model, tmp_path: Path) -> None:
    assert issubclass(warploom.InvalidArgument, ValueError) and issubclass(warploom.OutOfMemory, MemoryError)
    assert issubclass(warploom.BackendError, RuntimeError) and issubclass(warploom.ModelError, ValueError)
    assert issubclass(warploom.EngineStopped, RuntimeError) and issubclass(warploom.QueueFull, RuntimeError)
    for kind in ("InvalidArgument", "ModelError", "OutOfMemory", "BackendError", "EngineStopped", "QueueFull"):
        assert issubclass(getattr(warploom, kind), warploom.Error)
    with pytest.raises(warploom.ModelError, match="nowhere"):
        warploom.Model.load(tmp_path / "nowhere.gguf")
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF" + bytes(20))
    with pytest.raises(warploom.ModelError):
        warploom.Model.load(damaged)
    with pytest.raises(warploom.InvalidArgument, match="device"):
        warploom.Model.load(MODEL, device="tpu")
    with pytest.raises(warploom.InvalidArgument):
        warploom.Generator(tiny, kv_cache_share=2.0)
    with pytest.raises(warploom.InvalidArgument, match="kv_type"):
        warploom.Generator(tiny, kv_type="f8")
    with pytest.raises(warploom.InvalidArgument, match='"f16", "bf16" or "int8"'):
        tiny.score([1, 2, 3], kv_type="f8")
    with pytest.raises(warploom.InvalidArgument, match="round_attention"):
        warploom.Generator(tiny, round_attention=True)
    with pytest.raises(warploom.OutOfMemory):
        warploom.Generator(tiny, kv_cache_tokens=2**50).generate("a")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"allowed_token_ids": [28], "banned_token_ids": [28]}, "no token may be drawn"),
        ({"allowed_token_ids": []}, "allowed_token_ids is empty"),
        ({"logit_bias": {28: float("nan")}}, "the bias of token 28 is nan"),
        ({"n": 3}, "n must be 1"),
    ],
)
def test_nothing_to_draw_is_an_error(tiny: warploom.Model, options: Any, match: str) -> None:
    with pytest.raises(warploom.InvalidArgument, match=match):
        warploom.Generator(tiny).generate(PROMPT, **options)
    with pytest.raises(warploom.InvalidArgument, match=match):
        warploom.generate(tiny, PROMPT, **options)


def test_a_prompt_beyond_the_cache_is_an_error(tiny: warploom.Model) -> None:
    with pytest.raises(warploom.InvalidArgument, match="cannot hold"):
        warploom.Generator(tiny, kv_cache_tokens=16).generate([5] * 100)
