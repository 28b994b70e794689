"""With JAX, where it is installed."""

from __future__ import annotations

from typing import Any

import pytest

import warploom
from test_sampling import rows_of

jax: Any = pytest.importorskip("jax")


def test_arrays_of_jax() -> None:
    rows = rows_of()
    for dtype in (jax.numpy.float32, jax.numpy.float16, jax.numpy.bfloat16):
        array = jax.numpy.asarray(rows, dtype)
        expected = warploom.sample(rows.astype(array.dtype), seed=[1, 2, 3, 4, 5], top_p=0.9).tolist()
        seeds = jax.numpy.arange(1, 6)
        assert warploom.sample(array, seed=seeds, top_p=0.9).tolist() == expected
        assert warploom.sample(array[2], seed=3, top_p=0.9) == expected[2]


def test_its_arrays_cannot_be_written() -> None:
    with pytest.raises(warploom.InvalidArgument, match="writable"):
        warploom.sample(rows_of(), out=jax.numpy.zeros(5, jax.numpy.int32))
