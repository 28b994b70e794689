"""Anyone's model in a loop that draws as the library does: the same logits give the same tokens."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from . import _native
from .options import RequestOptions, Tokens
from .sampling import sample

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AnyModel(Protocol):
    """What computes logits: a function, or an object that can be called, such as a PyTorch module."""

    def __call__(self, tokens: Any, cache: Any, /) -> Any:
        """The logits after the tokens, and what it keeps of them.

        tokens: int64 [1, tokens], a NumPy array, or for a torch.nn.Module a tensor on its device. cache: None at first, then
        what it returned the time before, in which case only the new token is passed.

        Returns (logits, cache), or logits alone, which is the same as a cache of None: then the whole sequence is passed each
        time. logits: [vocab_size], [tokens, vocab_size] or [1, tokens, vocab_size], of which the last row counts.
        """
        ...


_TAKEN = frozenset(
    "max_tokens min_tokens temperature top_k top_p min_p repetition_penalty frequency_penalty presence_penalty penalize_prompt "
    "penalty_window seed first_subsequence "
    "stop_token_ids logit_bias allowed_token_ids banned_token_ids constraint logits_processor".split()
)


_MAX_TOKENS = 100  # as RequestOptions says


def check_callable(model: Any) -> None:
    """Raises InvalidArgument if nobody can call it as a model is called."""
    if not callable(model):
        raise _native.InvalidArgument(
            f"model is a {type(model).__name__}; it must be a Model (Model.load() makes one of a file) or a callable "
            "(tokens, cache) -> logits, cache"
        )
    try:
        inspect.signature(model).bind(None, None)
    except TypeError as error:
        raise _native.InvalidArgument(f"model is called with (tokens, cache), which it does not take: {error}") from error
    except ValueError:
        pass  # it does not tell


class _Caller:
    """Calls a model, with PyTorch's tensors if it is a module of PyTorch's."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._torch = sys.modules.get("torch")
        if self._torch is not None and not isinstance(model, self._torch.nn.Module):
            self._torch = None

    def __call__(self, tokens: Sequence[int], cache: Any) -> tuple[Any, Any]:
        array = np.array([tokens], np.int64)
        if self._torch is None:
            result = self._model(array, cache)
        else:
            parameter = next(self._model.parameters(), None)
            tensor = self._torch.from_numpy(array).to("cpu" if parameter is None else parameter.device)
            with self._torch.inference_mode():
                result = self._model(tensor, cache)
        logits, cache = result if isinstance(result, tuple) else (result, None)
        if not hasattr(logits, "ndim"):
            raise _native.InvalidArgument(
                f"the model returned a {type(logits).__name__}; it must return logits, which are an array, or a tuple (logits, cache)"
            )
        while logits.ndim > 1:
            logits = logits[-1]
        return self._on_cpu(logits), cache

    @staticmethod
    def _on_cpu(logits: Any) -> Any:
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(logits, torch.Tensor):
            return logits.detach().cpu()
        return logits


Words = npt.NDArray[np.uint32]


def _words(mask: npt.NDArray[np.bool_]) -> Words:
    """A bit for each token, 32 to a word."""
    bits = np.packbits(mask, bitorder="little")
    return np.pad(bits, (0, -len(bits) % 4)).view(np.uint32)


def _allow(options: RequestOptions, stops: frozenset[int], vocab_size: int) -> tuple[Words | None, Words | None]:
    """The tokens that the options allow: at first, when no stop may be drawn yet, and later. None: all."""

    def ids(name: str, tokens: Any) -> npt.NDArray[np.int64]:
        array = np.asarray(tokens, np.int64)
        for token in array[(array < 0) | (array >= vocab_size)]:
            raise _native.InvalidArgument(f"{name}: token {token} is not in [0, {vocab_size})")
        return array

    later = np.full(vocab_size, "allowed_token_ids" not in options)
    later[ids("allowed_token_ids", options.get("allowed_token_ids", ()))] = True
    later[ids("banned_token_ids", options.get("banned_token_ids", ()))] = False
    first = later.copy()
    first[[stop for stop in stops if 0 <= stop < vocab_size]] = False
    return None if first.all() else _words(first), None if later.all() else _words(later)


def _both(own: Words | None, bits: Any, vocab_size: int) -> Any:
    """What the options and a constraint allow together."""
    if own is None or bits is None:
        return own if bits is None else bits
    array = np.asarray(bits)
    if array.dtype == np.bool_ and array.shape == (vocab_size,):
        array = _words(array)
    if array.dtype not in (np.dtype(np.uint32), np.dtype(np.int32)) or array.ndim != 1 or len(array) < len(own):
        return bits  # sample() says what is wrong with it
    return own & array[: len(own)].view(np.uint32)


def _history(tokens: list[int], first: int, options: RequestOptions) -> dict[str, Any]:
    """What penalties look at; `first`: the first generated token's index."""
    begin = max(0, len(tokens) - options["penalty_window"]) if options.get("penalty_window") else 0
    counted = 0 if options.get("penalize_prompt") else max(0, first - begin)
    return {"history": tokens[begin:], "count_begin": counted}


def _prompt(tokens: Tokens) -> list[int]:
    array = np.asarray(tokens)
    if array.ndim == 2 and len(array) == 1:  # as models take it
        array = array[0]
    if array.size == 0:
        raise _native.InvalidArgument("the prompt is empty; it takes at least one token")
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise _native.InvalidArgument(
            f"the prompt has the shape {array.shape} and the type {array.dtype}; it must be integers, [tokens]"
        )
    return [int(token) for token in array]


def _check_lengths(options: RequestOptions) -> None:
    most = options.get("max_tokens", _MAX_TOKENS)
    for name, value in (("max_tokens", most), ("penalty_window", options.get("penalty_window", 0))):
        if value < 0:
            raise _native.InvalidArgument(f"{name} is {value}; it must be at least 0")
    least = options.get("min_tokens", 0)
    if not 0 <= least <= most:
        raise _native.InvalidArgument(f"min_tokens is {least}; it must be in [0, {most}], max_tokens being the latter")


def generate_tokens(model: AnyModel, tokens: Tokens, **options: Unpack[RequestOptions]) -> npt.NDArray[np.int32]:
    """The tokens that follow `tokens`, int32 [generated]; one that ended the text is included.

    model: see AnyModel. options: of RequestOptions max_tokens, min_tokens, temperature, top_k, top_p, min_p, the penalties,
    penalize_prompt, penalty_window, seed, first_subsequence, stop_token_ids, logit_bias, allowed_token_ids, banned_token_ids,
    constraint and logits_processor.

    Raises InvalidArgument on another option, on parameters out of range, on no tokens and on logits that nothing can be drawn
    from; and whatever the model raises.
    """
    check_callable(model)
    history = _prompt(tokens)
    options = RequestOptions(**{name: value for name, value in options.items() if value is not None})  # type: ignore[typeddict-item]
    if unknown := sorted(set(options) - _TAKEN):
        raise _native.InvalidArgument(f"a model of one's own does not take the option {unknown[0]}")
    _native.Request(history, **options)  # checks types
    _check_lengths(options)
    parameters: dict[str, Any] = {
        name: options[name]
        for name in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty")
        if options.get(name) is not None
    }
    if options.get("logit_bias"):
        parameters["bias"] = options["logit_bias"]
    stops = frozenset(int(token) for token in np.asarray(options.get("stop_token_ids", ()), np.int64))
    call, cache, first = _Caller(model), None, len(history)
    seed = _native.request_seed(options.get("seed", 0), history)
    constraint, processor = options.get("constraint"), options.get("logits_processor")
    min_tokens = options.get("min_tokens", 0)
    masks: tuple[Words | None, Words | None] | None = None
    for position in range(options.get("max_tokens", _MAX_TOKENS)):
        logits, cache = call(history if cache is None else history[-1:], cache)
        vocab_size, output = int(logits.shape[0]), np.array(history[first:], np.int32)
        if processor is not None:
            row = np.array(logits, np.float32)
            changed = processor(output, row)
            logits = row if changed is None else changed
        if masks is None:
            masks = _allow(options, stops if min_tokens else frozenset(), vocab_size)
        allowed: Any = masks[position >= min_tokens]
        if constraint is not None:
            allowed = _both(allowed, constraint.allowed(output), vocab_size)
        token = sample(
            logits,
            seed=seed,
            position=position,
            subsequence=options.get("first_subsequence"),
            allowed=allowed,
            **_history(history, first, options),
            **parameters,
        )
        if token < 0:
            raise _native.InvalidArgument(
                f"nothing can be drawn after {position} tokens: the logits are NaN, +inf or all masked"
            )
        history.append(token)
        if token in stops:
            break
    return np.array(history[first:], np.int32)
