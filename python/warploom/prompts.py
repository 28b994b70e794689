"""What a prompt is: text, token ids or a conversation, alone or in a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from . import _native, chat
from .options import Messages, Prompt


def check_model(model: Any) -> None:
    """Raises InvalidArgument if it is no Model."""
    if not isinstance(model, _native.Model):
        raise _native.InvalidArgument(
            f"model is a {type(model).__name__}; it must be a Model: Model.load() makes one of a file"
        )


def is_messages(prompt: Any) -> bool:
    """Whether the prompt is a conversation."""
    return isinstance(prompt, (list, tuple)) and len(prompt) > 0 and isinstance(prompt[0], Mapping)


def is_batch(prompt: Any) -> bool:
    """Whether it is several prompts: a list of them, or an array [prompts, tokens]. An empty list is a batch without
    prompts."""
    if isinstance(prompt, (str, bytes)):
        return False
    if isinstance(prompt, (list, tuple)):
        return len(prompt) == 0 or not isinstance(prompt[0], (int, np.integer, Mapping))
    return bool(getattr(prompt, "ndim", 1) == 2)


def request_for(tokenizer: _native.Tokenizer, prompt: Prompt, options: Mapping[str, Any]) -> _native.Request:
    """The request for one prompt. A conversation that the library's own templates do not fit is rendered by Jinja2."""
    if is_messages(prompt):
        messages = cast(Messages, prompt)
        prompt = chat.as_dicts(messages) if tokenizer.chat_format else chat.encode_chat(tokenizer, messages)
    return _native.Request(prompt, **options)


def refuse_several(options: Mapping[str, Any]) -> None:
    """Raises InvalidArgument if a request would have more than one text."""
    if options.get("n") not in (None, 1):
        raise _native.InvalidArgument(
            "generate() gives one text for each prompt, so n must be 1; run() gives all of a request's n"
        )


def text_of(output: _native.RequestOutput) -> str:
    """The text of a request with one completion. Raises InvalidArgument if nothing could be drawn."""
    completion = output.completions[0]
    if output.error and (completion.finish_reason == "invalid_logits" or len(completion.token_ids) == 0):
        raise _native.InvalidArgument(output.error)
    return output.text
