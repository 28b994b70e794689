"""speed.py [MODEL]: what Python costs. One draw from a row of 128,256 logits; streaming at batch 1; 32 requests through
asyncio.

The library's own speed is that of Generator.run(), one call into C++ for the whole text. Rounds take turns, and the best of
each counts.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import warploom

ROUNDS, TOKENS, CROWD = 5, 128, 32
OPTIONS: warploom.RequestOptions = {"max_tokens": TOKENS, "ignore_eos": True, "temperature": 0.0}


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(name: str, native: Callable[[], object], python: Callable[[], object], tokens: int) -> None:
    native(), python()  # both warm up
    times = [(seconds(native), seconds(python)) for _ in range(ROUNDS)]
    best = [tokens / min(column) for column in zip(*times)]
    print(f"{name}: {best[0]:.0f} tokens/s in C++, {best[1]:.0f} from Python, {100 * best[1] / best[0]:.1f}%")


def draw() -> None:
    """The cost of a call does not depend on the vocabulary, since nothing is copied: on 8 logits hardly anything else is
    left."""
    options: warploom.SampleOptions = {"temperature": 0.8, "top_k": 50, "top_p": 0.9, "seed": 1}
    for size in (8, 128256):
        row = np.random.default_rng(0).normal(size=size).astype(np.float32)
        times = [seconds(lambda: [warploom.sample(row, **options) for _ in range(1000)]) for _ in range(ROUNDS)]
        print(f"a draw from {size} logits: {min(times) * 1000:.1f} us")


def main() -> None:
    fetched = Path(__file__).resolve().parents[2] / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    model = warploom.Model.load(sys.argv[1] if len(sys.argv) > 1 else fetched)
    draw()
    prompt = "Once upon a time"
    generator = warploom.Generator(model)
    compare(
        "streaming, batch 1",
        lambda: generator.generate(prompt, **OPTIONS),
        lambda: [event.text for event in generator.stream(prompt, **OPTIONS)],
        TOKENS,
    )
    with warploom.Engine(model) as engine:

        async def one() -> list[str]:
            return [event.text async for event in engine.astream(prompt, **OPTIONS)]

        async def crowd() -> None:
            await asyncio.gather(*(one() for _ in range(CROWD)))

        compare(
            f"{CROWD} requests of asyncio",
            lambda: generator.run([generator.request(prompt, **OPTIONS) for _ in range(CROWD)]),
            lambda: asyncio.run(crowd()),
            CROWD * TOKENS,
        )


if __name__ == "__main__":
    main()
