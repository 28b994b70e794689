"""With PyTorch, where it is installed: its tensors, its distributions, torch.compile, and transformers' filters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import warploom
from test_sampling import DRAWS, chi_square, rows_of, row_of

torch: Any = pytest.importorskip("torch")


def test_tensors_in_and_out() -> None:
    rows = torch.from_numpy(rows_of())
    tokens = warploom.sample(rows, seed=1)
    assert isinstance(tokens, torch.Tensor) and tokens.dtype == torch.int32
    assert tokens.tolist() == warploom.sample(rows.numpy(), seed=1).tolist()
    out = torch.zeros(5, dtype=torch.int32)
    assert warploom.sample(rows, seed=torch.ones(5, dtype=torch.int64), out=out) is out
    assert out.tolist() == tokens.tolist()
    assert isinstance(warploom.sample(rows[0]), int)


def test_half_precision() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        rows = torch.from_numpy(rows_of()).to(dtype)
        assert warploom.sample(rows, seed=1).tolist() == warploom.sample(rows.float(), seed=1).tolist()


def test_a_tensor_elsewhere() -> None:
    with pytest.raises(warploom.InvalidArgument, match="logits"):
        warploom.sample(torch.zeros(5, device="meta"))


def test_softmax_is_torchs() -> None:
    rows = torch.from_numpy(rows_of())
    np.testing.assert_allclose(warploom.softmax(rows), torch.softmax(rows.double(), -1).numpy(), rtol=3e-6, atol=1e-12)


def test_draws_are_distributed_as_torchs() -> None:
    row = torch.from_numpy(row_of(50, scale=1.5))
    probabilities = torch.softmax(row.double(), -1)
    ours = warploom.sample(row.expand(DRAWS, 50).contiguous(), seed=2, position=np.arange(DRAWS), threads=2).numpy()
    theirs = torch.multinomial(probabilities, DRAWS, replacement=True, generator=torch.Generator().manual_seed(1)).numpy()
    assert chi_square(ours, probabilities.numpy()) > 1e-4
    # Two samples of one distribution.
    counts = np.stack([np.bincount(tokens, minlength=50) for tokens in (ours, theirs)])
    from scipy import stats

    assert stats.chi2_contingency(counts[:, counts.sum(0) > 10]).pvalue > 1e-4


def test_the_operator() -> None:
    import warploom.torch

    rows = torch.from_numpy(rows_of())
    seed, position = torch.arange(5), torch.full((5,), 7)
    expected = warploom.sample(rows, seed=seed.numpy(), position=7, temperature=0.8, top_k=40, top_p=0.9).tolist()
    operator = torch.ops.warploom.sample
    assert operator(rows, seed, position, temperature=0.8, top_k=40, top_p=0.9).tolist() == expected
    torch.library.opcheck(operator, (rows, seed, position), test_utils=("test_schema", "test_faketensor"))

    @torch.compile(backend="eager", fullgraph=True)
    def step(logits: Any, seed: Any, position: Any) -> Any:
        return operator(logits * 2, seed, position, temperature=1.6, top_k=40, top_p=0.9) + 0

    assert step(rows, seed, position).tolist() == expected
    with pytest.raises(warploom.InvalidArgument):
        operator(rows, seed, position, top_p=-1.0)


def test_a_module_in_the_loop() -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table = torch.nn.Embedding(100, 100)

        def forward(self, tokens: Any, cache: Any) -> Any:
            assert tokens.dtype == torch.int64 and not torch.is_grad_enabled()
            return self.table(tokens), len(tokens)

    net = Net()
    table = net.table.weight.detach().numpy()
    expected, seed = [3], warploom.request_seed(2, [3])
    for position in range(10):
        expected.append(warploom.sample(table[expected[-1]], seed=seed, position=position, temperature=0.5))
    assert warploom.generate(net, [3], max_tokens=10, seed=2, temperature=0.5).tolist() == expected[1:]


# On a GPU, where there is one

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use")


@on_a_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_on_a_gpu(dtype: Any) -> None:
    rows = torch.from_numpy(rows_of(7, 3001)).to(dtype)
    there = rows.cuda()
    options: dict[str, Any] = {"temperature": 0.8, "top_k": 100, "top_p": [0.9] * 7, "seed": torch.arange(7)}
    expected = warploom.sample(rows, **options).tolist()
    tokens = warploom.sample(there, **options)
    assert tokens.is_cuda and tokens.dtype == torch.int32 and tokens.tolist() == expected
    assert warploom.sample(there, **(options | {"seed": torch.arange(7).cuda()})).tolist() == expected
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        assert warploom.sample(there, **options).tolist() == expected
    assert warploom.sample(there[0], seed=3).item() == warploom.sample(rows[0], seed=3)
    np.testing.assert_array_equal(warploom.softmax(there, top_p=0.9).cpu().numpy(), warploom.softmax(rows, top_p=0.9))
    np.testing.assert_array_equal(warploom.top_k_mask(there, 9).cpu().numpy(), warploom.top_k_mask(rows, 9))
    shares = warploom.softmax(there)
    assert warploom.multinomial(shares, seed=5).tolist() == warploom.multinomial(shares.cpu().numpy(), seed=5).tolist()


@on_a_gpu
def test_a_cuda_graph() -> None:
    logits, tokens = torch.from_numpy(rows_of()).cuda(), torch.zeros(5, dtype=torch.int32, device="cuda")
    position = torch.zeros(5, dtype=torch.int64, device="cuda")

    def draw() -> None:
        warploom.sample(logits, top_p=0.9, seed=range(5), position=position, out=tokens)
        position.add_(1)

    draw()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        draw()
    for turn in range(1, 4):
        graph.replay()
        assert tokens.tolist() == warploom.sample(rows_of(), top_p=0.9, seed=range(5), position=turn).tolist()


@on_a_gpu
def test_the_operator_on_a_gpu() -> None:
    import warploom.torch

    rows, seed, position = torch.from_numpy(rows_of()), torch.arange(5), torch.full((5,), 7)
    operator = torch.ops.warploom.sample
    there = operator(rows.cuda(), seed.cuda(), position, temperature=0.8, top_p=0.9)
    assert there.is_cuda and there.tolist() == operator(rows, seed, position, temperature=0.8, top_p=0.9).tolist()
