#!/usr/bin/env python3
"""Random and extreme blocks of every weight type with the values that the PyPI package gguf gives them.

    pip install gguf numpy && tests/data/make_quants.py > tests/data/quants.json
"""
import json

import gguf
import numpy as np

BLOCKS = 24


def scales_at(kind):
    """Byte offsets of binary16 scales within a block: kept finite, so that values are."""
    return {"Q6_K": [208], "Q4_1": [0, 2], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2]}.get(kind, [0])


def main():
    rng = np.random.default_rng(1)
    out = {}
    for kind in ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]:
        qtype = getattr(gguf.GGMLQuantizationType, kind)
        block, size = gguf.GGML_QUANT_SIZES[qtype]
        count = BLOCKS if block > 1 else 256
        raw = rng.integers(0, 256, (count, size), dtype=np.uint8)
        raw[0], raw[1] = 0, 255
        if block > 1:
            for at in scales_at(kind):
                scale = rng.normal(0, 0.05, count).astype(np.float16)
                scale[2], scale[3], scale[4] = 6e-8, 65504.0, -0.0
                raw[:, at:at + 2] = scale.view(np.uint8).reshape(-1, 2)
        with np.errstate(all="ignore"):
            data = raw.reshape(1, -1)
            if kind == "F32":
                values = data.view(np.float32)
            elif kind == "F16":
                values = data.view(np.float16).astype(np.float32)
            else:
                values = gguf.quants.dequantize(data, qtype)
        out[kind] = {"blocks": raw.tobytes().hex(), "values": values.astype(np.float32).tobytes().hex()}
    print(json.dumps(out, indent=0))


main()
