"""Drawing from anyone's logits: arrays, parameters, results, errors."""

from __future__ import annotations

import sys
import timeit
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from scipy import stats

import warploom


def row_of(size: int = 1000, seed: int = 0, scale: float = 3.0) -> Any:
    return (np.random.default_rng(seed).normal(size=size) * scale).astype(np.float32)


def rows_of(rows: int = 5, size: int = 1000) -> Any:
    return np.stack([row_of(size, seed) for seed in range(rows)])


# Arrays


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_rows_alone_and_together(dtype: Any) -> None:
    rows = rows_of().astype(dtype)
    together = warploom.sample(rows, seed=3, top_p=0.9)
    assert together.dtype == np.int32 and together.shape == (5,)
    assert together.tolist() == [warploom.sample(row, seed=3, top_p=0.9) for row in rows]
    assert isinstance(warploom.sample(rows[0]), int)


def test_no_copy_of_strided_rows() -> None:
    wide = np.full((5, 1500), np.inf, np.float32)  # +inf would make a row invalid, so nothing beside the rows is read
    wide[:, :1000] = rows_of()
    assert warploom.sample(wide[:, :1000], seed=1).tolist() == warploom.sample(rows_of(), seed=1).tolist()
    assert warploom.sample(wide[::2, :1000], seed=1).tolist() == warploom.sample(rows_of(), seed=1)[::2].tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_many_draws_from_one_row(dtype: Any) -> None:
    row, position = rows_of()[0].astype(dtype), np.arange(50)
    repeated, copied = np.broadcast_to(row, (50, len(row))), np.tile(row, (50, 1))
    tokens = warploom.sample(repeated, position=position)
    assert tokens.tolist() == warploom.sample(copied, position=position).tolist()
    assert len(set(tokens)) > 10
    assert np.array_equal(warploom.softmax(repeated, top_k=5), warploom.softmax(copied, top_k=5))
    assert np.array_equal(warploom.top_p_mask(repeated, 0.5), warploom.top_p_mask(copied, 0.5))
    details, other = (
        warploom.sample_details(rows, position=position, top=3, kept=True, top_k=9) for rows in (repeated, copied)
    )
    assert details.token.tolist() == other.token.tolist() and details.top_logprob.tolist() == other.top_logprob.tolist()
    p = np.broadcast_to(warploom.softmax(row), repeated.shape)
    assert warploom.multinomial(p, position=position).tolist() == warploom.multinomial(p.copy(), position=position).tolist()


def test_read_only_logits() -> None:
    rows = rows_of()
    expected = warploom.sample(rows, seed=1).tolist()
    rows.flags.writeable = False
    assert warploom.sample(rows, seed=1).tolist() == expected


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.zeros(4), "float64; they must be float32, float16 or bfloat16"),
        (np.zeros(4, np.int32), "int32; they must be float32"),
        (np.zeros((2, 3, 4), np.float32), r"the shape \(2, 3, 4\)"),
        (np.zeros((), np.float32), r"the shape \(\)"),
        (np.zeros(8, np.float32)[::2], "a stride of 2 elements"),
        (np.zeros((4, 4), np.float32).T, "a stride of 4 elements"),
        (np.zeros((4, 4), np.float32)[::-1], "a stride of -4 elements between rows"),
        (np.zeros(4, ">f4"), "elements of type >f4, which neither DLPack nor the buffer protocol can export"),
        (np.zeros(4, object), "elements of type object"),
        (np.zeros(0, np.float32), "vocab_size is 0"),
        ([0.0, 1.0], "is a list"),
        ("text", "is a str"),
        (None, "is a NoneType"),
    ],
)
def test_wrong_logits(logits: Any, message: str) -> None:
    with pytest.raises(warploom.InvalidArgument, match=message):
        warploom.sample(logits)


class Elsewhere:
    """What a tensor on a device says of itself; 2: of CUDA's, 10: of ROCm's."""

    def __init__(self, device_type: int) -> None:
        self._device_type = device_type

    def __dlpack_device__(self) -> tuple[int, int]:
        return (self._device_type, 0)

    def __dlpack__(self, **_: Any) -> Any:
        raise AssertionError("the producer would have to synchronise with a stream")


ON_ONE_ARRAY: list[Any] = [warploom.sample, warploom.softmax, warploom.kept_mask, warploom.multinomial, warploom.greedy_sample]


@pytest.mark.parametrize("call", ON_ONE_ARRAY)
def test_other_devices_are_refused_before_anything_is_exported(call: Any) -> None:
    with pytest.raises(warploom.InvalidArgument, match="DLPack device type 10"):
        call(Elsewhere(10))


@pytest.mark.parametrize("call", ON_ONE_ARRAY)
def test_without_the_cuda_module_a_message_says_what_is_missing(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "warploom._cuda", None)  # importing it fails as if it were not there
    with pytest.raises(warploom.BackendError, match="is on a GPU, and this package has no module for CUDA: there was no nvcc"):
        call(Elsewhere(2))


def test_without_cudas_libraries_a_message_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            if name == "warploom._cuda":
                raise ImportError("libcudart.so.13: cannot open shared object file")
            return None

    monkeypatch.delitem(sys.modules, "warploom._cuda", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(warploom.BackendError, match=r'libcudart.so.13: cannot open.*pip install "warploom\[cuda\]"'):
        warploom.sample(Elsewhere(2))


def test_details_are_of_arrays_on_the_host() -> None:
    with pytest.raises(warploom.InvalidArgument, match="sample_details.. returns arrays in host memory"):
        warploom.sample_details(Elsewhere(2))


def test_a_stream_is_of_a_gpu() -> None:
    for call in (warploom.sample, warploom.softmax, warploom.kept_mask, warploom.multinomial):
        with pytest.raises(warploom.InvalidArgument, match="stream is given, but"):
            call(row_of(), stream=1)


def test_no_rows() -> None:
    assert warploom.sample(np.zeros((0, 10), np.float32)).shape == (0,)


# Parameters


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("temperature", [0.0, 0.5, 1.0, 1.5, 0.1]),
        ("top_k", [0, 1, 5, 50, 1000]),
        ("top_p", [1.0, 0.1, 0.5, 0.9, 0.99]),
        ("min_p", [0.0, 0.5, 0.1, 0.01, 1.0]),
        ("seed", [0, 1, 2**64 - 1, 2**63, 7]),
        ("position", [0, 1, 2**64 - 1, 2**40, 7]),
        ("subsequence", [0, 1, 2**32 - 1, 2, 3]),
    ],
)
def test_parameters_are_scalars_or_arrays(name: str, values: list[Any]) -> None:
    rows = rows_of()
    single: list[int] = [warploom.sample(row, **{name: value}) for row, value in zip(rows, values)]
    dtypes: list[Any] = [np.float32, np.float64] if isinstance(values[0], float) else [np.uint64]
    for given in [values, tuple(values), *(np.array(values, dtype) for dtype in dtypes)]:
        assert warploom.sample(rows, **{name: given}).tolist() == single
    one = [warploom.sample(row, **{name: values[2]}) for row in rows]
    for scalar in [values[2], np.array(values[2]), np.array(values, dtypes[0])[2]]:
        assert warploom.sample(rows, **{name: scalar}).tolist() == one


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1; it must be a number >= 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_k": 1.5}, "top_k is a float; it must be an integer"),
        ({"top_p": 0.0}, "top_p is 0"),
        ({"min_p": 1.5}, "min_p is 1.5"),
        ({"seed": -1}, "seed is -1; it must be an integer in"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
        ({"seed": "1"}, "seed is a str; it must be a number or one for each row"),
        ({"temperature": b"x"}, "temperature is a bytes; it must be a number or one for each row"),
        ({"history": 3}, "history is a int; it must be a sequence or an array of token ids"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0"),
        ({"temperature": object()}, "temperature is a object"),
        ({"history": [1000], "presence_penalty": 1.0}, "a token of history or bias is not in"),
        ({"history": [1, 2], "count_begin": 3, "presence_penalty": 1.0}, r"count_begin is 3; it must be in \[0, 2\]"),
        ({"bias": {1000: 1.0}}, "a token of history or bias is not in"),
        ({"bias": [1, 2]}, "bias must be a dict|bias has"),
        ({"allowed": np.zeros(31, np.uint32)}, r"allowed has the shape \(31,\)"),
        ({"allowed": np.zeros(1001, np.bool_)}, r"allowed has the shape \(1001,\)"),
        ({"allowed": np.zeros(1000, np.float32)}, "allowed has elements of type float32"),
        ({"temperature": np.ones(2)}, r"temperature has the shape \(2,\)"),
        ({"temperature": np.array(["a"])}, "temperature has elements of type <U1"),
        ({"threads": -1}, "threads is -1; it must be at least 0"),
        ({"threads": 0.5}, "threads is a float"),
        ({"threads": 5000}, "threads is 5000"),
    ],
)
def test_wrong_parameters(options: Any, message: str) -> None:
    with pytest.raises(warploom.InvalidArgument, match=message):
        warploom.sample(row_of(), **options)


def test_a_wrong_parameter_of_one_row_names_it() -> None:
    with pytest.raises(warploom.InvalidArgument, match="row 3: top_p is -1"):
        warploom.sample(rows_of(), top_p=[1.0, 0.5, 0.5, -1.0, 0.5])


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (3, "history is a int; it must have one entry for each of the 5 rows of logits"),
        ([[1], [2]], "history has 2 entries for 5 rows of logits; it must have one for each"),
        ([1, 2, 3, 4, 5], "a row's history is a int; it must be a sequence or an array of token ids"),
    ],
)
def test_a_history_for_each_row(history: Any, message: str) -> None:
    with pytest.raises(warploom.InvalidArgument, match=message):
        warploom.sample(rows_of(), history=history)


def test_unknown_options() -> None:
    with pytest.raises(TypeError, match='no option "topp"'):
        warploom.sample(row_of(), topp=0.5)


def test_masks_of_bits_and_bools() -> None:
    allowed = np.zeros(1000, np.bool_)
    allowed[[3, 500, 999]] = True
    bits = np.zeros(32, np.uint32)
    for token in np.flatnonzero(allowed):
        bits[token // 32] |= np.uint32(1 << (int(token) % 32))
    tokens = {warploom.sample(row_of(), seed=seed, allowed=allowed, temperature=5.0) for seed in range(50)}
    assert tokens == {3, 500, 999}
    for mask in [bits, bits.view(np.int32)]:
        assert tokens == {warploom.sample(row_of(), seed=seed, allowed=mask, temperature=5.0) for seed in range(50)}
    rows = rows_of()
    expected = [warploom.sample(row, allowed=allowed) for row in rows]
    for mask in [allowed, bits, np.tile(allowed, (5, 1)), np.tile(bits, (5, 1))]:
        assert warploom.sample(rows, allowed=mask).tolist() == expected


def test_bad_rows_disturb_no_other() -> None:
    rows = rows_of()
    expected = warploom.sample(rows, seed=1).tolist()
    rows[1, 5], rows[3, :] = np.nan, -np.inf
    details = warploom.sample_details(rows, seed=1)
    assert details.status == ("ok", "invalid_logits", "ok", "all_masked", "ok")
    assert details.token.tolist() == [expected[0], -1, expected[2], -1, expected[4]]
    assert warploom.sample(rows[1]) == -1


# Results


def test_outputs_are_written() -> None:
    rows = rows_of()
    out = np.full(5, -7, np.int32)
    more: dict[str, Any] = {
        "out_status": np.full(5, 9, np.uint8),
        "out_argmax": np.zeros(5, np.int32),
        "out_logprob": np.zeros(5),
        "out_filtered_logprob": np.zeros(5),
        "out_num_kept": np.zeros(5, np.int64),
        "out_total_weight": np.zeros(5, np.uint64),
    }
    assert warploom.sample(rows, seed=1, top_k=10, out=out, **more) is out
    details = warploom.sample_details(rows, seed=1, top_k=10)
    assert out.tolist() == details.token.tolist()
    assert more["out_status"].tolist() == [0] * 5
    for name in ("argmax", "logprob", "filtered_logprob", "num_kept", "total_weight"):
        np.testing.assert_array_equal(more["out_" + name], getattr(details, name))


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros(4, np.int32), r"out has the shape \(4,\); it must be \(5,\)"),
        (np.zeros(5, np.int64), "out has elements of type int64; they must be int32"),
        (np.zeros(10, np.int32)[::2], "out is not contiguous"),
        (read_only(np.zeros(5, np.int32)), "writable"),
        ([0] * 5, "out is a list"),
    ],
)
def test_wrong_outputs(out: Any, message: str) -> None:
    with pytest.raises(warploom.InvalidArgument, match=message):
        warploom.sample(rows_of(), out=out)


def test_details_against_float64() -> None:
    row = row_of()
    details = warploom.sample_details(row, top=5, kept=True, top_k=20, temperature=0.7, seed=2)
    logprobs = row.astype(np.float64) - np.log(np.exp(row.astype(np.float64)).sum())
    order = np.argsort(-row, kind="stable")
    np.testing.assert_array_equal(details.top_token[0], order[:5])
    np.testing.assert_allclose(details.top_logprob[0], logprobs[order[:5]], atol=1e-5)
    np.testing.assert_array_equal(details.kept[0], np.sort(order[:20]))
    token = details.token[0]
    np.testing.assert_allclose(details.logprob[0], logprobs[token], atol=1e-5)
    scaled = row[order[:20]].astype(np.float64) / 0.7
    np.testing.assert_allclose(details.filtered_logprob[0], row[token] / 0.7 - np.log(np.exp(scaled).sum()), atol=1e-5)


def test_top_out_of_range() -> None:
    for top in (-1, 1025):
        with pytest.raises(warploom.InvalidArgument, match=f"top is {top}"):
            warploom.sample_details(row_of(), top=top)


# Building blocks


def softmax64(row: Any, temperature: float = 1.0) -> Any:
    scaled = row.astype(np.float64) / temperature
    e = np.exp(scaled - scaled.max())
    return e / e.sum()


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_softmax_against_float64(temperature: float) -> None:
    rows = rows_of()
    got = warploom.softmax(rows, temperature=temperature)
    assert got.dtype == np.float32 and got.shape == rows.shape
    for row, probabilities in zip(rows, got):
        np.testing.assert_allclose(probabilities, softmax64(row, temperature), rtol=3e-6, atol=1e-12)


def test_softmax_of_what_filters_keep() -> None:
    row = row_of()
    kept = warploom.kept_mask(row, top_k=30, top_p=0.8, temperature=0.9)
    got = warploom.softmax(row, top_k=30, top_p=0.8, temperature=0.9)
    expected = np.where(kept, softmax64(row, 0.9), 0)
    np.testing.assert_allclose(got, expected / expected.sum(), rtol=3e-6)
    out = np.zeros(1000, np.float32)
    assert warploom.softmax(row, top_k=30, top_p=0.8, temperature=0.9, out=out) is out
    np.testing.assert_array_equal(out, got)


def test_shares_too_small_to_be_drawn() -> None:
    """docs/sampling.md section 7: tokens of weight 0 keep their share, unless a filter removed them."""
    row = np.array([-60, 0, -40, -np.inf, -50, -40, -50], np.float32)
    everything = warploom.softmax(row)
    np.testing.assert_allclose(everything, softmax64(row), rtol=3e-6)
    assert (everything[[0, 2, 4]] > 0).all()
    for off in ({"top_k": 0}, {"top_k": 6}, {"top_k": 100}, {"top_p": 1.0}, {"min_p": 0.0}):
        np.testing.assert_array_equal(warploom.softmax(row, **off), everything)
    for k, kept in [(1, [1]), (2, [1, 2]), (3, [1, 2, 5]), (4, [1, 2, 4, 5]), (5, [1, 2, 4, 5, 6])]:
        assert np.flatnonzero(warploom.softmax(row, top_k=k)).tolist() == kept
    assert np.flatnonzero(warploom.softmax(row, top_p=0.999)).tolist() == [1]
    assert np.flatnonzero(warploom.softmax(row, min_p=1e-13)).tolist() == [1]


def test_softmax_at_the_edges() -> None:
    greedy = warploom.softmax(row_of(), temperature=0.0)
    assert greedy[row_of().argmax()] == 1 and greedy.sum() == 1
    assert np.isnan(warploom.softmax(np.array([1, np.nan], np.float32))).all()
    np.testing.assert_allclose(warploom.softmax(np.array([0, -np.inf, 0], np.float16)), [0.5, 0, 0.5])
    for temperature in (1e-30, 1e-6, 1e-3, 0.1, 1e6, 1e30):  # products of other exponential functions come out above 1
        probabilities = warploom.softmax(rows_of(), temperature=temperature)
        assert (probabilities <= 1).all() and (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_masks_against_their_definitions() -> None:
    row = row_of()
    order = np.argsort(-row, kind="stable")
    probabilities = softmax64(row)
    top_k = np.zeros(1000, np.bool_)
    top_k[order[:17]] = True
    np.testing.assert_array_equal(warploom.top_k_mask(row, 17), top_k)
    cumulative = np.cumsum(probabilities[order])
    nucleus = np.zeros(1000, np.bool_)
    nucleus[order[: int(np.searchsorted(cumulative, 0.73)) + 1]] = True
    np.testing.assert_array_equal(warploom.top_p_mask(row, 0.73), nucleus)
    np.testing.assert_array_equal(warploom.min_p_mask(row, 0.05), probabilities >= 0.05 * probabilities.max())
    out = np.ones(1000, np.bool_)
    assert warploom.top_k_mask(row, 17, out=out) is out
    np.testing.assert_array_equal(out, top_k)
    with pytest.raises(warploom.InvalidArgument, match="out has elements of type uint8; they must be bool"):
        warploom.top_k_mask(row, 17, out=out.view(np.uint8))
    both = warploom.top_k_mask(rows_of(), [1, 2, 3, 4, 5])
    assert both.sum(axis=1).tolist() == [1, 2, 3, 4, 5]


def test_textbook_names() -> None:
    row = row_of()
    assert warploom.greedy_sample(row) == row.argmax()
    assert warploom.temperature_sample(row, 0.7, seed=1) == warploom.sample(row, temperature=0.7, seed=1)
    assert warploom.top_k_sample(row, 50, 0.7, seed=1) == warploom.sample(row, top_k=50, temperature=0.7, seed=1)
    assert warploom.top_p_sample(row, 0.9, 0.7, seed=1) == warploom.sample(row, top_p=0.9, temperature=0.7, seed=1)


# Distributions


def chi_square(tokens: Any, probabilities: Any) -> float:
    """The p-value of the hypothesis that tokens are drawn by these probabilities."""
    counts = np.bincount(tokens, minlength=len(probabilities))
    expected = probabilities / probabilities.sum() * len(tokens)
    assert counts[expected == 0].sum() == 0
    rare = expected < 10  # are counted together
    observed = np.append(counts[~rare], counts[rare].sum())
    predicted = np.append(expected[~rare], expected[rare].sum())
    some = predicted > 0
    statistic = ((observed[some] - predicted[some]) ** 2 / predicted[some]).sum()
    return float(stats.chi2.sf(statistic, some.sum() - 1))


DRAWS = 200_000


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}, {"top_k": 10}, {"top_p": 0.8}, {"min_p": 0.1}])
def test_draws_follow_the_softmax(options: Any) -> None:
    row = row_of(50, scale=1.5)
    rows = np.broadcast_to(row, (DRAWS, 50)).copy()
    tokens = warploom.sample(rows, seed=11, position=np.arange(DRAWS), threads=2, **options)
    kept = warploom.kept_mask(row, **options)
    expected = np.where(kept, softmax64(row, options.get("temperature", 1.0)), 0)
    assert chi_square(tokens, expected) > 1e-4


def test_multinomial() -> None:
    weights = np.array([0, 1, 2, 0.5, 6], np.float32)
    rows = np.broadcast_to(weights, (DRAWS, 5)).copy()
    tokens = warploom.multinomial(rows, seed=5, position=np.arange(DRAWS))
    assert chi_square(tokens, weights) > 1e-4
    assert warploom.multinomial(weights, seed=5, position=7) == tokens[7]
    out = np.zeros(DRAWS, np.int32)
    assert warploom.multinomial(rows, seed=5, position=np.arange(DRAWS), out=out) is out
    np.testing.assert_array_equal(out, tokens)
    # Powers of two are exact in both, and both draw by the same random number.
    assert [warploom.multinomial(np.exp2(np.arange(-4, 0, dtype=np.float32)), seed=s) for s in range(20)] == [
        warploom.sample(np.log(np.exp2(np.arange(-4, 0))).astype(np.float32), seed=s) for s in range(20)
    ]


@pytest.mark.parametrize("weights", [[1, -1], [1, np.nan], [1, np.inf], [0, 0]])
def test_multinomial_of_what_is_no_measure(weights: list[float]) -> None:
    assert warploom.multinomial(np.array(weights, np.float32)) == -1


def test_multinomial_takes_float32() -> None:
    for dtype in (np.float16, np.float64, ml_dtypes.bfloat16):
        with pytest.raises(warploom.InvalidArgument, match=f"elements of type {np.dtype(dtype).name}; they must be float32$"):
            warploom.multinomial(np.ones(3, dtype))
    with pytest.raises(warploom.InvalidArgument, match="it must be an array of float32$"):
        warploom.multinomial([0.5, 0.5])


def test_a_call_costs_less_than_10_microseconds() -> None:
    """Beyond the draw itself. Nothing is copied, so the cost is that of a draw from 8 logits, where hardly anything else is
    left."""
    row = row_of(8)
    options: Any = {"temperature": 0.8, "top_k": 50, "top_p": 0.9, "seed": 1, "position": 2}
    best = min(timeit.repeat(lambda: warploom.sample(row, **options), number=200, repeat=30)) / 200
    assert best < 10e-6, best


def test_softmax_refuses_its_own_memory() -> None:
    row = np.arange(8, dtype=np.float32)
    for out in (row, row[1:]):
        with pytest.raises(warploom.InvalidArgument, match="memory of its own"):
            warploom.softmax(row[: len(out)], out=out)
    halves = np.arange(8, dtype=np.float32)
    assert warploom.softmax(halves[:4], out=halves[4:]).sum() == pytest.approx(1)
