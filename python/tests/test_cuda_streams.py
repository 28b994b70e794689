"""Streams of calls on a GPU: what producers and consumers are told, that nothing waits, and that a graph captures it."""

from __future__ import annotations

import ctypes
import sys
import types
from typing import Any

import numpy as np
import pytest

import warploom
from device import LEGACY, PER_THREAD, Cuda, Tensor, module_under_test, result
from test_sampling import row_of, rows_of

WAITS = ["cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy", "cudaMalloc", "cudaFree"]


class Watch:
    """Nothing waits, and nothing is read back, inside a `with` of it."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda

    def counts(self) -> dict[str, int]:
        return {name: self._cuda.calls(name) for name in WAITS} if self._cuda.emulated else {}

    def __enter__(self) -> None:
        self._before = self.counts()

    def __exit__(self, *_: Any) -> None:
        assert self.counts() == self._before


def test_every_tensor_is_told_the_stream(cuda: Cuda) -> None:
    stream = cuda.stream()
    given: list[Any] = [{}, {"stream": LEGACY}, {"stream": PER_THREAD}, {"stream": stream}]
    for options, told in zip(given, [LEGACY, LEGACY, PER_THREAD, stream]):
        logits, seed = Tensor(cuda, rows_of()), Tensor(cuda, np.arange(5))
        out, status = Tensor(cuda, np.zeros(5, np.int32)), Tensor(cuda, np.zeros(5, np.uint8))
        warploom.sample(logits, seed=seed, out=out, out_status=status, **options)
        for tensor in (logits, seed, out, status):
            assert tensor.streams == [told] and tensor.deleted == 1


def test_streams_of_other_packages(cuda: Cuda) -> None:
    stream = cuda.stream()
    for name, said in [("cuda_stream", stream), ("ptr", stream), ("__cuda_stream__", lambda: (0, stream))]:
        logits = Tensor(cuda, rows_of())
        warploom.softmax(logits, stream=types.SimpleNamespace(**{name: said}))
        assert logits.streams == [stream]
    logits = Tensor(cuda, rows_of())
    warploom.kept_mask(logits, top_k=3, stream=types.SimpleNamespace(cuda_stream=0))  # as PyTorch calls the default stream
    assert logits.streams == [LEGACY]
    for wrong, message in [(0, "stream is 0; it must be 1"), (-1, "stream is -1"), ("x", "stream is a str")]:
        with pytest.raises(warploom.InvalidArgument, match=message):
            warploom.sample(Tensor(cuda, row_of()), stream=wrong)


def test_nothing_waits(cuda: Cuda) -> None:
    rows, stream = rows_of(), cuda.stream()
    logits, weights = Tensor(cuda, rows), Tensor(cuda, warploom.softmax(rows))
    warploom.sample(logits, stream=stream)  # the first call makes the pool
    with Watch(cuda):
        tokens = warploom.sample(logits, seed=1, top_p=[0.9] * 5, history=[[1]] * 5, presence_penalty=0.1, stream=stream)
        shares = warploom.softmax(logits, top_k=5, stream=stream)
        mask = warploom.top_k_mask(logits, 5, stream=stream)
        drawn = warploom.multinomial(weights, seed=3, stream=stream)
    expected = warploom.sample(rows, seed=1, top_p=0.9, history=[[1]] * 5, presence_penalty=0.1)
    np.testing.assert_array_equal(result(cuda, tokens, stream), expected)
    np.testing.assert_array_equal(result(cuda, shares, stream), warploom.softmax(rows, top_k=5))
    np.testing.assert_array_equal(result(cuda, mask, stream), warploom.top_k_mask(rows, 5))
    np.testing.assert_array_equal(result(cuda, drawn, stream), warploom.multinomial(warploom.softmax(rows), seed=3))


def test_work_stays_in_the_streams_order(cuda: Cuda) -> None:
    """What was queued before on the stream is done first, on that stream and on no other."""
    rows, stream = rows_of(), cuda.stream()
    source, logits = Tensor(cuda, rows), Tensor(cuda, np.zeros_like(rows))
    out = Tensor(cuda, np.zeros(5, np.int32))
    size = ctypes.c_size_t(rows.nbytes)
    cuda("cudaMemcpyAsync", ctypes.c_void_p(logits.address), ctypes.c_void_p(source.address), size, 3, ctypes.c_void_p(stream))
    warploom.sample(logits, seed=1, out=out, stream=stream)
    cuda("cudaMemsetAsync", ctypes.c_void_p(logits.address), 0, size, ctypes.c_void_p(stream))
    cuda("cudaStreamSynchronize", ctypes.c_void_p(stream))
    assert out.host().tolist() == warploom.sample(rows, seed=1).tolist()


@pytest.mark.skipif("module_under_test() is None", reason="what the emulator counts")
def test_a_result_is_ordered_for_its_reader(cuda: Cuda) -> None:
    stream, other = cuda.stream(), cuda.stream()
    tokens = warploom.sample(Tensor(cuda, rows_of()), stream=stream)

    def waits(**told: Any) -> int:
        before = cuda.calls("cudaStreamWaitEvent")
        tokens.__dlpack__(max_version=(1, 0), **told)
        return cuda.calls("cudaStreamWaitEvent") - before

    assert waits(stream=stream) == 0
    assert waits(stream=-1) == 0
    assert waits(stream=other) == 1
    assert waits(stream=LEGACY) == 1
    assert waits(stream=PER_THREAD) == 1
    assert waits() == 1  # DLPack: None is the legacy stream
    with pytest.raises(warploom.InvalidArgument, match="stream is 0"):
        tokens.__dlpack__(stream=0)
    with pytest.raises(BufferError):
        tokens.__dlpack__(copy=True)
    with pytest.raises(BufferError):
        tokens.__dlpack__(dl_device=(1, 0))
    assert tokens.__dlpack__(dl_device=(2, 0), copy=False) is not None


def test_a_graph_captures_a_draw(cuda: Cuda) -> None:
    """It replays with what tensors hold then, and with what the host's parameters were."""
    rows, stream = rows_of(5, 3001), cuda.stream()
    logits, position = Tensor(cuda, rows), Tensor(cuda, np.zeros(5, np.int64))
    out, shares = Tensor(cuda, np.zeros(5, np.int32)), Tensor(cuda, np.zeros((5, 3001), np.float32))
    mask, drawn = Tensor(cuda, np.zeros((5, 3001), np.bool_)), Tensor(cuda, np.zeros(5, np.int32))
    seeds = np.arange(5)

    def work() -> None:
        warploom.sample(logits, temperature=0.8, top_p=0.9, seed=seeds, position=position, out=out, stream=stream)
        warploom.softmax(logits, top_k=7, out=shares, stream=stream)
        warploom.top_p_mask(logits, 0.5, out=mask, stream=stream)
        warploom.multinomial(shares, seed=seeds, position=position, out=drawn, stream=stream)

    work()
    run = cuda.replay(stream, work)
    seeds[:] = 77
    for turn in range(3):
        rows = np.roll(rows, 100, axis=1)
        logits.set(rows)
        position.set(np.full(5, turn))
        run()
        expected = warploom.sample(rows, temperature=0.8, top_p=0.9, seed=range(5), position=turn)
        np.testing.assert_array_equal(out.host(), expected)
        np.testing.assert_array_equal(shares.host(), warploom.softmax(rows, top_k=7))
        np.testing.assert_array_equal(mask.host(), warploom.top_p_mask(rows, 0.5))
        expected = warploom.multinomial(warploom.softmax(rows, top_k=7), seed=range(5), position=turn)
        np.testing.assert_array_equal(drawn.host(), expected)


class FakeTorch(types.ModuleType):
    """What of PyTorch the module asks for."""

    int32, float32, bool = np.int32, np.float32, np.bool_

    def __init__(self, runtime: Cuda, stream: int) -> None:
        super().__init__("torch")

        class TorchTensor(Tensor):
            def new_empty(self, shape: Any, dtype: Any) -> Tensor:
                return TorchTensor(runtime, np.zeros(shape, dtype))

        self.Tensor = TorchTensor
        self.cuda = types.SimpleNamespace(current_stream=lambda device: types.SimpleNamespace(cuda_stream=stream))


@pytest.mark.parametrize("default", [True, False], ids=["its default stream", "a stream of its own"])
def test_tensors_of_pytorch(cuda: Cuda, monkeypatch: pytest.MonkeyPatch, default: bool) -> None:
    """They are drawn from on its current stream, so it has nothing to order; results are its own tensors."""
    stream = 0 if default else cuda.stream()
    torch = FakeTorch(cuda, stream)
    monkeypatch.setitem(sys.modules, "torch", torch)
    logits, seed, position = torch.Tensor(cuda, rows_of()), torch.Tensor(cuda, np.arange(5)), Tensor(cuda, np.arange(5))
    tokens = warploom.sample(logits, seed=seed, position=position)
    assert isinstance(tokens, torch.Tensor)
    assert logits.streams == seed.streams == tokens.streams == [-1]
    assert position.streams == [stream or LEGACY]
    assert tokens.host().tolist() == warploom.sample(rows_of(), seed=range(5), position=range(5)).tolist()
    assert warploom.sample(torch.Tensor(cuda, row_of())).shape == ()
    mask = warploom.top_k_mask(logits, 3)
    assert isinstance(mask, torch.Tensor) and mask.dtype == np.bool_ and mask.host().sum() == 15
    with pytest.raises(warploom.InvalidArgument, match="use `with torch.cuda.stream"):
        warploom.sample(logits, stream=1)
