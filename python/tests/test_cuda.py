"""Tensors on a GPU by stand-ins that export them: on the emulator where there is no GPU, on a GPU where there is one. Draws are
those of the host."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import warploom
from device import Cuda, Tensor, result
from test_sampling import row_of, rows_of
from test_vectors import COUNTS, MASKS, SAMPLING, numpy_row
from vectors import Case


@pytest.mark.parametrize("cases", [SAMPLING, MASKS, COUNTS], ids=["sampling", "masks", "counts"])
def test_vectors(cuda: Cuda, cases: list[Case]) -> None:
    out: dict[str, Tensor] = {
        "out": Tensor(cuda, np.zeros(1, np.int32)),
        "out_status": Tensor(cuda, np.zeros(1, np.uint8)),
        "out_argmax": Tensor(cuda, np.zeros(1, np.int32)),
        "out_num_kept": Tensor(cuda, np.zeros(1, np.int64)),
        "out_total_weight": Tensor(cuda, np.zeros(1, np.uint64)),
        "out_logprob": Tensor(cuda, np.zeros(1)),
        "out_filtered_logprob": Tensor(cuda, np.zeros(1)),
    }
    statuses = {"ok": 0, "invalid_logits": 1, "all_masked": 2}
    for case in cases:
        row = numpy_row(case)
        on_host: dict[str, Any] = {name: np.zeros(1, tensor.dtype) for name, tensor in out.items()}
        warploom.sample(row, **case.options, **on_host)
        options = {name: value for name, value in case.options.items() if value is not None}
        assert warploom.sample(Tensor(cuda, row), **options, **out) is out["out"]
        got = {name: tensor.host()[0] for name, tensor in out.items()}
        assert got["out"] == case.expect["token"], case.id
        assert got["out_status"] == statuses[case.expect["status"]], case.id
        if case.expect["status"] == "ok":
            assert got["out_argmax"] == case.expect["argmax"], case.id
            assert got["out_num_kept"] == case.expect["survivors"], case.id
            assert got["out_total_weight"] == int(case.expect["total_weight"]), case.id
            for name in ("out_logprob", "out_filtered_logprob"):
                np.testing.assert_allclose(got[name], on_host[name][0], atol=1e-6, err_msg=case.id)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_rows_draw_as_on_the_host(cuda: Cuda, dtype: Any) -> None:
    rows = rows_of(7, 3001).astype(dtype)
    options: dict[str, Any] = {
        "temperature": [0.0, 0.5, 1.0, 1.5, 0.1, 1.0, 1.0],
        "top_k": np.array([0, 1, 5, 50, 1000, 0, 3], np.int64),
        "top_p": 0.95,
        "min_p": [0.0, 0.1, 0.0, 0.0, 0.2, 0.0, 0.0],
        "seed": np.array([1, 2**64 - 1, 3, 4, 5, 6, 7], np.uint64),
        "position": 9,
        "subsequence": range(7),
        "repetition_penalty": 1.2,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.3,
        "history": [[1, 2, 2], [], [5], [3000] * 4, [7], [8], [9, 10]],
        "count_begin": [1, 0, 0, 2, 0, 1, 2],
        "bias": [{5: 2.0}, {}, {6: float("-inf")}, {}, {}, {7: 1.0}, {}],
        "allowed": np.arange(3001) % 3 != 1,
    }
    got = result(cuda, warploom.sample(Tensor(cuda, rows), **options))
    assert got.dtype == np.int32
    assert got.tolist() == warploom.sample(rows, **options).tolist()


def test_one_row_is_a_number_there(cuda: Cuda) -> None:
    row = row_of()
    token = warploom.sample(Tensor(cuda, row), seed=3)
    assert token.shape == () and token.dtype == "int32"
    assert result(cuda, token) == warploom.sample(row, seed=3)


def test_parameters_on_the_gpu(cuda: Cuda) -> None:
    rows = rows_of()
    on_host: dict[str, Any] = {
        "temperature": np.array([0.0, 0.5, 1.0, 1.5, 0.1], np.float32),
        "top_k": np.array([0, 1, 5, 50, 1000], np.int32),
        "top_p": np.array([1.0, 0.1, 0.5, 0.9, 0.99], np.float32),
        "min_p": np.array([0.0, 0.5, 0.1, 0.01, 1.0], np.float32),
        "seed": np.array([0, 1, 5, 2**62, 7], np.int64),
        "position": np.array([0, 1, 2**63, 2**40, 7], np.uint64),
        "subsequence": np.array([0, 1, 2**31, 2, 3], np.uint32),
        "repetition_penalty": np.array([1, 1.5, 2, 1, 1], np.float32),
        "frequency_penalty": np.array([0, 0.5, 0, 1, 1], np.float32),
        "presence_penalty": np.array([0, 0, 0.5, 1, 0], np.float32),
        "history": np.arange(20, dtype=np.int32).reshape(5, 4),
        "count_begin": np.array([0, 1, 2, 3, 4], np.int64),
        "allowed": np.full((5, 32), 0x77777777, np.uint32),
    }
    expected = warploom.sample(rows, **on_host).tolist()
    tensors = {name: Tensor(cuda, value) for name, value in on_host.items()}
    assert result(cuda, warploom.sample(Tensor(cuda, rows), **tensors)).tolist() == expected
    for name, tensor in tensors.items():  # one here and the others there
        assert result(cuda, warploom.sample(Tensor(cuda, rows), **(on_host | {name: tensor}))).tolist() == expected, name
    one = {name: Tensor(cuda, on_host[name][2]) for name in ("temperature", "top_k", "seed")}
    same = {name: on_host[name][2] for name in one}
    assert result(cuda, warploom.sample(Tensor(cuda, rows[2]), **one)) == warploom.sample(rows[2], **same)


def test_a_parameter_there_that_is_out_of_range(cuda: Cuda) -> None:
    rows = rows_of()
    status = Tensor(cuda, np.zeros(5, np.uint8))
    top_p = Tensor(cuda, np.array([1, 1, -1, 1, 1], np.float32))
    tokens = result(cuda, warploom.sample(Tensor(cuda, rows), top_p=top_p, out_status=status))
    expected = warploom.sample(rows).tolist()
    assert tokens.tolist() == [*expected[:2], -1, *expected[3:]]
    assert status.host().tolist() == [0, 0, 3, 0, 0]


def test_building_blocks(cuda: Cuda) -> None:
    rows = rows_of(4, 2500)
    rows[1, 7] = np.nan
    device = Tensor(cuda, rows)
    options: Any = {"temperature": [0.7, 1.0, 0.0, 2.0], "top_k": [0, 5, 0, 700], "top_p": 0.9, "min_p": [0.0, 0.0, 0.0, 0.01]}
    for given in ({}, options):
        np.testing.assert_array_equal(result(cuda, warploom.softmax(device, **given)), warploom.softmax(rows, **given))
        np.testing.assert_array_equal(result(cuda, warploom.kept_mask(device, **given)), warploom.kept_mask(rows, **given))
    far = np.array([[-60, 0, -40, -np.inf, -50, -40, -50]], np.float32)  # tokens of weight 0 keep a share
    for k in range(8):
        there = result(cuda, warploom.softmax(Tensor(cuda, far), top_k=k))
        np.testing.assert_array_equal(there, warploom.softmax(far, top_k=k), err_msg=str(k))
    np.testing.assert_array_equal(result(cuda, warploom.top_k_mask(device, 17)), warploom.top_k_mask(rows, 17))
    np.testing.assert_array_equal(result(cuda, warploom.top_p_mask(device, 0.7)), warploom.top_p_mask(rows, 0.7))
    np.testing.assert_array_equal(result(cuda, warploom.min_p_mask(device, 0.1)), warploom.min_p_mask(rows, 0.1))
    single = warploom.top_k_mask(Tensor(cuda, rows[0]), 17)
    assert single.dtype == "bool" and single.shape == (2500,)
    out = Tensor(cuda, np.zeros((4, 2500), np.float32))
    assert warploom.softmax(device, out=out, **options) is out
    np.testing.assert_array_equal(out.host(), warploom.softmax(rows, **options))
    mask = Tensor(cuda, np.ones((4, 2500), np.bool_))
    assert warploom.kept_mask(device, out=mask, **options) is mask
    np.testing.assert_array_equal(mask.host(), warploom.kept_mask(rows, **options))


def test_multinomial(cuda: Cuda) -> None:
    weights = np.random.default_rng(0).random((50, 33), np.float32)
    weights[3], weights[4, 2], weights[5, 2] = 0, -1, np.inf
    positions = np.arange(50)
    expected = warploom.multinomial(weights, seed=5, position=positions, subsequence=2).tolist()
    device = Tensor(cuda, weights)
    assert result(cuda, warploom.multinomial(device, seed=5, position=positions, subsequence=2)).tolist() == expected
    there = Tensor(cuda, positions)
    out = Tensor(cuda, np.zeros(50, np.int32))
    assert warploom.multinomial(device, seed=5, position=there, subsequence=2, out=out) is out
    assert out.host().tolist() == expected and expected[3:6] == [-1, -1, -1]


def test_textbook_names(cuda: Cuda) -> None:
    rows = rows_of()
    device = Tensor(cuda, rows)
    pairs: list[Any] = [
        (warploom.greedy_sample(device), warploom.greedy_sample(rows)),
        (warploom.temperature_sample(device, 0.7, seed=1), warploom.temperature_sample(rows, 0.7, seed=1)),
        (warploom.top_k_sample(device, 50, 0.7, seed=1), warploom.top_k_sample(rows, 50, 0.7, seed=1)),
        (warploom.top_p_sample(device, 0.9, 0.7, seed=1), warploom.top_p_sample(rows, 0.9, 0.7, seed=1)),
    ]
    for there, here in pairs:
        assert result(cuda, there).tolist() == here.tolist()
