#!/usr/bin/env python3
"""Writes vectors of docs/sampling.md, which it implements in plain Python. Shares no code with the library.

mask_vectors.json: draws with a mask of allowed tokens. Same keys as sampling_vectors.json, and `mask`: token t may be drawn if the top
byte of finalise(seed + (t + 1) * 0x9E3779B97F4A7C15) is below `below`, but for the tokens in `set`, which may, and in `clear`, which
may not.
count_vectors.json: draws with penalties that count a part of the history, from `count_begin` on.
request_seed_vectors.json: the seed of a request, by the call's seed and the prompt.
"""

import ctypes
import json
import math
import pathlib
import random
import struct
from fractions import Fraction

MASK64 = (1 << 64) - 1
INF = math.inf


def f32(x):
    return ctypes.c_float(x).value


def f16(x):
    try:
        return struct.unpack("<e", struct.pack("<e", x))[0]
    except OverflowError:
        return math.copysign(INF, x)


def bf16(x):
    if math.isnan(x) or math.isinf(x):
        return x
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def fma(a, b, c):
    """One rounding to binary32; the results here are near 1, so neither subnormal nor large."""
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    exponent = math.frexp(float(exact))[1] - 24
    return math.ldexp(round(exact / Fraction(2) ** exponent), exponent)  # round() halves to even


def finalise(z):
    z &= MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def mixed(seed, i):
    return finalise(seed + (i + 1) * 0x9E3779B97F4A7C15)


def logits_of(case):
    spec, round_to = case["logits"], {"f32": f32, "f16": f16, "bf16": bf16}[case["logits"]["dtype"]]
    row = []
    for i in range(case["vocab"]):
        u = mixed(spec["seed"], i) >> 40
        if spec["levels"] > 0:
            u -= u % ((1 << 24) // spec["levels"])
        v = (u - (1 << 23)) * 2.0**-23
        y = f32(f32(v * v) * v) if spec["shape"] == "cubic" else v
        row.append(f32(y * f32(spec["scale"])))
    for token, value in case["override"]:
        row[token] = f32(float(value))
    return [round_to(y) for y in row]


def allowed(case, t):
    mask = case["mask"]
    if t in mask["set"]:
        return True
    return t not in mask["clear"] and mixed(mask["seed"], t) >> 56 < mask["below"]


def bad(y):
    return math.isnan(y) or y == INF


def random_bits(seed, position, subsequence):
    c = [position & 0xFFFFFFFF, position >> 32, subsequence, 0]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c[1] << 32 | c[0]


def weight(x, m, temperature):
    s = min(f32(1.4426950408889634 / f32(temperature)), 3.4028234663852886e38)
    t = f32(f32(x - m) * s)
    if t < -64:
        return 0
    n = round(t)
    f = t - n
    q = float.fromhex("0x1.417ca6p-13")
    for c in ("0x1.5f0946p-10", "0x1.3b2dd0p-7", "0x1.c6af7ap-5", "0x1.ebfbdcp-3", "0x1.62e430p-1", "0x1p0"):
        q = fma(q, f, float.fromhex(c))
    fixed, shift = int(q * 2**24), 16 + n
    return fixed << shift if shift >= 0 else fixed >> -shift


def expected(case):
    refused = {"token": -1, "survivors": 0, "total_weight": "0", "argmax": -1}
    y = logits_of(case)
    invalid = any(map(bad, y))
    r, f, q = (f32(case[k]) for k in ("repetition_penalty", "frequency_penalty", "presence_penalty"))
    history, counted = case["history"], case["history"][case.get("count_begin", 0):]
    for token in sorted(set(history)):
        if r != 1:
            y[token] = f32(y[token] / r) if y[token] > 0 else f32(y[token] * r)
    for token in sorted(set(counted)):
        if f != 0:
            y[token] = f32(y[token] - f32(f * counted.count(token)))
        if q != 0:
            y[token] = f32(y[token] - q)
    for token, bias in case["bias"]:
        y[token] = f32(y[token] + f32(float(bias)))
    if "mask" in case:
        y = [x if allowed(case, t) else -INF for t, x in enumerate(y)]
    if invalid or any(map(bad, y)):
        return {"status": "invalid_logits", **refused}
    order = sorted((t for t in range(len(y)) if y[t] != -INF), key=lambda t: (-y[t], t))
    if not order:
        return {"status": "all_masked", **refused}
    argmax, m = order[0], y[order[0]]
    if case["temperature"] == 0:
        return {"status": "ok", "token": argmax, "survivors": 1, "total_weight": str(1 << 40), "argmax": argmax}
    weights = {t: weight(y[t], m, case["temperature"]) for t in order}
    if 0 < case["top_k"] < len(order):
        order = order[: case["top_k"]]
    if f32(case["top_p"]) < 1:
        p32 = max(1, round(f32(case["top_p"]) * 2**32))
        threshold = -(-p32 * sum(weights[t] for t in order) // 2**32)
        total = keep = 0
        while keep == 0 or total < threshold:
            total += weights[order[keep]]
            keep += 1
        order = order[:keep]
    least = max(1, math.ceil(f32(case["min_p"]) * 2**40))
    order = sorted(t for t in order if weights[t] >= least)
    total = sum(weights[t] for t in order)
    at = random_bits(int(case["seed"]), case["position"], case["stream"]) * total >> 64
    for token in order:
        at -= weights[token]
        if at < 0:
            break
    return {"status": "ok", "token": token, "survivors": len(order), "total_weight": str(total), "argmax": argmax}


def make_case(rng, i):
    vocab = rng.choice([1, 2, 31, 32, 33, 64, 65, 257, 1023, 2049])
    tokens = lambda count: [rng.randrange(vocab) for _ in range(count)]
    penalised = rng.random() < 0.4
    case = {
        "id": f"m{i}",
        "vocab": vocab,
        "logits": {"seed": rng.getrandbits(48), "scale": rng.choice([0.0, 0.5, 8.0, 60.0]),
                   "shape": rng.choice(["uniform", "cubic"]), "levels": rng.choice([0, 0, 1, 16]),
                   "dtype": rng.choice(["f32", "f16", "bf16"])},
        "temperature": rng.choice([0.0, 0.7, 1.0, 1.3]),
        "top_k": rng.choice([0, 0, 1, 2, 50, vocab]),
        "top_p": rng.choice([1.0, 1.0, 0.95, 0.5, 0.0001]),
        "min_p": rng.choice([0.0, 0.0, 0.05, 0.5]),
        "seed": str(rng.choice([0, 1, MASK64, rng.getrandbits(64)])),
        "position": rng.choice([0, 2, 1000, 1 << 33]),
        "stream": rng.choice([0, 1, 7]),
        "repetition_penalty": rng.choice([1.0, 1.1]) if penalised else 1.0,
        "frequency_penalty": rng.choice([0.0, -0.5, 0.7]) if penalised else 0.0,
        "presence_penalty": rng.choice([0.0, 0.7]) if penalised else 0.0,
        "override": [],
        "history": tokens(rng.randrange(20)) if penalised else [],
        "bias": [[t, rng.choice(["5", "-inf", "0.25"])] for t in dict.fromkeys(tokens(rng.choice([0, 0, 3])))],
        "mask": {"seed": rng.getrandbits(48), "below": rng.choice([8, 128, 128, 250, 256]), "set": [], "clear": []},
    }
    # The corners, in turn.
    kind, mask = i % 8, case["mask"]
    if kind == 1:  # a single token is left
        mask.update(below=0, set=tokens(1))
    if kind == 2:  # the most probable one goes
        case["override"], mask["clear"] = [[vocab // 2, "90"]], [vocab // 2]
    if kind == 3:  # a masked token's logit is bad, and so is the row
        case["override"], mask["clear"] = [[vocab - 1, rng.choice(["nan", "inf"])]], [vocab - 1]
    if kind == 4:  # a masked token's bias is bad, which does not matter
        case["bias"], mask["clear"] = [[vocab - 1, rng.choice(["nan", "inf"])]], [vocab - 1]
    if kind == 5:  # so it does here
        case["bias"], mask["set"] = [[0, rng.choice(["nan", "inf"])]], [0]
    if kind == 6:  # an allowed token was masked already
        case["override"], mask["set"] = [[0, "-inf"]], [0]
    if kind == 7:  # none is left
        mask["below"] = 0
    case["expect"] = expected(case)
    return case


def make_count_case(rng, i):
    case = make_case(rng, 0)
    length = rng.choice([1, 2, 7, 40, 500])
    del case["mask"]
    # Near-equal logits, so that penalties decide; few kinds of tokens, so that counts grow.
    case["logits"].update(scale=rng.choice([0.0, 0.5, 2.0]))
    kinds = [rng.randrange(case["vocab"]) for _ in range(rng.choice([1, 3, 30]))]
    case.update(id=f"c{i}", bias=[], history=[rng.choice(kinds) for _ in range(length)],
                count_begin=rng.choice([0, 1, length // 2, length - 1, length]),
                repetition_penalty=rng.choice([1.0, 1.1, 1.5]), frequency_penalty=rng.choice([0.0, -0.5, 0.7]),
                presence_penalty=rng.choice([0.0, 0.7]))
    case["expect"] = expected(case)
    return case


def request_seed(seed, prompt):
    for token in prompt:
        seed = finalise(seed + (token + 1) * 0x9E3779B97F4A7C15)
    return seed


def make_seed_case(rng, i):
    seed = rng.choice([0, 1, MASK64, rng.getrandbits(64)])
    prompt = [rng.choice([0, 1, rng.randrange(1 << 22)]) for _ in range(i)]
    return {"id": f"s{i}", "seed": str(seed), "prompt": prompt, "expect": str(request_seed(seed, prompt))}


def write(name, seed, count, make):
    rng = random.Random(seed)
    cases = [json.dumps(make(rng, i)) for i in range(count)]
    pathlib.Path(__file__).with_name(name).write_text("[\n" + ",\n".join(cases) + "\n]\n")


def main():
    write("mask_vectors.json", 20, 128, make_case)
    write("count_vectors.json", 21, 64, make_count_case)
    write("request_seed_vectors.json", 22, 32, make_seed_case)


if __name__ == "__main__":
    main()
