#!/usr/bin/env python3
"""peers.py [--small]: the work of warploom-bench --gpu-ops by PyTorch, and by FlashInfer if it is installed, as JSON. Exits with 77, and
says so, if there is no PyTorch with CUDA."""
import argparse
import json
import statistics
import sys
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--small", action="store_true", help="sizes that take seconds")
SMALL = parser.parse_args().small


def skip(why):
    print(why, file=sys.stderr)
    sys.exit(77)


try:
    import torch
except ImportError as error:
    skip(f"no PyTorch ({error})")
if not torch.cuda.is_available():
    skip("PyTorch finds no GPU")
try:
    import flashinfer
except ImportError:
    flashinfer = None


class Timer:
    """By CUDA events, after other data was read through the L2 cache: as much as warploom-bench --gpu-ops reads, and as often as it takes for the
    host to have enqueued the whole call before the GPU begins with it. Python takes longer for a chain of calls than the GPU for its first one, and
    would otherwise be part of the time."""
    MOST_READS = 256  # some 40 ms: what takes longer to enqueue waits for the GPU itself

    def __init__(self):
        size = max(4 * torch.cuda.get_device_properties(0).L2_cache_size, 512 << 20)
        self.other = torch.zeros(size // 4, dtype=torch.int32, device="cuda")
        self.found = []

    def once(self, work, reads):
        """(microseconds, whether the GPU still read other data when all was enqueued)"""
        for _ in range(reads):
            self.other.sum()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        enqueued_first = not begin.query()
        end.synchronize()
        return 1e3 * begin.elapsed_time(end), enqueued_first

    def time(self, test, work, bytes_=0.0, flops=0.0):
        runs, reads = [], 1
        raised = time.monotonic() + 0.03  # a GPU that had nothing to do has lowered its clocks
        while time.monotonic() < raised:
            self.once(lambda: None, 10)
        for _ in range(2):  # what is compiled or allocated at the first call
            self.once(work, reads)
        while len(runs) < 9:
            us, enqueued_first = self.once(work, reads)
            if enqueued_first or reads >= self.MOST_READS:
                runs.append(us)
            else:
                runs, reads = [], 2 * reads
        median = statistics.median(runs)
        m = {"test": test, "unit": "us", "l2": "cold", "timed": "events" if enqueued_first else "events, gaps of the host included", "runs": runs,
             "min": min(runs), "median": median, "max": max(runs)}
        if bytes_:
            m["bytes"], m["gb_per_s"] = bytes_, bytes_ / median * 1e-3
        if flops:
            m["flops"], m["tflop_per_s"] = flops, flops / median * 1e-6
        self.found.append(m)

    def attempt(self, test, work, bytes_=0.0, flops=0.0):
        try:
            self.time(test, work, bytes_, flops)
        except Exception as error:  # a peer's refusal is no fault of the kit
            print(f"skipped: {test}: {error}", file=sys.stderr)


def top_p(logits, p):
    values, order = torch.sort(logits, dim=-1, descending=True)
    probabilities = torch.softmax(values, dim=-1)
    keep = torch.cumsum(probabilities, dim=-1) - probabilities < p
    return order.gather(-1, torch.multinomial(probabilities * keep, 1))


def sampling(timer):
    vocab_size = 8192 if SMALL else 128256
    for rows in (1, 64, 256):
        logits = 4 * torch.randn(rows, vocab_size, device="cuda")
        size = 4.0 * rows * vocab_size
        name = f"{rows} f32 peaked"

        def top_k():
            values, order = torch.topk(logits, 50, dim=-1)
            return order.gather(-1, torch.multinomial(torch.softmax(values / 0.8, dim=-1), 1))

        timer.attempt(f"torch sample {name} greedy", lambda: torch.argmax(logits, dim=-1), size)
        timer.attempt(f"torch sample {name} temperature", lambda: torch.multinomial(torch.softmax(logits / 0.8, dim=-1), 1), size)
        timer.attempt(f"torch sample {name} top-k 50", top_k, size)
        timer.attempt(f"torch sample {name} top-p 0.9", lambda: top_p(logits / 0.8, 0.9), size)
        timer.attempt(f"torch sort {name}", lambda: torch.sort(logits, dim=-1), size)
        if flashinfer:
            probabilities = torch.softmax(logits / 0.8, dim=-1)
            timer.attempt(f"flashinfer sample {name} top-k 50", lambda: flashinfer.sampling.top_k_sampling_from_probs(probabilities, 50), size)
            timer.attempt(f"flashinfer sample {name} top-p 0.9", lambda: flashinfer.sampling.top_p_sampling_from_probs(probabilities, 0.9), size)


def attention(timer):
    from torch.nn.functional import scaled_dot_product_attention as sdpa
    heads, kv_heads, dim = 32, 8, 128
    shorter = 64 if SMALL else 1
    for dtype, name in ((torch.float16, "f16"), (torch.bfloat16, "bf16")):
        for sequences, context in ((1, 4096), (1, 32768), (32, 4096)):
            context //= shorter
            q = torch.randn(sequences, heads, 1, dim, device="cuda", dtype=dtype)
            k, v = (torch.randn(sequences, kv_heads, context, dim, device="cuda", dtype=dtype) for _ in "kv")
            timer.attempt(f"torch attention decode {sequences} x {context} {name}", lambda: sdpa(q, k, v, enable_gqa=True),
                          4.0 * sequences * context * kv_heads * dim)
            if flashinfer and sequences == 1:
                flat = k[0].transpose(0, 1).contiguous(), v[0].transpose(0, 1).contiguous()
                timer.attempt(f"flashinfer attention decode {sequences} x {context} {name}",
                              lambda: flashinfer.single_decode_with_kv_cache(q[0, :, 0], *flat), 4.0 * context * kv_heads * dim)
        for length in (512, 2048, 8192):
            length //= shorter
            q = torch.randn(1, heads, length, dim, device="cuda", dtype=dtype)
            k, v = (torch.randn(1, kv_heads, length, dim, device="cuda", dtype=dtype) for _ in "kv")
            timer.attempt(f"torch attention prefill {length} {name}", lambda: sdpa(q, k, v, is_causal=True, enable_gqa=True),
                          flops=2.0 * heads * dim * length * (length + 1))


def products(timer):
    for rows, cols in ((256, 256),) if SMALL else ((4096, 4096), (28672, 4096), (4096, 14336)):
        weight = torch.randn(rows, cols, device="cuda", dtype=torch.bfloat16)
        for tokens in (1, 16, 64, 65, 128, 512):
            x = torch.randn(tokens, cols, device="cuda", dtype=torch.bfloat16)
            timer.attempt(f"torch product BF16 {rows}x{cols} {tokens} tokens", lambda: x @ weight.T, 2.0 * rows * cols, 2.0 * rows * cols * tokens)


def main():
    timer = Timer()
    for work in (sampling, attention, products):
        work(timer)
    print(json.dumps({"device": {"name": torch.cuda.get_device_name(0)}, "versions": {
        "torch": torch.__version__, "flashinfer": getattr(flashinfer, "__version__", None)}, "measurements": timer.found}))


if __name__ == "__main__":
    main()
