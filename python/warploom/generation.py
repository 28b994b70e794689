"""From prompts to text."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Union, overload

import numpy as np
import numpy.typing as npt

from . import _native, loop
from .options import EngineOptions, Messages, Prompt, RequestOptions, Tokens
from .prompts import check_model, is_batch, is_messages, refuse_several, request_for, text_of
from .streams import AsyncStream, Stream

if TYPE_CHECKING:
    from typing_extensions import Unpack

Prompts = Union[Sequence[str], Sequence[Sequence[int]], Sequence[npt.NDArray[Any]], Sequence[Messages]]
"""A batch of prompts."""

# Streams whose threads may still want the interpreter at its end.
_running: weakref.WeakSet[_native.EventStream] = weakref.WeakSet()


@atexit.register
def _close_streams() -> None:
    running = list(_running)
    try:
        for stream in running:
            stream.cancel()
        for stream in running:
            stream.close()
    except _native.BackendError:
        pass  # they are of the process that this one was forked from


class Generator:
    """Generates again and again with one KV cache: a prompt that begins like earlier text is computed only from where it
    differs.

    model: what computes. tokenizer: another than the model file's. options: EngineOptions says what they mean; memory is taken
    at the first call.

    For any number of threads: calls run one after the other, without the GIL. A callback of a request must not call the
    generator that runs it. After an exception a generator stays usable, unless it was a BackendError. Not usable in a process
    that was forked after the model was loaded.
    """

    def __init__(
        self, model: _native.Model, tokenizer: _native.Tokenizer | None = None, **options: Unpack[EngineOptions]
    ) -> None:
        check_model(model)
        self._native = _native.Generator(model, tokenizer, **options)
        self._tokenizer = tokenizer or model.tokenizer
        self._model = model

    @property
    def model(self) -> _native.Model:
        """What computes."""
        return self._model

    @property
    def tokenizer(self) -> _native.Tokenizer:
        """What turns text into tokens."""
        return self._tokenizer

    @overload  # a str is a sequence of str, too
    def generate(self, prompt: str | bytes, **options: Unpack[RequestOptions]) -> str: ...  # type: ignore[overload-overlap]
    @overload
    def generate(self, prompt: Prompts, **options: Unpack[RequestOptions]) -> list[str]: ...
    @overload
    def generate(self, prompt: Tokens | Messages, **options: Unpack[RequestOptions]) -> str: ...

    def generate(self, prompt: Any, **options: Unpack[RequestOptions]) -> str | list[str]:
        """The text that follows a prompt, or a list of texts for a list of prompts, which run as one batch.

        prompt: text, token ids or messages (dicts with "role" and "content"), or a list of them. options: RequestOptions says
        what they mean; in a batch they are the same for all, the seed too. run() takes requests that differ, and gives more
        than texts.

        Raises InvalidArgument on a prompt or an option out of range, if nothing can be drawn and if the KV cache cannot hold a
        prompt, ModelError if messages find no chat template, OutOfMemory, BackendError, KeyboardInterrupt on Ctrl-C, and what a
        callback raises.
        """
        refuse_several(options)
        batch = is_batch(prompt)
        texts = [
            text_of(output) for output in self.run([self.request(one, **options) for one in (prompt if batch else [prompt])])
        ]
        return texts if batch else texts[0]

    def request(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> _native.Request:
        """A request for run(). Raises InvalidArgument on values of the wrong type."""
        return request_for(self._tokenizer, prompt, options)

    def run(self, requests: Sequence[_native.Request]) -> list[_native.RequestOutput]:
        """Runs requests, which may differ in everything, as one batch; their outputs, in order. Raises as generate() does."""
        if isinstance(requests, _native.Request):
            raise _native.InvalidArgument("requests is a Request; it must be a list of them")
        requests = list(requests)
        for i, request in enumerate(requests):
            if not isinstance(request, _native.Request):
                raise _native.InvalidArgument(
                    f"requests[{i}] is a {type(request).__name__}; it must be a Request: request() makes one of a prompt"
                )
        return self._native.run(requests)

    def _start(self, prompt: Prompt, options: RequestOptions) -> _native.EventStream:
        stream = self._native.stream(self.request(prompt, **options))
        _running.add(stream)
        return stream

    def stream(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> Stream:
        """Generates on a thread of its own: an iterator over TokenEvents. A generator's streams run one after the other, in the
        order in which they were asked for. Raises from the iterator what generate() raises."""
        return Stream(self._start(prompt, options))

    def astream(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> AsyncStream:
        """The same as an async iterator."""
        return AsyncStream(self._start(prompt, options))

    @property
    def kv_cache_capacity(self) -> int:
        """Tokens that the KV cache holds; 0 before the first call."""
        return self._native.kv_cache_capacity

    @property
    def cached_tokens(self) -> int:
        """Tokens whose keys and values are kept for later prompts."""
        return self._native.cached_tokens

    def clear_cache(self) -> None:
        """Drops them."""
        self._native.clear_cache()


@overload
def generate(  # type: ignore[overload-overlap]
    model: _native.Model | loop.AnyModel,
    prompt: str | bytes | Messages,
    *,
    tokenizer: Any = None,
    **options: Unpack[RequestOptions],
) -> str: ...
@overload
def generate(
    model: _native.Model | loop.AnyModel, prompt: Tokens, *, tokenizer: Any = None, **options: Unpack[RequestOptions]
) -> npt.NDArray[np.int32]: ...


def generate(
    model: Any, prompt: Any, *, tokenizer: Any = None, **options: Unpack[RequestOptions]
) -> str | npt.NDArray[np.int32]:
    """What follows a prompt: text for text and messages, token ids, int32 [tokens], for token ids.

    model: a Model, or anyone's: a callable (tokens, cache) -> logits, cache, see loop.AnyModel. tokenizer: what encodes and
    decodes text, with methods encode(text) and decode(ids); a Model has its own. options: RequestOptions says what they mean; a
    callable takes those that loop.generate_tokens() lists.

    Raises as Generator.generate() does, and what the callable raises.
    """
    refuse_several(options)
    text = isinstance(prompt, (str, bytes)) or is_messages(prompt)
    if not text and is_batch(prompt) and len(prompt) > 1:
        raise _native.InvalidArgument("generate() takes one prompt; Generator.generate() takes a list of them")
    if isinstance(model, _native.Model):
        generator = Generator(model, tokenizer, max_num_seqs=1)
        output = generator.run([generator.request(prompt, **options)])[0]
        after = text_of(output)
        return after if text else np.array(output.completions[0].token_ids, np.int32)
    loop.check_callable(model)
    if is_messages(prompt):
        raise _native.InvalidArgument("a model of one's own takes no messages; render them as a text or as token ids")
    if text and tokenizer is None:
        raise _native.InvalidArgument("a text prompt for a model of one's own takes a tokenizer")
    if isinstance(prompt, bytes):
        prompt = prompt.decode()
    tokens = loop.generate_tokens(model, tokenizer.encode(prompt) if text else prompt, **options)
    return str(tokenizer.decode(tokens.tolist())) if text else tokens
