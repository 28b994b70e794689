#!/usr/bin/env python3
"""Writes rope_scaling.json: what transformers makes of position scaling.

For each kind, the frequency of every pair of a head (radians a position) and the factor on cosines and sines.
Needs: pip install transformers torch
"""
import json
import pathlib

import transformers
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

CASES = [
    {"rope_type": "linear", "factor": 4.0, "base": 10000.0, "head_dim": 64, "original": 2048},
    {"rope_type": "yarn", "factor": 4.0, "base": 10000.0, "head_dim": 64, "original": 2048},
    {"rope_type": "yarn", "factor": 16.0, "base": 1000000.0, "head_dim": 128, "original": 32768},
    {"rope_type": "yarn", "factor": 2.0, "base": 500000.0, "head_dim": 32, "original": 8192, "beta_fast": 16.0, "beta_slow": 2.0},
]


def answer(case):
    parameters = {"rope_type": case["rope_type"], "factor": case["factor"], "rope_theta": case["base"],
                  "original_max_position_embeddings": case["original"]}
    for key in ("beta_fast", "beta_slow"):
        if key in case:
            parameters[key] = case[key]
    config = LlamaConfig(hidden_size=4 * case["head_dim"], num_attention_heads=4, head_dim=case["head_dim"],
                         max_position_embeddings=int(case["original"] * case["factor"]), rope_parameters=parameters)
    frequencies, attention = ROPE_INIT_FUNCTIONS[case["rope_type"]](config, "cpu")
    return case | {"frequencies": [float(f) for f in frequencies], "attention_factor": float(attention)}


out = pathlib.Path(__file__).parent / "rope_scaling.json"
out.write_text(json.dumps({"source": f"transformers {transformers.__version__}", "cases": [answer(c) for c in CASES]}, indent=1) + "\n")
print(f"{out}: {len(CASES)} cases")
