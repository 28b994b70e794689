"""The sampling contract's cases in tests/data, as docs/sampling.md section 8 describes them; no code of the library."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from conftest import DATA


@dataclass
class Case:
    id: str
    logits: npt.NDArray[np.float32]  # before they are rounded to the type
    dtype: str
    options: dict[str, Any]
    expect: dict[str, Any]


def finalise(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def mixed(seed: int, count: int) -> npt.NDArray[np.uint64]:
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return finalise(np.uint64(seed) + steps)


def logits_of(case: dict[str, Any]) -> npt.NDArray[np.float32]:
    spec = case["logits"]
    u = mixed(spec["seed"], case["vocab"]) >> np.uint64(40)
    if spec["levels"] > 0:
        u = u - u % np.uint64(2**24 // spec["levels"])
    v = (u.astype(np.int64) - 2**23).astype(np.float32) * np.float32(2.0**-23)
    y = (v * v) * v if spec["shape"] == "cubic" else v
    y = y * np.float32(spec["scale"])
    for token, value in case["override"]:
        y[token] = np.float32(value)
    return y


def mask_of(case: dict[str, Any]) -> npt.NDArray[np.bool_] | None:
    spec = case.get("mask")
    if spec is None:
        return None
    mask = (mixed(spec["seed"], case["vocab"]) >> np.uint64(56)) < np.uint64(spec["below"])
    mask[spec["clear"]] = False
    mask[spec["set"]] = True
    return np.asarray(mask)


def load(name: str) -> list[Case]:
    cases = []
    for case in json.loads((DATA / name).read_text()):
        options = {
            key: float(case[key])
            for key in ("temperature", "top_p", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty")
        }
        options |= {
            "top_k": case["top_k"],
            "seed": int(case["seed"]),
            "position": case["position"],
            "subsequence": case["stream"],
            "history": case["history"],
            "count_begin": case.get("count_begin", 0),
            "bias": None,
            "allowed": mask_of(case),
        }
        if case["bias"]:
            tokens = [token for token, _ in case["bias"]]
            assert len(set(tokens)) == len(tokens)
            options["bias"] = {token: float(bias) for token, bias in case["bias"]}
        cases.append(Case(case["id"], logits_of(case), case["logits"]["dtype"], options, case["expect"]))
    return cases
