"""Runs both contestants in turns and prints medians, ratios and ranges; called by scripts/compare-peers.

Both generate greedily after random prompts of the same lengths; a batch of llama.cpp's is one llama_decode a step with a
sequence id each. Sampling (an argmax on both sides) is timed with the rest. Each run is a process of its own.
"""
import json
import statistics
import subprocess
import sys
import time

import numpy as np

import peers

PROMPT, CONTEXT, NEW = 512, 32, 128
BATCHES = [1, 8, 32]


def llama_rates(path, threads, batch, prompt, new):
    """(prompt tokens a second, generated tokens a second) of one run after a warm-up."""
    llama = peers.Llama(path, threads, batch, prompt + new + 16, max(512, batch * prompt))

    def run():
        llama.clear()
        prompts = np.random.default_rng(1).integers(100, llama.vocab_size, (batch, prompt))
        for s in range(batch):
            llama.put(prompts[s], 0, s, True)
        start = time.perf_counter()
        tokens = llama.decode()
        first = time.perf_counter()
        for step in range(new - 1):
            for s in range(batch):
                llama.put(tokens[s : s + 1], prompt + step, s, True)
            tokens = llama.decode()
        end = time.perf_counter()
        return batch * prompt / (first - start), batch * (new - 1) / max(end - first, 1e-9)

    run()
    return run()


def llama(path, threads, batch, prompt, new):
    out = subprocess.check_output([sys.executable, __file__, "llama", path, str(threads), str(batch), str(prompt), str(new)],
                                  stderr=subprocess.DEVNULL)
    return json.loads(out)


def warploom(path, threads, arguments):
    out = subprocess.check_output(["build/release/bin/warploom-bench", "-m", path, "--threads", str(threads), "-r", "1", "-q",
                                   "--format", "json", *arguments])
    return {m["test"]: m["median"] for m in json.loads(out)["measurements"]}


def main(path, threads, rounds):
    tests = [(f"prompt {PROMPT}", 1, PROMPT, 1)] + [(f"generate {NEW} after {CONTEXT}, batch {b}", b, CONTEXT, NEW) for b in BATCHES]
    results = {name: ([], []) for name, *_ in tests}
    for r in range(rounds):
        for name, batch, prompt, new in tests:
            print(f"round {r + 1} of {rounds}: {name}", file=sys.stderr)
            theirs = llama(path, threads, batch, prompt, max(new, 2))
            results[name][1].append(theirs[0] if new == 1 else theirs[1])
            ours = warploom(path, threads, ["-p", str(PROMPT), "-n", "2", "-b", "1"] if new == 1 else
                            ["-p", "1", "-n", str(new), "-b", str(batch), "-c", str(prompt)])
            results[name][0].append(next(v for k, v in ours.items() if k.startswith("prompt 512" if new == 1 else f"generate {new}")))
    print(f"\n{threads} threads; tokens/s: median (min to max) of {rounds} rounds in turns\n")
    print("| test | Warploom | llama.cpp | ratio |\n|---|---:|---:|---:|")
    show = peers.median_and_range
    for name, (ours, theirs) in results.items():
        print(f"| {name} | {show(ours)} | {show(theirs)} | {statistics.median(ours) / statistics.median(theirs):.2f} |")


if sys.argv[1] == "llama":
    print(json.dumps(llama_rates(sys.argv[2], *map(int, sys.argv[3:7]))))
else:
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
