"""All cases of the sampling contract, from Python."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import warploom
from conftest import DATA
from vectors import Case, load

SAMPLING = load("sampling_vectors.json")
MASKS = load("mask_vectors.json")
COUNTS = load("count_vectors.json")


def bfloat16(values: Any) -> Any:
    return values.astype(ml_dtypes.bfloat16)


def numpy_row(case: Case) -> Any:
    if case.dtype == "bf16":
        return bfloat16(case.logits)
    with np.errstate(over="ignore"):
        return case.logits.astype({"f32": np.float32, "f16": np.float16}[case.dtype])


def torch_row(case: Case) -> Any:
    torch = pytest.importorskip("torch")
    return torch.from_numpy(case.logits).to({"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[case.dtype])


def check(case: Case, row: Any) -> None:
    token = warploom.sample(row, **case.options)
    assert token == case.expect["token"], case.id
    details = warploom.sample_details(row, top=3, kept=True, **case.options)
    assert details.status == (case.expect["status"],), case.id
    assert details.token[0] == token
    if case.expect["status"] == "ok":
        assert details.argmax[0] == case.expect["argmax"], case.id
        assert details.num_kept[0] == case.expect["survivors"], case.id
        assert int(details.total_weight[0]) == int(case.expect["total_weight"]), case.id
        assert len(details.kept[0]) == case.expect["survivors"]
        assert token in details.kept[0]


def test_all_are_there() -> None:
    assert len(SAMPLING) == 160
    assert len(MASKS) == 128
    assert len(COUNTS) == 64


@pytest.mark.parametrize("make", [numpy_row, torch_row], ids=["numpy", "torch"])
@pytest.mark.parametrize("cases", [SAMPLING, MASKS, COUNTS], ids=["sampling", "masks", "counts"])
def test_vectors(cases: list[Case], make: Any) -> None:
    for case in cases:
        check(case, make(case))


def test_seeds_of_requests() -> None:
    for case in json.loads((DATA / "request_seed_vectors.json").read_text()):
        assert warploom.request_seed(int(case["seed"]), case["prompt"]) == int(case["expect"]), case["id"]


def test_vectors_as_one_batch() -> None:
    """Rows of one call with every parameter an array are drawn as each alone."""
    cases = [case for case in SAMPLING if case.dtype == "f32" and len(case.logits) == 257]
    assert len(cases) > 3
    names = [name for name in cases[0].options if name not in ("history", "bias", "allowed")]
    arrays: dict[str, Any] = {name: np.array([case.options[name] for case in cases]) for name in names}
    arrays["seed"] = np.array([case.options["seed"] for case in cases], np.uint64)
    arrays["history"] = [case.options["history"] for case in cases]
    arrays["bias"] = [case.options["bias"] or {} for case in cases]
    tokens = warploom.sample(np.stack([case.logits for case in cases]), threads=2, **arrays)
    assert tokens.dtype == np.int32
    assert tokens.tolist() == [case.expect["token"] for case in cases]
