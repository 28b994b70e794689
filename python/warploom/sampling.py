"""Drawing tokens from anyone's logits, exactly as docs/sampling.md says: the same logits, parameters, seed and position give
the same token, in every batch and on every device."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _native
from .options import DrawOptions, FilterOptions, Integers, SampleOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack


def sample(logits: Any, **options: Unpack[SampleOptions]) -> Any:
    """Draws a token from each row of logits.

    logits: float32, float16 or bfloat16, [vocab_size] or [rows, vocab_size], in host memory or on a GPU: a NumPy array or
    anything with DLPack. They are read where they are; each row has to be contiguous, rows may lie apart. On the CPU
    they may be one and the same: np.broadcast_to(row, (1000, len(row))) with position=np.arange(1000) draws a thousand tokens
    from one row. The vocabulary has at most 2^22 tokens. options: SampleOptions says what they mean.

    Returns an int for one row, int32 [rows] for several: a tensor if the logits are PyTorch's, else a NumPy array; or `out`, if
    it is given. A row that holds NaN or +inf, or in which every token is masked, gets -1 and disturbs no other.

    Logits on a GPU are drawn from on its current stream (see `stream`). Nothing waits, so nothing comes back to the host: the
    result is a tensor on that GPU, int32 [] for one row, of PyTorch if the logits are, else a DeviceArray, which any
    package's from_dlpack() takes. Parameters may be numbers, arrays on the host, or tensors on the same GPU of exactly the
    type that the library reads. Those on the host are checked. A row for which one on the GPU is out of range gets -1 and the
    status 3. With `out`, a CUDA graph can capture the call, once one like it has run before: it replays with the tensors'
    values of the time, and with the host's of the capture.

    Raises InvalidArgument on arrays of other types, shapes or strides, and on parameters out of range; BackendError if logits
    are on a GPU and this package was built without CUDA, or CUDA fails.
    """
    return _native.sample(logits, options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class SampleResult:
    """What draws came to, an entry for each row; a single row of logits counts as one."""

    token: npt.NDArray[np.int32]
    """[rows]; -1 unless the status is "ok"."""
    status: tuple[str, ...]
    """"ok", "invalid_logits" (NaN or +inf), or "all_masked"."""
    argmax: npt.NDArray[np.int32]
    """[rows]: the id of the largest logit."""
    num_kept: npt.NDArray[np.int64]
    """[rows]: how many tokens passed the filters."""
    total_weight: npt.NDArray[np.uint64]
    """[rows]: the sum of their weights, in units of 2^-40 of the largest."""
    logprob: npt.NDArray[np.float64]
    """[rows]: the token's log-probability at temperature 1, before the filters."""
    filtered_logprob: npt.NDArray[np.float64]
    """[rows]: the token's log-probability after temperature and filters."""
    top_token: npt.NDArray[np.int32]
    """[rows, top]: the most probable tokens before the filters; -1 if a row has fewer."""
    top_logprob: npt.NDArray[np.float64]
    """[rows, top]: their log-probabilities."""
    kept: tuple[npt.NDArray[np.int32], ...]
    """Of each row the ids of the tokens that passed the filters, ascending; empty unless asked for."""


def sample_details(logits: Any, *, top: int = 0, kept: bool = False, **options: Unpack[SampleOptions]) -> SampleResult:
    """The same draws as sample(), with all that can be told about them.

    top: how many of the most probable tokens to list, in [0, 1024]. kept: list the tokens that passed the filters.

    Raises as sample() does, and InvalidArgument on logits on a GPU. Asking never changes a token.
    """
    return SampleResult(**_native.sample_details(logits, top, kept, options))  # type: ignore[arg-type]


def _like(given: Any, result: Any) -> Any:
    """A NumPy array as a tensor, without a copy, if that is what was given."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(given, torch.Tensor) and isinstance(result, np.ndarray):
        return torch.from_numpy(result)
    return result


def softmax(logits: Any, *, out: Any = None, **options: Unpack[FilterOptions]) -> Any:
    """Probabilities of the tokens that pass the filters, 0 for the others: float32 of the shape of `logits`, and where they
    are.

    logits: as sample() takes them. out: a writable contiguous float32 array of that shape in memory of its own. A row with
    NaN or +inf, or without a finite logit, becomes NaN. At temperature 0 the largest logit has it all.

    Raises as sample() does.
    """
    return _like(logits, _native.softmax(logits, options, out))  # type: ignore[arg-type]


def kept_mask(logits: Any, *, out: Any = None, **options: Unpack[FilterOptions]) -> Any:
    """Which tokens pass the filters: bool, of the shape of `logits`, and where they are. A row with NaN or +inf keeps none.

    logits: as sample() takes them. out: a writable contiguous array of bools of that shape.

    Returns a tensor if the logits are PyTorch's, else an array, or `out`. Raises as sample() does.
    """
    return _like(logits, _native.kept_mask(logits, options, out))  # type: ignore[arg-type]


def top_k_mask(logits: Any, k: Integers, *, out: Any = None, stream: Any = None) -> Any:
    """Which tokens are among the k largest logits of their row: bool, of the shape of `logits`. Of equal logits, those with
    lower ids.

    k: an integer >= 0 for all rows, or one for each; 0 keeps all. Tokens of less than 2^-40 of the largest probability are
    never kept.

    Returns and raises as kept_mask() does.
    """
    return kept_mask(logits, top_k=k, out=out, stream=stream)


def top_p_mask(logits: Any, p: Any, *, temperature: Any = 1.0, out: Any = None, stream: Any = None) -> Any:
    """Which tokens are in the nucleus: the most probable ones, as many as it takes for their probabilities to add up to p
    (Holtzman et al. 2020, arXiv:1904.09751). bool, of the shape of `logits`.

    p: > 0, for all rows or for each; 1 and above keep all. Returns and raises as kept_mask() does.
    """
    return kept_mask(logits, top_p=p, temperature=temperature, out=out, stream=stream)


def min_p_mask(logits: Any, p: Any, *, temperature: Any = 1.0, out: Any = None, stream: Any = None) -> Any:
    """Which tokens have at least p times the probability of the most probable one: bool, of the shape of `logits`.

    p: in [0, 1], for all rows or for each. Returns and raises as kept_mask() does.
    """
    return kept_mask(logits, min_p=p, temperature=temperature, out=out, stream=stream)


def multinomial(
    probabilities: Any,
    *,
    seed: Integers = 0,
    position: Integers = 0,
    subsequence: Integers = 0,
    out: Any = None,
    stream: Any = None,
) -> Any:
    """Draws a token from each row of probabilities.

    probabilities: float32 [n] or [rows, n], not negative, of any sum; n at most 2^22. seed, position, subsequence: for all rows
    or for each. out: int32 [rows] to write. On a GPU as sample() does.

    Returns an int for one row, else int32 [rows]; -1 for a row with a negative number, NaN or +inf, and for one of zeros.
    Raises as sample() does.
    """
    return _like(probabilities, _native.multinomial(probabilities, seed, position, subsequence, out, stream))


def greedy_sample(logits: Any, **options: Unpack[DrawOptions]) -> Any:
    """The most probable token of each row; see sample()."""
    return sample(logits, temperature=0.0, **options)


def temperature_sample(logits: Any, temperature: Any = 1.0, **options: Unpack[DrawOptions]) -> Any:
    """Draws from softmax(logits / temperature); see sample()."""
    return sample(logits, temperature=temperature, **options)


def top_k_sample(logits: Any, k: Integers, temperature: Any = 1.0, **options: Unpack[DrawOptions]) -> Any:
    """Draws from the k most probable tokens (Fan et al. 2018, arXiv:1805.04833); see sample()."""
    return sample(logits, temperature=temperature, top_k=k, **options)


def top_p_sample(logits: Any, p: Any, temperature: Any = 1.0, **options: Unpack[DrawOptions]) -> Any:
    """Draws from the nucleus (Holtzman et al. 2020, arXiv:1904.09751); see sample()."""
    return sample(logits, temperature=temperature, top_p=p, **options)
