"""What tensors on a GPU may look like, and what is refused of them."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np
import pytest

import warploom
from device import LEGACY, Cuda, OldTensor, Tensor, exported, module_under_test, result
from test_sampling import row_of, rows_of


def test_exports_before_dlpack_1(cuda: Cuda) -> None:
    logits, out = OldTensor(cuda, rows_of()), OldTensor(cuda, np.zeros(5, np.int32))
    assert warploom.sample(logits, seed=2, out=out) is out
    assert out.host().tolist() == warploom.sample(rows_of(), seed=2).tolist()
    assert logits.streams == [LEGACY] and logits.deleted == out.deleted == 1


def test_rows_that_lie_apart(cuda: Cuda) -> None:
    wide = np.full((5, 1500), np.inf, np.float32)  # +inf would make a row invalid, so nothing beside the rows is read
    wide[:, :1000] = rows_of()
    logits = Tensor(cuda, wide, strides=(1500, 1))
    logits.shape = (5, 1000)
    assert result(cuda, warploom.sample(logits, seed=1)).tolist() == warploom.sample(rows_of(), seed=1).tolist()


def test_one_row_again_and_again_is_refused(cuda: Cuda) -> None:
    logits = Tensor(cuda, rows_of(), strides=(0, 1))
    with pytest.raises(warploom.InvalidArgument, match="logits repeats one row"):
        warploom.sample(logits)


def test_no_rows(cuda: Cuda) -> None:
    none = Tensor(cuda, np.zeros((0, 10), np.float32))
    assert warploom.sample(none).shape == (0,)
    assert warploom.softmax(none).shape == warploom.top_k_mask(none, 3).shape == (0, 10)
    assert warploom.multinomial(none, seed=range(0)).shape == (0,)


def test_read_only_logits(cuda: Cuda) -> None:
    logits = Tensor(cuda, rows_of(), read_only=True)
    assert result(cuda, warploom.sample(logits)).tolist() == warploom.sample(rows_of()).tolist()
    with pytest.raises(warploom.InvalidArgument, match="out is a device.Tensor that cannot be written"):
        warploom.sample(logits, out=Tensor(cuda, np.zeros(5, np.int32), read_only=True))


WRONG: list[Any] = [
    ({"out": np.zeros(5, np.int32)}, "out is not on a GPU, as logits is"),
    ({"out": [0] * 5}, "out is a list, not a tensor"),
    ({"top_p": [1.0, 0.5, 0.5, -1.0, 0.5]}, "row 3: top_p is -1"),
    ({"temperature": -1.0}, "temperature is -1"),
    ({"seed": -1}, "seed is -1; it must be an integer in"),
    ({"history": [[1000]] * 5, "presence_penalty": 1.0}, "row 0: a token of history or bias is not in"),
    ({"bias": {1000: 1.0}}, "row 0: a token of history or bias is not in"),
    ({"history": [[1, 2]] * 5, "count_begin": 3}, r"count_begin is 3; it must be in \[0, 2\]"),
    ({"allowed": np.zeros(31, np.uint32)}, r"allowed has the shape \(31,\)"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_options(cuda: Cuda, options: Any, message: str) -> None:
    with pytest.raises(warploom.InvalidArgument, match=message):
        warploom.sample(Tensor(cuda, rows_of()), **options)


WRONG_THERE: list[Any] = [
    ("out", np.zeros(4, np.int32), r"out has the shape \(4,\); it must be \(5,\)"),
    ("out", np.zeros(5, np.int64), "out has elements of type int64; they must be int32"),
    ("out_status", np.zeros(5, np.int8), "out_status has elements of type int8; they must be uint8"),
    ("temperature", np.zeros(5), "temperature has elements of type float64; on a GPU they must be float32"),
    ("top_k", np.zeros(5, np.int64), "top_k has elements of type int64; on a GPU they must be int32"),
    ("seed", np.zeros(5, np.int32), "seed has elements of type int32; on a GPU they must be uint64"),
    ("top_p", np.ones(4, np.float32), r"top_p has the shape \(4,\); on a GPU it must be \(5,\)"),
    ("top_p", np.float32(1), r"top_p has the shape \(\); on a GPU it must be \(5,\)"),
    ("history", np.zeros(5, np.int32), r"history has the shape \(5,\); on a GPU it must be \(5, tokens\)"),
    ("allowed", np.zeros((5, 1000), np.bool_), "allowed has elements of type bool; on a GPU it must be uint32"),
    ("allowed", np.zeros(32, np.uint32), "each of the 5 rows needs its own"),
    ("bias", np.zeros(5), "bias is on a GPU; it must be on the host"),
    ("threads", np.zeros(1, np.int32), "threads is on a GPU; it must be on the host"),
]


@pytest.mark.parametrize(("name", "array", "message"), WRONG_THERE)
def test_wrong_tensors(cuda: Cuda, name: str, array: Any, message: str) -> None:
    with pytest.raises(warploom.InvalidArgument, match=message):
        warploom.sample(Tensor(cuda, rows_of()), **{name: Tensor(cuda, array)})


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 10)), "logits has elements of type float64; they must be float32"),
        (np.zeros((2, 3, 4), np.float32), r"logits has the shape \(2, 3, 4\)"),
        (np.zeros((5, 0), np.float32), "vocab is 0"),
    ],
)
def test_wrong_logits(cuda: Cuda, array: Any, message: str) -> None:
    for call in (warploom.sample, warploom.softmax, warploom.kept_mask, warploom.multinomial):
        with pytest.raises(warploom.InvalidArgument, match=message.replace("logits", "(logits|probabilities)")):
            call(Tensor(cuda, array))


def test_wrong_names_and_types(cuda: Cuda) -> None:
    logits = Tensor(cuda, rows_of())
    with pytest.raises(TypeError, match='no option "topp"'):
        warploom.sample(logits, topp=0.5)
    with pytest.raises(TypeError, match='no option "seed"'):
        warploom.softmax(logits, seed=1)
    with pytest.raises(warploom.InvalidArgument, match="elements of type float16; they must be float32$"):
        warploom.multinomial(Tensor(cuda, rows_of().astype(np.float16)))


def test_another_gpu(cuda: Cuda) -> None:
    with pytest.raises(warploom.InvalidArgument, match="seed is on GPU 1; it must be on GPU 0, as logits is"):
        warploom.sample(Tensor(cuda, rows_of()), seed=Tensor(cuda, np.arange(5), number=1))
    with pytest.raises(warploom.BackendError, match="choosing a GPU: cudaErrorInvalidDevice"):
        warploom.sample(Tensor(cuda, rows_of(), number=99))
    assert result(cuda, warploom.sample(Tensor(cuda, rows_of()))).shape == (5,)


def test_a_producer_that_fails(cuda: Cuda) -> None:
    class Failing(Tensor):
        def __dlpack__(self, **_: Any) -> Any:
            raise BufferError("it requires a gradient")

    class Nonsense(Tensor):
        def __dlpack__(self, **_: Any) -> Any:
            return 5

    with pytest.raises(warploom.InvalidArgument, match="logits cannot be exported by DLPack: it requires a gradient"):
        warploom.sample(Failing(cuda, row_of()))
    with pytest.raises(warploom.InvalidArgument, match="export is no DLPack tensor"):
        warploom.sample(Nonsense(cuda, row_of()))


def test_nothing_is_held_or_lost(cuda: Cuda) -> None:
    """Neither references to tensors nor device memory, over many calls, refused ones among them."""
    logits, out = Tensor(cuda, rows_of()), Tensor(cuda, np.zeros(5, np.int32))
    references = sys.getrefcount(logits), sys.getrefcount(out)
    for turn in range(100):
        warploom.sample(logits, seed=turn, out=out)
        warploom.sample(logits, seed=turn)
        with pytest.raises(warploom.InvalidArgument):
            warploom.sample(logits, top_p=-1.0, out=out)
    assert (sys.getrefcount(logits), sys.getrefcount(out)) == references
    assert logits.deleted == len(logits.streams) == 300 and not exported


@pytest.mark.skipif("module_under_test() is None", reason="the emulator fails on purpose")
def test_cuda_fails(cuda: Cuda) -> None:
    """The exception says what failed, and the next call works."""
    runtime = ctypes.CDLL(cuda.path)
    logits = Tensor(cuda, rows_of())
    for function, error, kind, message in [
        ("cudaMallocFromPoolAsync", 2, warploom.OutOfMemory, "allocating memory for sampling: out of device memory"),
        ("cudaLaunchKernel", 719, warploom.BackendError, "cudaErrorLaunchFailure"),
    ]:
        runtime.warploom_emulator_inject(function.encode(), 1, error)
        with pytest.raises(kind, match=message):
            warploom.sample(logits, top_p=0.9)
        runtime.warploom_emulator_inject(function.encode(), 0, 0)
        assert result(cuda, warploom.sample(logits, top_p=0.9)).tolist() == warploom.sample(rows_of(), top_p=0.9).tolist()
