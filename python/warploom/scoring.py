"""How likely a model finds a text."""

from __future__ import annotations

from . import _native
from .options import Tokens


def score(model: _native.Model, text: str | bytes | Tokens, *, window: int = 0, bos: int | None = None) -> _native.Score:
    """Log-probabilities of a text's tokens and its perplexity; each token but the first of a window is scored.

    text: a str or UTF-8 bytes, which the model's tokenizer encodes, or token ids. window: maximum number of tokens that are
    scored together, in [2, context length]; 0: the context length. bos: a token that is put before each window, which then
    scores all of its own.

    Raises InvalidArgument if there is nothing to score, or an id or a parameter is out of range; ModelError if logits are not
    numbers.
    """
    tokens = model.tokenizer.encode(text) if isinstance(text, (str, bytes)) else text
    return model.score(tokens, window=window, bos=bos)
