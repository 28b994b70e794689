"""What comparisons with other programs share: batches of llama.cpp, runs that others disturb, medians."""
import os
import statistics
import sys


class LlamaModel:
    """A model of llama.cpp. `repack`: weights in the layout of the processor's own kernels."""

    def __init__(self, path, repack=True):
        import llama_cpp as lc
        self.lc = lc
        lc.llama_backend_init()
        params = lc.llama_model_default_params()
        params.use_extra_bufts = repack
        self.pointer = lc.llama_model_load_from_file(path.encode(), params)
        if not self.pointer:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self.vocab_size = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(self.pointer))


class Llama:
    """A context of a model of llama.cpp. A batch is filled by put() and computed by decode()."""

    def __init__(self, model, threads, sequences, context, batch, unified=False, flash=True):
        import numpy as np
        self.lc, self.np, self.vocab_size = model.lc, np, model.vocab_size
        params = self.lc.llama_context_default_params()
        params.n_ctx = sequences * context
        params.n_batch = batch
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = unified
        if not flash:
            params.flash_attn_type = self.lc.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = self.lc.llama_init_from_model(model.pointer, params)
        if not self.context:
            raise RuntimeError(f"llama.cpp has no context of {sequences} x {context} tokens")
        self.memory = self.lc.llama_get_memory(self.context)
        self.batch = self.lc.llama_batch_init(batch, 0, 1)
        self.tokens, self.positions, self.counts, self.wanted = (
            np.ctypeslib.as_array(getattr(self.batch, name), shape=(batch,)) for name in ("token", "pos", "n_seq_id", "logits"))
        self.sequences = [self.batch.seq_id[k] for k in range(batch)]
        self.counts[:] = 1
        self.size = self.outputs = 0

    def close(self):
        self.lc.llama_batch_free(self.batch)
        self.lc.llama_free(self.context)

    def put(self, tokens, position, sequence, wanted):
        """Appends the tokens of a sequence, the first at `position`; `wanted`: the last one's logits."""
        begin, end = self.size, self.size + len(tokens)
        self.tokens[begin:end] = tokens
        self.positions[begin:end] = self.np.arange(position, position + len(tokens))
        self.wanted[begin:end] = 0
        self.wanted[end - 1] = wanted
        for k in range(begin, end):
            self.sequences[k][0] = sequence
        self.size = end
        self.outputs += wanted

    def decode(self):
        """Computes the batch and empties it. Returns the most probable next token of each row that was wanted."""
        self.batch.n_tokens = self.size
        status = self.lc.llama_decode(self.context, self.batch)
        if status != 0:
            sys.exit(f"llama_decode: {status}")
        rows, self.size, self.outputs = self.outputs, 0, 0
        if rows == 0:
            return []
        logits = self.lc.llama_get_logits(self.context)
        return self.np.ctypeslib.as_array(logits, shape=(rows, self.vocab_size)).argmax(axis=1)

    def forget(self, sequence):
        self.lc.llama_memory_seq_rm(self.memory, sequence, -1, -1)

    def clear(self):
        self.lc.llama_memory_clear(self.memory, True)


def processor_seconds(pid):
    """That a process has used, and the children that it waited for."""
    with open(f"/proc/{pid}/stat") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:15])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """What share of the machine's processor time others had: the host (steal), and programs that this one did not start. Of those that
    it started and that still run, only `worker` is no other: the rest should have been idle."""

    def __init__(self, worker=None):
        self.worker = worker
        self.begin = self.now()

    def now(self):
        tick = os.sysconf("SC_CLK_TCK")
        with open("/proc/stat") as file:
            user, nice, system, idle, iowait, irq, softirq, steal = (int(ticks) / tick for ticks in file.readline().split()[1:9])
        own = sum(os.times()[:4]) + (processor_seconds(self.worker) if self.worker else 0.0)
        busy = user + nice + system + irq + softirq
        return busy + idle + iowait + steal, steal + busy - own

    def others(self):
        """Since the start, after the programs that it started have ended or answered."""
        total, others = (now - begin for now, begin in zip(self.now(), self.begin))
        return max(0.0, others / total) if total > 0 else 0.0


def undisturbed(run, limit=0.1, attempts=2, worker=None):
    """The result of run() and the share of others. A run that others disturbed beyond the limit is repeated; the best one counts.
    `worker`: the process that computes, if it runs on."""
    best = None
    for _ in range(attempts):
        watch = Watch(worker)
        result = run()
        share = watch.others()
        if best is None or share < best[1]:
            best = result, share
        if share <= limit:
            break
        print(f"  others had {100 * share:.0f}% of the processors", file=sys.stderr)
    return best


def median_and_range(values, digits=0):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def processor():
    with open("/proc/cpuinfo") as file:
        return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "unknown processor")
