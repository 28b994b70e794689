"""The keyword arguments that functions of this package share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypedDict, Union

import numpy as np
import numpy.typing as npt

from ._field_docs import document_fields

Tokens = Union[Sequence[int], npt.NDArray[np.integer[Any]]]
"""Token ids: a sequence of integers, or an array of any integer type, [tokens]."""

Messages = Sequence[Mapping[str, str]]
"""A conversation: mappings with "role" and "content"."""

Prompt = Union[str, bytes, Tokens, Messages]
"""Text is encoded, and special tokens that it spells are recognised: pass text of strangers as messages or as token ids."""


class Constraint(Protocol):
    """Says before each draw which tokens may be drawn: a grammar, for instance."""

    def allowed(self, history: npt.NDArray[np.int32]) -> Any:
        """The tokens that may follow `history`, int32 [tokens generated so far].

        Returns a bit for each token, uint32 or int32 [vocab_size / 32 rounded up] (the bit of token t is bit t % 32 of word
        t // 32), or bool [vocab_size]; None allows every token. What it raises ends the request and is raised to the caller.
        """
        ...


class LogitsProcessor(Protocol):
    """Changes logits before each draw. A Constraint is cheaper if it only forbids tokens. It may run the same model by another
    generator."""

    def __call__(self, history: npt.NDArray[np.int32], logits: npt.NDArray[np.float32], /) -> npt.NDArray[np.float32] | None:
        """`history`: int32 [tokens generated so far]. Changes `logits`, float32 [vocab_size], or returns others."""
        ...


class RequestOptions(TypedDict, total=False):
    """What a request asks for. None stands for the default, everywhere."""

    max_tokens: int
    """Tokens to generate, >= 0, for each completion. Default 100."""
    min_tokens: int
    """Before that many tokens, nothing stops the text; in [0, max_tokens]. Default 0."""
    temperature: float | None
    """Divides the logits; >= 0, 0 is greedy. Default 1."""
    top_k: int | None
    """Keep the k most probable tokens; 0: off, the default."""
    top_p: float | None
    """Keep the most probable tokens whose probabilities add up to p; > 0, 1 and above: off, the default."""
    min_p: float | None
    """Keep tokens with at least this share of the most probable one's probability; in [0, 1], 0: off, the default."""
    repetition_penalty: float | None
    """Divides positive logits of tokens in prompt and output and multiplies negative ones; > 0, 1: off, the default."""
    frequency_penalty: float | None
    """Is subtracted from a token's logit for each time that it is in the output. Default 0."""
    presence_penalty: float | None
    """Is subtracted once from the logits of tokens in the output. Default 0."""
    penalize_prompt: bool
    """The frequency and presence penalties count the prompt's tokens, too. Default False."""
    penalty_window: int
    """All penalties look at this many of the last tokens, the prompt's included; 0: at every token, the default."""
    seed: int
    """Which random numbers are drawn, in [0, 2^64). Default 0. The same prompt with the same seed gives the same tokens; other prompts
    draw other numbers."""
    first_subsequence: int
    """Completion i draws from subsequence first_subsequence + i, below 2^32: tells requests with equal prompts and seeds apart. Default 0."""
    n: int
    """Completions, in [1, 65536]. Default 1."""
    best_of: int | None
    """Completions that are generated, of which the n with the highest mean log-probability come back. Default n."""
    stop: str | Sequence[str] | None
    """The text ends before the first of these strings."""
    include_stop: bool
    """The text ends after it instead."""
    stop_token_ids: Tokens | None
    """Tokens that end the text, beside the model's own."""
    ignore_eos: bool
    """Go on past the model's end tokens."""
    logit_bias: Mapping[int, float] | None
    """Added to the logits of these tokens; -inf bans one."""
    allowed_token_ids: Tokens | None
    """The only tokens that may be drawn, at least one. Default: all."""
    banned_token_ids: Tokens | None
    """Tokens that are never drawn."""
    constraint: Constraint | None
    """Says before each draw which tokens are allowed."""
    logits_processor: LogitsProcessor | None
    """Changes the logits before each draw."""
    logprobs: bool
    """Report each token's log-probability."""
    top_logprobs: int
    """How many of the most probable tokens to report at each step, in [0, 1024]. Default 0."""
    logprobs_mode: Literal["raw", "processed"]
    """At temperature 1 before the filters (raw, the default), or what the token was drawn from."""
    prompt_logprobs: bool
    """Report the log-probabilities of the prompt's tokens."""
    echo: bool
    """Texts begin with the prompt's."""
    priority: int
    """Lower is served earlier; in [-1000, 1000]. Default 0. Of an Engine."""
    deadline: float | None
    """Seconds after submission at which the request ends with what it has. 0, the default: none."""


class EngineOptions(TypedDict, total=False):
    """How a Generator or an Engine is set up. Only kv_type and round_attention change which tokens are drawn (on CUDA
    the others may, too, unless the model was loaded with deterministic=True)."""

    kv_cache_tokens: int
    """Capacity of the KV cache in tokens; 0: enough for max_num_seqs sequences that fill the context, within kv_cache_share."""
    kv_cache_share: float
    """Share of the free memory that the KV cache may take, in (0, 1]; 0: 0.9 on CUDA, 0.25 on the CPU."""
    block_size: int
    """Tokens in a block of the KV cache: 16 on the CPU; 8, 16 or 32 on CUDA. Default 16."""
    kv_type: Literal["f16", "bf16", "f32", "int8"]
    """Element type of the KV cache; int8 is the CPU's and takes half the memory of f16. Default f16."""
    round_attention: bool
    """With kv_type "bf16": attention rounds queries and probabilities to bf16, too: faster and less exact. Default False."""
    max_num_seqs: int
    """Sequences that run at a time, in [1, 4096]; others wait. Default 64."""
    max_num_batched_tokens: int
    """Tokens in a step, in [0, 2^20]; 0, the default: 256 on the CPU, 512 on CUDA, but no fewer than max_num_seqs."""
    enable_prefix_caching: bool
    """Keep computed prefixes for later sequences. Default True."""
    use_kv_cache: bool
    """False: compute the whole sequence at every step, to see what the cache is worth. Default True."""
    priority_window: int
    """A request is overtaken by at most that many later ones for each step of priority. Default 256."""
    max_queued_requests: int
    """Requests that may wait; 0: any number, the default. Of an Engine."""


Floats = Union[float, Sequence[float], npt.NDArray[Any], None]
"""A number for all rows, or one for each, [rows]."""
Integers = Union[int, Sequence[int], npt.NDArray[Any], None]
"""An integer for all rows, or one for each, [rows]."""


class FilterOptions(TypedDict, total=False):
    """Which tokens stay: top-k first, then top-p among them, then min-p. Each is a number for all rows or an array [rows];
    tensors on the logits' GPU have float32, top_k int32."""

    temperature: Any
    """Divides the logits; >= 0, 0 is greedy. Default 1."""
    top_k: Any
    """Keep the k largest logits; of equal ones those with lower ids. 0 or None: off, the default."""
    top_p: Any
    """Keep the most probable tokens whose probabilities add up to p; > 0. 1, above or None: off, the default."""
    min_p: Any
    """Keep tokens with at least this share of the most probable one's probability; in [0, 1]. 0 or None: off, the default."""
    threads: int
    """CPU threads that share the rows, in [1, 1024]; 0: as many as this process may keep busy. Default 1. Without effect on a
    GPU."""
    stream: Any
    """Of logits on a GPU: where the work is queued. Default: the current stream of CuPy, or for other packages the legacy
    default stream; with PyTorch it is always PyTorch's current one. A stream of any package, or its number as DLPack has it:
    1 legacy, 2 per thread, else its address."""


class DrawOptions(TypedDict, total=False):
    """What decides a draw besides the filters. A parameter is a number for all rows or an array [rows]; None stands for the
    default. Tensors on the logits' GPU have float32, or integers of 64 bits; subsequence has 32."""

    seed: Any
    """In [0, 2^64). Default 0."""
    position: Any
    """How many tokens the sequence has generated before this one, in [0, 2^64). Default 0."""
    subsequence: Any
    """Tells apart continuations of one request, in [0, 2^32). Default 0."""
    repetition_penalty: Any
    """Divides positive logits of tokens in `history` and multiplies negative ones; > 0, 1: off, the default."""
    frequency_penalty: Any
    """Is subtracted from a token's logit for each time that it is in the counted part of `history`. Default 0."""
    presence_penalty: Any
    """Is subtracted once from the logits of tokens in the counted part of `history`. Default 0."""
    history: Any
    """Token ids that are penalised: a sequence, or for several rows one for each; on a GPU also a tensor there, int32
    [tokens] or [rows, tokens]."""
    count_begin: Any
    """Index into `history` at which the counted part begins; the end of the prompt, for instance. Default 0."""
    bias: Any
    """Added to logits: a dict of token ids and numbers for all rows, or one for each; -inf removes a token."""
    allowed: Any
    """Tokens that may be drawn, for all rows or for each: bits, uint32 or int32 [vocab_size / 32 rounded up], or bool
    [vocab_size]; in a tensor on a GPU bits, for each row."""
    out: Any
    """Where the tokens go, int32 [rows]: a writable array where the logits are, which is then what is returned."""
    out_status: Any
    """uint8 [rows]: 0 ok, 1 invalid logits, 2 all masked; 3 on a GPU: parameters there are out of range."""
    out_argmax: Any
    """int32 [rows]: the id of the largest logit."""
    out_logprob: Any
    """float64 [rows]: the token's log-probability at temperature 1, before the filters."""
    out_filtered_logprob: Any
    """float64 [rows]: the token's log-probability after temperature and filters."""
    out_num_kept: Any
    """int64 [rows]: how many tokens passed the filters."""
    out_total_weight: Any
    """uint64 [rows]: the sum of their weights, in units of 2^-40 of the largest."""


class SampleOptions(FilterOptions, DrawOptions, total=False):
    """How tokens are drawn: everything in FilterOptions and DrawOptions."""


document_fields(RequestOptions, EngineOptions, FilterOptions, DrawOptions)
