"""Replays one trace against Warploom, llama.cpp and OpenVINO GenAI in turns; called by scripts/compare-serving.

The trace is a file of arrivals with the prompts' tokens. All requests at once show the throughput at saturation; at rates that
the slowest sustains, latencies are compared. Every run is a process of its own, which first answers as many requests of the same
lengths with other prompts, all at once, as a server has that runs for a while. All draw greedily and generate as many tokens as
asked. Latencies count from the arrival.
"""
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

import peers
import serving_peers

FOLDER = pathlib.Path("build/compare-serving")
TRACE = FOLDER / "trace.jsonl"
NAMES = ["Warploom", "llama.cpp", "OpenVINO GenAI"]
RATES = [0.7]  # of what the slowest does at saturation
VOCABULARY = range(100, 49152)  # of SmolLM2, without special tokens
MAX_PROMPT = 1024


def write_trace(requests, seed=1):
    """Poisson arrivals, one a second on average; prompts of 256 tokens on average, lognormal; 32 to 160 new tokens, uniform."""
    import numpy as np
    rng = np.random.default_rng(seed)
    FOLDER.mkdir(parents=True, exist_ok=True)
    at = 0.0
    with open(TRACE, "w") as file:
        for _ in range(requests):
            length = int(np.clip(round(rng.lognormal(math.log(256) - 0.6**2 / 2, 0.6)), 16, MAX_PROMPT))
            prompt = rng.integers(VOCABULARY.start, VOCABULARY.stop, length)
            file.write(json.dumps({"timestamp": round(1000 * at, 3), "input_length": length,
                                   "output_length": int(rng.integers(32, 161)), "prompt_token_ids": prompt.tolist()}) + "\n")
            at += rng.exponential()


def read_trace(requests):
    with open(TRACE) as file:
        return [json.loads(line) for line in file][:requests]


def replay(server, trace, times):
    """Submits each request when it is due, and returns when its tokens came."""
    came = [[] for _ in trace]
    start = time.perf_counter()
    submitted = 0
    while submitted < len(trace) or server.busy():
        now = time.perf_counter() - start
        while submitted < len(trace) and times[submitted] <= now:
            server.submit(submitted, trace[submitted]["prompt_token_ids"], trace[submitted]["output_length"])
            submitted += 1
        if not server.busy():
            time.sleep(max(0.0, times[submitted] - now))
            continue
        requests = server.step()
        now = time.perf_counter() - start
        for request in requests:
            came[request].append(now)
    return came


def arrival_times(trace, rate):
    """Seconds from the first arrival, at that mean rate."""
    last = trace[-1]["timestamp"]
    return [0.0 if math.isinf(rate) else r["timestamp"] / last * (len(trace) - 1) / rate for r in trace]


def percentiles(values):
    """Interpolated linearly, as warploom-bench does."""
    values = sorted(values)

    def at(share):
        place = share * (len(values) - 1)
        below = int(place)
        return values[below] + (place - below) * (values[min(below + 1, len(values) - 1)] - values[below])

    return {"p50": at(0.5), "p99": at(0.99)}


def run_peer(name, path, threads, requests, rate, settings):
    """What warploom-bench reports, of another program, in this process."""
    trace = read_trace(requests)
    times = arrival_times(trace, rate)
    longest = max(r["input_length"] + r["output_length"] for r in trace) + 16
    server = serving_peers.SERVERS[name](path, threads, longest, **settings)
    warm_up = [{**r, "prompt_token_ids": [VOCABULARY.start + VOCABULARY.stop - 1 - token for token in r["prompt_token_ids"]]}
               for r in trace]
    replay(server, warm_up, [0.0] * len(warm_up))
    came = replay(server, trace, times)
    for request, tokens in zip(trace, came):
        if len(tokens) != request["output_length"]:
            sys.exit(f"{name}: {len(tokens)} tokens, {request['output_length']} were asked for")
    seconds = max(tokens[-1] for tokens in came)
    return {"ttft_seconds": percentiles([tokens[0] - at for tokens, at in zip(came, times)]),
            "itl_seconds": percentiles([after - before for tokens in came for before, after in zip(tokens, tokens[1:])]),
            "output_tokens_per_second": sum(map(len, came)) / seconds,
            "requests_per_second": len(came) / seconds}


def run(name, path, threads, requests, rate, settings):
    """In a process of its own."""
    if name == "Warploom":
        command = ["build/release/bin/warploom-bench", "serve", "-m", path, "--threads", str(threads), "-q", "--json",
                   "--trace", str(TRACE), "--requests", str(requests), "--warm-up", str(requests),
                   "--rate", str(rate)]
    else:
        command = [sys.executable, __file__, "run", name, path, str(threads), str(requests), str(rate), json.dumps(settings)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stderr}")
    result = json.loads(done.stdout[done.stdout.index("{"):])
    if name == "Warploom":
        result = result["results"][0]
        if result["failures"]:
            sys.exit(f"Warploom: {result['failures']}")
    return result


class Comparison:
    def __init__(self, path, threads, requests, rounds):
        self.path, self.threads, self.requests, self.rounds = path, threads, requests, rounds
        self.settings = {}
        self.tried = []
        self.tests = {}  # by name: by program a list of results
        self.others = 0.0

    def measure(self, name, requests, rate, settings):
        attempts = 2 if math.isinf(rate) else 1  # below saturation others find idle processors
        result, share = peers.undisturbed(lambda: run(name, self.path, self.threads, requests, rate, settings), attempts=attempts)
        self.others = max(self.others, share)
        print(f"  {name}: {result['output_tokens_per_second']:.0f} tokens/s, ITL p50 {1000 * result['itl_seconds']['p50']:.1f} ms",
              file=sys.stderr)
        return result

    def choose_settings(self):
        for name, candidates in serving_peers.SETTINGS.items():
            speeds = []
            for settings in candidates:
                print(f"{name} with {settings}", file=sys.stderr)
                result = self.measure(name, max(8, self.requests // 2), math.inf, settings)
                speeds.append(result["output_tokens_per_second"])
                self.tried.append({"program": name, "settings": settings, "output_tokens_per_second": speeds[-1]})
            self.settings[name] = candidates[speeds.index(max(speeds))]

    def in_turns(self, test, requests, rate):
        self.tests[test] = {name: [] for name in NAMES}
        for r in range(self.rounds):
            print(f"{test}, round {r + 1} of {self.rounds}", file=sys.stderr)
            for name in NAMES:
                self.tests[test][name].append(self.measure(name, requests, rate, self.settings.get(name)))
            self.write_json()

    def run_all(self):
        self.choose_settings()
        self.in_turns("at once", self.requests, math.inf)
        slowest = min(statistics.median(r["requests_per_second"] for r in runs) for runs in self.tests["at once"].values())
        for share in RATES:
            rate = float(f"{share * slowest:.2g}")
            self.in_turns(f"{rate:g} requests/s", self.requests, rate)

    def write_json(self):
        with open(FOLDER / "results.json", "w") as file:
            json.dump({"processor": peers.processor(), "threads": self.threads, "requests": self.requests, "others": self.others,
                       "settings": self.settings, "tried": self.tried, "tests": self.tests}, file, indent=1)

    def markdown(self):
        text = (f"{peers.processor()}, {self.threads} threads; {self.requests} requests; median (min to max) of {self.rounds} rounds in "
                f"turns; others had at most {100 * self.others:.0f}% of the processors in a run\n\n"
                "| arrivals | program | tokens/s | ratio | ITL p50, ms | ITL p99, ms | TTFT p50, ms | TTFT p99, ms |\n"
                "|---|---|---:|---:|---:|---:|---:|---:|\n")
        for test, runs in self.tests.items():
            speeds = {name: [r["output_tokens_per_second"] for r in runs[name]] for name in NAMES}
            ours = statistics.median(speeds["Warploom"])
            for name in NAMES:
                cells = [peers.median_and_range(speeds[name]), f"{ours / statistics.median(speeds[name]):.2f}"]
                cells += [peers.median_and_range([1000 * r[f"{what}_seconds"][share] for r in runs[name]], 1 if what == "itl" else 0)
                          for what in ("itl", "ttft") for share in ("p50", "p99")]
                text += f"| {test} | {name} | " + " | ".join(cells) + " |\n"
        return text + "\n" + "".join(f"- {name}: {settings}\n" for name, settings in self.settings.items())


def main(path, threads, requests, rounds):
    write_trace(requests)
    comparison = Comparison(path, threads, requests, rounds)
    comparison.run_all()
    text = comparison.markdown()
    (FOLDER / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        _, _, peer, model = sys.argv[:4]
        print(json.dumps(run_peer(peer, model, int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6]), json.loads(sys.argv[7]))))
    else:
        main(sys.argv[1], *map(int, sys.argv[2:5]))
