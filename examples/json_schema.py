#!/usr/bin/env python3
"""Output that fits a JSON schema, by grammars of xgrammar and of llguidance (pip install xgrammar llguidance).

python examples/json_schema.py [MODEL] [--grammar xgrammar|llguidance]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import warploom
from generate import model_path

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z][a-z]{1,11}$"},
        "age": {"type": "integer", "minimum": 1, "maximum": 120},
        "hobbies": {"type": "array", "items": {"enum": ["chess", "sailing", "music", "hiking"]}, "minItems": 1, "maxItems": 3},
        "married": {"type": "boolean"},
    },
    "required": ["name", "age", "hobbies", "married"],
    "additionalProperties": False,
}


class XGrammar:
    """A constraint that xgrammar computes."""

    def __init__(self, tokenizer: warploom.Tokenizer, schema: dict[str, Any]) -> None:
        import xgrammar

        pieces = [b"" if tokenizer.is_special(i) else tokenizer.piece(i) for i in range(tokenizer.vocab_size)]
        info = xgrammar.TokenizerInfo(pieces, xgrammar.VocabType.RAW, stop_token_ids=tokenizer.eog_token_ids)
        grammar = xgrammar.GrammarCompiler(info).compile_json_schema(json.dumps(schema), any_whitespace=False)
        self._matcher = xgrammar.GrammarMatcher(grammar)
        self._mask = xgrammar.allocate_token_bitmask(1, info.vocab_size)
        self._accepted: list[int] = []

    def allowed(self, history: npt.NDArray[np.int32]) -> Any:
        """The tokens that may follow. The matcher keeps its state, and is told what was drawn since."""
        tokens = history.tolist()
        if tokens[: len(self._accepted)] != self._accepted:  # another text
            self._matcher.reset()
            self._accepted = []
        for token in tokens[len(self._accepted) :]:
            assert self._matcher.accept_token(token)
        self._accepted = tokens
        self._matcher.fill_next_token_bitmask(self._mask)
        return self._mask[0]


class _Pieces:
    """A model's tokens, in the form in which llguidance asks for them."""

    def __init__(self, tokenizer: warploom.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = tokenizer.eog_token_ids[0]
        self.bos_token_id = tokenizer.bos
        self.tokens = [tokenizer.piece(i) for i in range(tokenizer.vocab_size)]
        self.special_token_ids = [i for i in range(tokenizer.vocab_size) if tokenizer.is_special(i)]

    def __call__(self, text: str | bytes) -> list[int]:
        return self._tokenizer.encode(text, add_special=False, parse_special=False)


class LlGuidance:
    """A constraint that llguidance computes."""

    def __init__(self, tokenizer: warploom.Tokenizer, schema: dict[str, Any]) -> None:
        import llguidance
        import llguidance.numpy

        tokens = llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Pieces(tokenizer)))
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema), defaults={"whitespace_flexible": False})
        self._fill = llguidance.numpy.fill_next_token_bitmask
        self._matcher = llguidance.LLMatcher(tokens, grammar)
        if self._matcher.is_error():
            raise ValueError(self._matcher.get_error())
        self._mask = llguidance.numpy.allocate_token_bitmask(1, tokenizer.vocab_size)
        self._accepted: list[int] = []

    def allowed(self, history: npt.NDArray[np.int32]) -> Any:
        """The tokens that may follow."""
        tokens = history.tolist()
        if tokens[: len(self._accepted)] != self._accepted:
            self._matcher.reset()
            self._accepted = []
        if new := tokens[len(self._accepted) :]:
            self._matcher.consume_tokens(new)
        self._accepted = tokens
        self._fill(self._matcher, self._mask)
        return self._mask[0]


GRAMMARS: dict[str, Callable[[warploom.Tokenizer, dict[str, Any]], warploom.Constraint]] = {
    "xgrammar": XGrammar,
    "llguidance": LlGuidance,
}


def generate(model: warploom.Model, grammar: str, seed: int = 0) -> Any:
    """An object that fits the schema."""
    generator = warploom.Generator(model)
    constraint = GRAMMARS[grammar](model.tokenizer, SCHEMA)
    prompt = [{"role": "user", "content": "Describe an invented person as JSON with name, age, hobbies and married."}]
    return json.loads(generator.generate(prompt, constraint=constraint, max_tokens=120, temperature=0.8, seed=seed))


def main() -> None:
    parser = argparse.ArgumentParser(description="Output that fits a JSON schema.")
    parser.add_argument("model", nargs="?", help="a GGUF file; else SmolLM2-135M")
    parser.add_argument("--grammar", choices=GRAMMARS, help="else both")
    parser.add_argument("--count", type=int, default=3)
    arguments = parser.parse_args()
    model = warploom.Model.load(model_path(arguments.model))
    for grammar in [arguments.grammar] if arguments.grammar else GRAMMARS:
        for seed in range(arguments.count):
            print(f"{grammar}:", json.dumps(generate(model, grammar, seed)))


if __name__ == "__main__":
    main()
