"""The example scripts and the notebook, on small settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import warploom
from conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples"


def run(script: Path, *arguments: str, text: str = "", timeout: float = 300) -> str:
    """What a script prints. It must not fail or warn."""
    environment = os.environ | {"MPLBACKEND": "Agg", "PYTHONWARNINGS": "error::UserWarning", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


def test_generate(smollm2: warploom.Model) -> None:
    shown = run(EXAMPLES / "generate.py", "--prompt", "The old", "--max-tokens", "8", "--strategy", "greedy")
    assert "The old" in shown and "8 tokens in" in shown
    asked = run(EXAMPLES / "generate.py", "--max-tokens", "4", text="Hello\ntop-k\n0.5\nHello\ngreedy\n\n")
    assert asked.count("4 tokens in") == 2


def test_compare_strategies(smollm2: warploom.Model, tmp_path: Path) -> None:
    shown = run(
        EXAMPLES / "compare_strategies.py", "--max-tokens", "12", "--texts", "2", "--lengths", "4,8", "--output", str(tmp_path)
    )
    for strategy in ("greedy", "temperature 0.7", "top-k 50", "top-p 0.9", "top-k 50 + top-p 0.9", "temperature 2 alone"):
        assert strategy in shown
    assert all(is_picture(tmp_path / f"{name}.png") for name in ("filters", "entropy", "diversity", "kv_cache"))


def test_your_own_transformer(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    shown = run(EXAMPLES / "your_own_transformer.py", "--steps", "30", "--max-tokens", "20", "--output", str(tmp_path))
    assert "min-p 0.1            The " in shown and shown.count("tokens/s") == 2
    assert is_picture(tmp_path / "loss.png")


def test_sampling_from_torch() -> None:
    pytest.importorskip("torch")
    assert "compiled:" in run(EXAMPLES / "sampling_from_torch.py")


@pytest.mark.parametrize("grammar", ["xgrammar", "llguidance"])
def test_json_schema(smollm2: warploom.Model, grammar: str) -> None:
    pytest.importorskip(grammar)
    shown = run(EXAMPLES / "json_schema.py", "--grammar", grammar, "--count", "2")
    for line in shown.splitlines():
        person = json.loads(line.removeprefix(f"{grammar}: "))
        assert set(person) == {"name", "age", "hobbies", "married"}
        assert 1 <= person["age"] <= 120 and 1 <= len(person["hobbies"]) <= 3 and isinstance(person["married"], bool)


def test_notebook(smollm2: warploom.Model, tmp_path: Path) -> None:
    """Its cells run from top to bottom."""
    cells = json.loads((EXAMPLES / "tour.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5 and all(cell.get("outputs", []) == [] for cell in cells)
    script = tmp_path / "tour.py"
    script.write_text("\n\n".join(code) + "\nassert sense.perplexity < nonsense.perplexity\nprint('end')\n")
    assert run(script).endswith("end\n")


def test_readme_example(smollm2: warploom.Model, tmp_path: Path) -> None:
    """The README's Python block gives text."""
    readme = (REPOSITORY / "README.md").read_text()
    block = readme.split("```python\n")[1].split("```")[0]
    script = tmp_path / "readme.py"
    model = REPOSITORY / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    script.write_text(block.replace('warploom.pretrained("smollm2-135m")', repr(str(model))))
    assert len(run(script)) > 40
