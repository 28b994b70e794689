"""How scripts/compare_serving.py replays a trace and reports planted results. Runs on Python alone: python3 compare_serving_test.py SCRIPTS"""
import sys
import unittest
from unittest import mock

sys.path.insert(0, sys.argv.pop())
import compare_serving as script
import serving_peers


class Clock:
    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Steady:
    """A token of every request a step, which takes a second."""

    def __init__(self, clock):
        self.clock, self.left = clock, {}

    def submit(self, request, prompt, max_tokens):
        self.left[request] = max_tokens

    def busy(self):
        return bool(self.left)

    def step(self):
        self.clock.now += 1.0
        came = list(self.left)
        self.left = {request: left - 1 for request, left in self.left.items() if left > 1}
        return came


class Batches:
    """Stands in for llama.cpp: records what is computed."""

    def __init__(self, model, threads, sequences, context, batch, unified):
        self.parts, self.size, self.steps, self.forgotten = [], 0, [], []

    def put(self, tokens, position, sequence, wanted):
        self.parts.append((list(tokens), position, sequence, wanted))
        self.size += len(tokens)

    def decode(self):
        self.steps.append(self.parts)
        rows = sum(wanted for *_, wanted in self.parts)
        self.parts, self.size = [], 0
        return [7] * rows

    def forget(self, sequence):
        self.forgotten.append(sequence)


def request(output, prompt=(1, 2, 3)):
    return {"prompt_token_ids": list(prompt), "output_length": output}


def planted(speed):
    shares = {"p50": 0.01, "p99": 0.25}
    return {"output_tokens_per_second": speed, "requests_per_second": speed / 10, "itl_seconds": shares, "ttft_seconds": shares}


class CompareServing(unittest.TestCase):
    def test_requests_are_submitted_when_they_are_due(self):
        clock = Clock()
        real, script.time = script.time, clock
        try:
            came = script.replay(Steady(clock), [request(3), request(2), request(1)], [0.0, 0.5, 10.0])
        finally:
            script.time = real
        self.assertEqual(came, [[1.0, 2.0, 3.0], [2.0, 3.0], [11.0]])

    def test_arrivals_keep_their_pattern_at_any_rate(self):
        trace = [{"timestamp": t} for t in (0, 1000, 4000)]
        self.assertEqual(script.arrival_times(trace, 0.5), [0.0, 1.0, 4.0])
        self.assertEqual(script.arrival_times(trace, 2.0), [0.0, 0.25, 1.0])
        self.assertEqual(script.arrival_times(trace, float("inf")), [0.0, 0.0, 0.0])

    def test_percentiles_are_interpolated(self):
        self.assertEqual(script.percentiles([3.0, 1.0, 2.0, 4.0])["p50"], 2.5)
        self.assertAlmostEqual(script.percentiles([float(i) for i in range(101)])["p99"], 99.0)
        self.assertEqual(script.percentiles([5.0]), {"p50": 5.0, "p99": 5.0})

    def test_batches_have_a_token_of_each_sequence_and_then_prompts(self):
        with mock.patch.multiple(serving_peers.peers, LlamaModel=lambda path, repack: None, Llama=Batches):
            server = serving_peers.LlamaServer("", 1, 100, slots=2, batch=4, unified=True, repack=True)
        for i, (prompt, output) in enumerate([((1, 2, 3), 2), ((4, 5, 6, 8), 2), ((9,), 1)]):
            server.submit(i, list(prompt), output)
        came = []
        while server.busy():
            came.append(server.step())
        self.assertEqual(came, [[0], [0, 1], [1, 2]])
        self.assertEqual(server.llama.steps, [[([1, 2, 3], 0, 1, True), ([4], 0, 0, False)],
                                              [([7], 3, 1, True), ([5, 6, 8], 1, 0, True)],
                                              [([7], 4, 0, True), ([9], 0, 1, True)]])
        self.assertEqual(server.llama.forgotten, [1, 0, 1])

    def test_table_has_medians_and_ratios(self):
        comparison = script.Comparison("", 2, 24, 3)
        comparison.tests["at once"] = {"Warploom": [planted(s) for s in (300, 240, 270)], "llama.cpp": [planted(s) for s in (90, 100, 80)],
                                       "OpenVINO GenAI": [planted(135)] * 3}
        text = comparison.markdown()
        self.assertIn("| at once | Warploom | 270 (240 to 300) | 1.00 | 10.0 (10.0 to 10.0) | 250.0 (250.0 to 250.0) |", text)
        self.assertIn("| at once | llama.cpp | 90 (80 to 100) | 3.00 |", text)
        self.assertIn("| at once | OpenVINO GenAI | 135 (135 to 135) | 2.00 |", text)


if __name__ == "__main__":
    unittest.main()
