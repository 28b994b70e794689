"""Times the three samplers in turns on the same logits and prints medians and ratios; called by scripts/compare-samplers.

Every contestant takes one row a call and draws one token from it; the rows go round. llama.cpp's time includes filling its
array of candidates, as common_sampler does before every token. Each run is a process of its own.
"""
import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS, CALLS, REPEATS = 16, 64, 3  # rows of logits; rows a run; runs after one to warm up, of which the median counts
NORMAL_VOCAB = 128256
# name: temperature, top_k, top_p
STRATEGIES = {"greedy": (0.0, 0, 1.0), "temperature": (0.8, 0, 1.0), "top-k 50": (1.0, 50, 1.0), "top-p 0.9": (1.0, 0, 0.9),
              "top-k 50 + top-p 0.9": (1.0, 50, 0.9)}
PROMPTS = [
    "Once upon a time, in a village at the foot of the mountains, there lived",
    "The three most important things to remember about",
    "def fibonacci(n):\n    if n < 2:\n        return",
    "The capital of France is",
    "Q: Why is the sky blue?\nA:",
    "Dear Sir or Madam,\n\nI am writing to",
    "In 1969, the first humans landed on the",
    "Ingredients:\n- 200 g flour\n- 2 eggs\n-",
    "He opened the door and saw",
    "The results of the experiment show that",
    "#include <stdio.h>\n\nint main(void) {\n    printf(\"",
    "1, 1, 2, 3, 5, 8, 13,",
    "<|im_start|>user\nTell me a joke about cats.<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nWhat is the largest planet?<|im_end|>\n<|im_start|>assistant\nThe largest planet is",
    "She looked at him for a long moment, then",
    "According to the article, the company plans to",
]


def model_logits(path):
    """[prompts, vocab]: the model's logits after each prompt, computed by llama.cpp."""
    import llama_cpp as lc
    import numpy as np
    # Token by token: built with AMX, the kernels for batches crash on virtual machines that hide its state.
    llama = lc.Llama(path, n_ctx=512, n_batch=1, verbose=False)
    rows = []
    for prompt in PROMPTS:
        llama.reset()
        llama.eval(llama.tokenize(prompt.encode(), add_bos=False, special=True))
        rows.append(np.ctypeslib.as_array(llama._ctx.get_logits_ith(-1), shape=(llama.n_vocab(),)).copy())
    return np.stack(rows)


def timed(run):
    """Median microseconds a call of run(i), and the mean of what it returns."""
    times = []
    for repeat in range(REPEATS + 1):
        start = time.perf_counter()
        sizes = [run(i) for i in range(CALLS)]
        times.append((time.perf_counter() - start) / CALLS * 1e6)
    return statistics.median(times[1:]), statistics.fmean(sizes)


def llama_samplers(logits):
    """{strategy: {"us", "survivors"}} of llama.cpp's sampler chains, and "fill": the part of filling the array."""
    import llama_cpp as lc
    import numpy as np
    vocab = logits.shape[1]
    cells = (lc.llama_token_data * vocab)()
    view = np.frombuffer(cells, dtype=[("id", "i4"), ("logit", "f4"), ("p", "f4")])
    ids, id_cells, logit_cells = np.arange(vocab, dtype=np.int32), view["id"], view["logit"]
    array = lc.llama_token_data_array()
    largest = [float(row.max()) for row in logits]

    # Two strided copies at the speed of C; no chain here reads a p that it has not written.
    def fill(i):
        id_cells[:] = ids
        logit_cells[:] = logits[i % ROWS]
        return 0

    results = {"fill": {"us": timed(fill)[0], "survivors": 0}}
    for name, (temperature, top_k, top_p) in STRATEGIES.items():
        chain = lc.llama_sampler_chain_init(lc.llama_sampler_chain_default_params())
        if temperature == 0.0:
            lc.llama_sampler_chain_add(chain, lc.llama_sampler_init_greedy())
        else:
            if top_k > 0:
                lc.llama_sampler_chain_add(chain, lc.llama_sampler_init_top_k(top_k))
            if top_p < 1.0:
                lc.llama_sampler_chain_add(chain, lc.llama_sampler_init_top_p(top_p, 1))
            lc.llama_sampler_chain_add(chain, lc.llama_sampler_init_temp(temperature))
            lc.llama_sampler_chain_add(chain, lc.llama_sampler_init_dist(1))

        def run(i):
            fill(i)
            array.data, array.size, array.selected, array.sorted = cells, vocab, -1, False
            lc.llama_sampler_apply(chain, ctypes.byref(array))
            assert array.selected >= 0
            assert temperature > 0.0 or array.data[array.selected].logit == largest[i % ROWS]
            return array.size if temperature > 0.0 else 1

        us, survivors = timed(run)
        results[name] = {"us": us, "survivors": survivors}
        lc.llama_sampler_free(chain)
    return results


def torch_samplers(logits):
    """{strategy: {"us", "survivors"}} of PyTorch on one thread."""
    import torch
    torch.set_num_threads(1)
    torch.manual_seed(1)
    rows = torch.from_numpy(logits)

    def nucleus(sorted_logits, top_p):
        p = torch.softmax(sorted_logits, -1)
        p[torch.cumsum(p, -1) - p >= top_p] = 0.0  # what stands behind the mass
        return p

    def draw(x, temperature, top_k, top_p):
        if temperature == 0.0:
            return torch.argmax(x), None
        if temperature != 1.0:
            x = x / temperature
        ids = None
        if top_k > 0:
            x, ids = torch.topk(x, top_k)
        elif top_p < 1.0:
            x, ids = torch.sort(x, descending=True)
        p = nucleus(x, top_p) if top_p < 1.0 else torch.softmax(x, -1)
        token = torch.multinomial(p, 1)
        return token if ids is None else ids[token], p

    results = {}
    with torch.inference_mode():
        for name, parameters in STRATEGIES.items():
            us, _ = timed(lambda i: int(draw(rows[i % ROWS], *parameters)[0]))
            kept = [draw(row, *parameters)[1] for row in rows]
            results[name] = {"us": us, "survivors": statistics.fmean(1 if p is None else int((p > 0).sum()) for p in kept)}
    return results


def warploom_samplers(path, vocab):
    out = subprocess.check_output(["build/release/bin/warploom-bench", "--sampler", "--logits", path, "--rows", "1", "--vocab",
                                   str(vocab), "--threads", "1", "-r", str(REPEATS), "-q", "--format", "json"])
    report = json.loads(out)
    rows = {m["test"]: {"us": m["median"], "survivors": m["survivors"]} for m in report["measurements"]}
    return {name: rows[f"sample {name}, 1 row of {vocab}"] for name in STRATEGIES}, report


def contestant(name, path, vocab):
    return json.loads(subprocess.check_output([sys.executable, __file__, name, path, str(vocab)]))


def check_survivors(results):
    """All three must have done the same work: f32 sums may end a nucleus a little elsewhere, no more."""
    for strategy in STRATEGIES:
        ours, *others = (r[strategy]["survivors"] for r in results)
        for theirs in others:
            if strategy != "temperature" and abs(ours - theirs) > max(0.5, 0.01 * ours):
                sys.exit(f"{strategy}: {ours} tokens a row survive here, {theirs} elsewhere; the samplers do not do the same")


def table(title, rounds):
    """rounds: a list of (Warploom, llama.cpp, PyTorch) results."""
    print(f"\n{title}\n\n| strategy | survivors | Warploom | llama.cpp | PyTorch | to llama.cpp | to PyTorch |\n"
          "|---|---:|---:|---:|---:|---:|---:|")
    show = lambda us: f"{us:.1f}" if us < 100 else f"{us:.0f}"
    spread = 0.0
    for strategy in STRATEGIES:
        columns = [[r[side][strategy]["us"] for r in rounds] for side in range(3)]
        ours, llama, torch = map(statistics.median, columns)
        spread = max(spread, *((max(c) - min(c)) / statistics.median(c) for c in columns))
        print(f"| {strategy} | {rounds[0][0][strategy]['survivors']:.0f} | {show(ours)} | {show(llama)} | {show(torch)} | "
              f"{llama / ours:.1f} | {torch / ours:.1f} |")
    fill = statistics.median(r[1]["fill"]["us"] for r in rounds)
    print(f"\nFilling the array of candidates takes {show(fill)} us of each of llama.cpp's rows. A cell's rounds "
          f"differ by {100 * spread:.0f}% of their median at most.")


def main(model, rounds):
    import numpy as np
    with tempfile.TemporaryDirectory() as folder:
        real = model_logits(model)
        normal = np.random.default_rng(1).normal(0.0, 3.0, (ROWS, NORMAL_VOCAB)).astype(np.float32)
        sets = {f"normal(0, 3), vocabulary {NORMAL_VOCAB}": normal, f"{Path(model).stem}, vocabulary {real.shape[1]}": real}
        results = {title: [] for title in sets}
        for r in range(rounds):
            for k, (title, logits) in enumerate(sets.items()):
                print(f"round {r + 1} of {rounds}: {title}", file=sys.stderr)
                path = f"{folder}/{k}.f32"
                logits.tofile(path)
                ours, report = warploom_samplers(path, logits.shape[1])
                results[title].append([ours, *(contestant(name, path, logits.shape[1]) for name in ("llama", "torch"))])
                check_survivors(results[title][-1])
        machine = report["machine"]
        print(f"{machine['cpu']}, {machine['cores']} cores, {report['device']}; us a row, median of {rounds} rounds in turns")
        for title, runs in results.items():
            table(title, runs)


if __name__ == "__main__":
    if sys.argv[1] in ("llama", "torch"):
        import numpy
        rows = numpy.fromfile(sys.argv[2], dtype=numpy.float32).reshape(-1, int(sys.argv[3]))
        print(json.dumps({"llama": llama_samplers, "torch": torch_samplers}[sys.argv[1]](rows)))
    else:
        main(sys.argv[1], int(sys.argv[2]))
