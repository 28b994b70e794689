"""Who is compared, with which settings each is tried, and what is measured."""
import dataclasses
import json
import os
import random
import sys
import time

import peers
from worker_process import Worker, WorkerFailed

WARPLOOM = "Warploom"
WARPLOOM_SETTINGS = [{}, {"kv-type": "int8"}]  # options of warploom-bench worker


@dataclasses.dataclass(frozen=True)
class Program:
    title: str
    format: str  # of peer_models.FORMATS
    package: str
    settings: list  # pairs of an engine of peer_worker.PROGRAMS and its arguments; the fastest counts, row by row


def programs(threads):
    """By the names that --only takes."""
    llama = [("LlamaCpp", settings) for settings in ({}, {"repack": False}, {"flash": False})]
    openvino = [("OpenVinoBatching", settings) for settings in (
        {}, {"batch": 8192}, {"properties": {"KV_CACHE_PRECISION": "f16"}}, {"properties": {"INFERENCE_PRECISION_HINT": "f32"}})]
    parallel = [{}, {"parallel": threads}] if threads > 1 else [{}]
    return {
        "llama.cpp": Program("llama.cpp", "gguf", "llama-cpp-python", llama),
        "llama.cpp-q4_0": Program("llama.cpp Q4_0", "gguf-q4_0", "llama-cpp-python", llama),
        "onnxruntime-genai": Program("ORT GenAI int4", "onnx-int4", "onnxruntime-genai",
                                     [("OnnxRuntimeGenAi", settings) for settings in ({}, {"spin": False})]),
        "openvino-genai": Program("OpenVINO GenAI", "gguf", "openvino-genai", openvino + [("OpenVinoStateful", {})]),
        "ctranslate2": Program("CTranslate2 int8", "ctranslate2-int8", "ctranslate2", [("CTranslate2", s) for s in parallel]),
        "transformers": Program("transformers f32", "hugging-face", "transformers",
                                [("Transformers", settings) for settings in ({}, {"static": True})]),
    }


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table."""
    name: str
    unit: str
    lower_is_better: bool = False


@dataclasses.dataclass(frozen=True)
class Test:
    """A batch of random prompts of one length, and how many tokens follow each. `prompt_row`: what is made of the time to the first
    token; `decode_row`: of the time from there to the last."""
    batch: int
    prompt: int
    new: int
    prompt_row: Row = None
    decode_row: Row = None

    def rows(self):
        return [row for row in (self.prompt_row, self.decode_row) if row]

    def values(self, answer):
        """By row."""
        values = {}
        if self.prompt_row:
            values[self.prompt_row] = self.batch * self.prompt / answer["first_seconds"]
        if self.decode_row:
            tokens = answer.get("rest_tokens", self.batch * (self.new - 1))
            values[self.decode_row] = tokens / answer["rest_seconds"]
        return values


START = Row("start to first token", "ms", True)
MEMORY = Row("peak memory", "MB", True)


BATCHES, PROMPTS = [1, 8, 32], [512, 4096]  # unless the caller says otherwise
LONG = 1024  # prompts from this length on have tokens behind them measured, too


def tests(batches=BATCHES, prompts=PROMPTS, quick=False):
    """`quick`: an eighth of all lengths, to see whether everything runs."""
    part = 8 if quick else 1

    def decode(batch):
        return Test(batch, 32, 128 // part, None, Row(f"batch {batch}", "tokens/s"))

    def prompt(length):
        row = Row(f"prompt of {length // part:,}", "tokens/s")
        if length < LONG:
            return Test(1, length // part, 2, row)
        return Test(1, length // part, 64 // part, row, Row(f"batch 1 behind {length // part:,}", "tokens/s"))

    return [*map(decode, batches), *map(prompt, prompts)]


def random_prompts(batch, length, vocabulary, seed):
    rng = random.Random(seed)
    return [[rng.randrange(100, vocabulary) for _ in range(length)] for _ in range(batch)]


def patterns(count, vocabulary, repeats=3, length=16, new=8):
    """Prompts that repeat a random pattern and begin it once more, and how it goes on."""
    begin = 4
    parts = random_prompts(count, length, min(vocabulary, 5000), "pattern")  # of tokens that are common
    return [part * repeats + part[:begin] for part in parts], [part[begin : begin + new] for part in parts]


def check_tokens(tokens, batch, new, vocabulary):
    """That a program did what it was asked for."""
    if len(tokens) != batch:
        raise WorkerFailed(f"it answered {len(tokens)} prompts of {batch}")
    for row in tokens:
        if len(row) != new:
            raise WorkerFailed(f"it generated {len(row)} tokens instead of {new}")
        if not all(0 <= token < vocabulary for token in row):
            raise WorkerFailed(f"token {next(t for t in row if not 0 <= t < vocabulary)} is not in the vocabulary of {vocabulary}")


class Contestant:
    """A program with one of its settings, in a process that stays."""

    def __init__(self, title, command, settings, threads, log):
        self.title, self.command, self.settings, self.threads, self.log = title, command, settings, threads, log
        self.worker = None

    def start(self):
        environment = {"OMP_NUM_THREADS": str(self.threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        return Worker(self.command, self.log, environment)

    def warm_worker(self):
        if self.worker is None or not self.worker.alive():
            self.worker = self.start()
        self.worker.wait_until_ready()
        return self.worker

    def answer(self, prompts, new, vocabulary):
        """After a short run of the same batch that warms up what cooled down meanwhile."""
        worker, room = self.warm_worker(), len(prompts[0]) + new
        worker.ask({"prompts": [prompt[:16] for prompt in prompts], "new": 4, "room": room})
        return self.checked(worker, prompts, new, room, vocabulary)

    @staticmethod
    def checked(worker, prompts, new, room, vocabulary):
        answer = worker.ask({"prompts": prompts, "new": new, "room": room})
        check_tokens(answer["tokens"], len(prompts), new, vocabulary)
        return answer

    def undisturbed_answer(self, prompts, new, vocabulary):
        """With the share of the processors that others had."""
        return peers.undisturbed(lambda: self.answer(prompts, new, vocabulary), attempts=3, worker=self.warm_worker().process.pid)

    def first_token(self, prompt, more, new, vocabulary):
        """Milliseconds from the start of a new process to the first token after `prompt`, and megabytes at most until `new` tokens
        after `more`."""
        worker = self.start()
        try:
            self.checked(worker, [prompt], 1, len(prompt) + 1, vocabulary)
            seconds = time.perf_counter() - worker.started
            self.checked(worker, [more], new, len(more) + new, vocabulary)
            return {START: 1000 * seconds, MEMORY: worker.peak_bytes() / 1e6}
        finally:
            worker.close()

    def close(self):
        if self.worker:
            self.worker.close()
            self.worker = None


def warploom(settings, model, threads, log):
    command = ["build/release/bin/warploom-bench", "worker", "-m", str(model), "--threads", str(threads), "--device", "cpu", "-q"]
    for name, value in settings.items():
        command += [f"--{name}", value]
    return Contestant(WARPLOOM, command, settings, threads, log)


def peer(title, engine, arguments, path, threads, log):
    here = os.path.dirname(os.path.abspath(__file__))
    command = [sys.executable, os.path.join(here, "peer_worker.py"), engine, str(path), str(threads), json.dumps(arguments)]
    return Contestant(title, command, {"engine": engine, **arguments}, threads, log)
