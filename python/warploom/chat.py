"""Chat templates by Jinja2 itself, in its sandbox, for templates that the library's own interpreter refuses and for one's
own."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import _native
from .options import Messages


def chat_template(tokenizer: _native.Tokenizer) -> str:
    """The Jinja template of the tokenizer's file. Raises ModelError if there is none."""
    template = _native.metadata(tokenizer.path).get("tokenizer.chat_template") if tokenizer.path else None
    if template is None:
        raise _native.ModelError("the model's file has no chat template: give one, or pass the prompt as text")
    return template


def render(template: str, messages: Messages, *, add_generation_prompt: bool = True, **variables: Any) -> str:
    """The text that a chat template makes of messages.

    template: Jinja source as Hugging Face's tokenizers have it; what it may do is what Jinja2's immutable sandbox allows.
    add_generation_prompt: end with the opening of the answer. variables: whatever else the template reads: bos_token,
    eos_token, tools.

    Raises ImportError if Jinja2 is not installed, InvalidArgument if the template refuses the messages or is no valid template.
    """
    try:
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise ImportError("this chat template takes Jinja2: pip install jinja2") from error

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, indent: int | None = None, **_: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    try:
        return environment.from_string(template).render(
            messages=[dict(message) for message in messages], add_generation_prompt=add_generation_prompt, **variables
        )
    except jinja2.TemplateError as error:
        raise _native.InvalidArgument(f"the chat template refuses these messages: {error}") from error


def _special_spellings(tokenizer: _native.Tokenizer) -> list[str]:
    ids = (i for i in range(tokenizer.vocab_size) if tokenizer.is_special(i))
    return [text for text in (tokenizer.piece(i).decode("utf-8", "replace") for i in ids) if text]


def _check_no_forgery(tokenizer: _native.Tokenizer, messages: Messages) -> None:
    spellings = _special_spellings(tokenizer)
    for index, message in enumerate(messages):
        for text in spellings:
            if text in message["role"] or text in message["content"]:
                raise _native.InvalidArgument(
                    f"message {index} spells the special token {text!r}, with which it could forge a turn: take it out"
                )


def as_dicts(messages: Messages) -> Messages:
    """The messages as the extension module takes them, which knows no other mappings; it says what is wrong with the rest."""
    return [dict(message) if isinstance(message, Mapping) else message for message in messages]


def encode_chat(
    tokenizer: _native.Tokenizer,
    messages: Messages,
    *,
    template: str | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> list[int]:
    """The tokens of a conversation, up to the opening of the answer.

    The library's own interpreter does it (Tokenizer.encode_chat) unless it refuses the file's template, or a `template` or
    `tools` are given: then Jinja2 does, and a message that spells a special token is refused, since it could forge a turn.

    Raises ModelError if there is no template, InvalidArgument if it refuses the messages, ImportError if it takes Jinja2.
    """
    if template is None and tools is None and tokenizer.chat_format:
        return tokenizer.encode_chat(as_dicts(messages))
    _check_no_forgery(tokenizer, messages)
    source = chat_template(tokenizer) if template is None else template

    def spelled(token: int | None) -> str:
        return "" if token is None else tokenizer.piece(token).decode("utf-8", "replace")

    variables: dict[str, Any] = {"bos_token": spelled(tokenizer.bos), "eos_token": spelled(tokenizer.eos)}
    if tools is not None:
        variables["tools"] = list(tools)
    return tokenizer.encode(render(source, messages, **variables), add_special=False)
