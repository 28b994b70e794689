"""What several test files use: models, and the shared test data."""

from __future__ import annotations

import gc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import warploom
from device import Cuda, exported, module_under_test

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY / "tests" / "data"
MODEL = REPOSITORY / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


def tiny_model(context_length: int) -> warploom.Model:
    """A model that takes no time: its text is noise."""
    shape = warploom.ModelShape(
        vocab_size=300,
        context_length=context_length,
        num_layers=2,
        hidden_size=64,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
        intermediate_size=96,
    )
    return warploom.synthetic_model(shape, "F32", seed=7, device="cpu", threads=1)


@pytest.fixture(scope="session")
def tiny() -> warploom.Model:
    return tiny_model(512)


@pytest.fixture(scope="session")
def smollm2() -> Iterator[warploom.Model]:
    """SmolLM2-135M-Instruct, where scripts/setup has fetched it."""
    if not MODEL.exists():
        if os.environ.get("WARPLOOM_TEST_MODEL_REQUIRED"):
            pytest.fail(f"{MODEL} is missing")
        pytest.skip(f"{MODEL} is missing: scripts/test fetches it")
    yield warploom.Model.load(MODEL, device="cpu")


@pytest.fixture(scope="session")
def cuda() -> Iterator[Cuda]:
    path = module_under_test()
    if path is None:
        try:
            from warploom import _cuda  # noqa: F401
        except ImportError as error:
            pytest.skip(f"no module for CUDA: {error}")
    else:
        loader = importlib.machinery.ExtensionFileLoader("warploom._cuda", path)
        spec = importlib.util.spec_from_loader("warploom._cuda", loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["warploom._cuda"] = module
        loader.exec_module(module)
    runtime = Cuda()
    if path is not None:
        assert runtime.emulated, f"{path} runs on {runtime.path}, which is not the emulator"
    if not runtime.available():
        pytest.skip("no GPU here; the preset `emulated` runs these tests without one")
    yield runtime
    gc.collect()
    runtime.synchronize()
    assert runtime.report() == ""
    assert not exported, "exported tensors that nobody has given back"
