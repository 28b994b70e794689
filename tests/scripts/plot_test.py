"""What bench/plot.py reads from planted results. Runs on Python alone, and draws too if there is matplotlib:
python3 plot_test.py BENCH"""
import contextlib
import importlib.util
import io
import json
import os
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, sys.argv.pop())
import plot as script

GENERATION = {"model": "m", "device": "cpu", "measurements": [
    {"test": "prompt 512, batch 1", "prompt": 512, "batch": 1, "min": 1, "median": 1, "max": 1},
    {"test": "generate 16 after 32, batch 8", "prompt": 32, "length": 16, "batch": 8, "min": 50, "median": 60, "max": 70},
    {"test": "generate 16 after 32, batch 1", "prompt": 32, "length": 16, "batch": 1, "min": 5, "median": 6, "max": 7},
    {"test": "generate 16 after 32, batch 1, no KV cache", "prompt": 32, "length": 16, "batch": 1, "min": 1, "median": 1, "max": 1}]}


def serving(rate, ttft=0.02):
    spread = {"mean": ttft, "p50": ttft, "p90": ttft, "p99": 2 * ttft, "max": 3 * ttft}
    return {"rate": rate, "ttft_seconds": spread, "itl_seconds": spread, "goodput": rate}


SERVING = {"model": "m", "device": "cpu", "knee": 2.0, "limits": {"ttft_seconds": 1.0, "itl_seconds": 0.1},
           "results": [serving(4.0, 0.5), serving(2.0), serving(None)]}

PROGRAMS = {"model": "m", "processor": "cpu", "threads": 2, "programs": ["Warploom", "a"], "rows": [
    {"name": "batch 1", "unit": "tokens/s", "lower_is_better": False, "values": {"Warploom": [5, 6, 7], "a": [3]}},
    {"name": "peak memory", "unit": "MB", "lower_is_better": True, "values": {"Warploom": [100], "a": []}},
    {"name": "batch 8", "unit": "tokens/s", "lower_is_better": False, "values": {}}]}


class Plot(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def file(self, name, content):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))
        return path

    def test_generation_is_read_by_batch(self):
        result = script.read(self.file("a.json", GENERATION))
        self.assertEqual(result.series, {"16 tokens after 32": [(1, 5, 6, 7), (8, 50, 60, 70)]})

    def test_serving_is_read_by_rate_in_milliseconds(self):
        result = script.read(self.file("a.json", SERVING))
        self.assertEqual(result.rates, [2.0, 4.0])
        self.assertEqual(result.latencies["ttft"], {"p50": [20.0, 500.0], "p99": [40.0, 1000.0]})
        self.assertEqual(result.goodput, [2.0, 4.0])

    def test_of_programs_rows_with_results_are_read(self):
        result = script.read(self.file("a.json", PROGRAMS))
        self.assertEqual([row["name"] for row in result.rows], ["batch 1", "peak memory"])
        self.assertEqual((result.titles, result.device), (["Warploom", "a"], "cpu, 2 threads"))

    def test_equal_models_are_called_by_their_files(self):
        a, b = (script.read(self.file(name, GENERATION)) for name in ("a.json", "b.json"))
        self.assertEqual(script.labels(["x/a.json", "x/b.json"], [a, b]), ["a", "b"])
        b.model = "n"
        self.assertEqual(script.labels(["x/a.json", "x/b.json"], [a, b]), ["m", "n"])

    def test_errors_name_the_file(self):
        at_once = SERVING | {"results": [serving(None)]}
        for content, message in (("{", "is no JSON"), ("[]", "is no result"), ("{}", "is no result"), ("3", "is no result"),
                                 (GENERATION | {"measurements": []}, "no measurement of generation"),
                                 (at_once, "no rate to draw against"), (SERVING | {"results": [{}]}, "is no result"),
                                 (PROGRAMS | {"rows": []}, "no program was measured"), (PROGRAMS | {"rows": [3]}, "is no result")):
            path = self.file("bad.json", content)
            with self.assertRaises(SystemExit) as caught:
                script.read(path)
            self.assertIn(path, str(caught.exception))
            self.assertIn(message, str(caught.exception))
        with self.assertRaises(SystemExit) as caught:
            script.read("nowhere.json")
        self.assertIn("nowhere.json: cannot be read", str(caught.exception))

    def run_main(self, *arguments):
        err = io.StringIO()
        with contextlib.redirect_stderr(err), mock.patch.object(sys, "argv", ["plot", *arguments]):
            try:
                script.main()
            except SystemExit as exit:
                return f"{exit.code} {err.getvalue()}"
        return ""

    def test_what_does_not_fit_one_picture_is_refused(self):
        a, b = self.file("a.json", GENERATION), self.file("b.json", SERVING)
        self.assertIn("do not fit one picture", self.run_main(a, b))
        c = self.file("c.json", PROGRAMS)
        self.assertIn("do not fit one picture", self.run_main(a, c))
        self.assertIn("fill one picture each", self.run_main(c, c))
        self.assertIn("neither in .png nor in .svg", self.run_main(a, "-o", "a.jpg"))

    @unittest.skipUnless(importlib.util.find_spec("matplotlib"), "there is no matplotlib")
    def test_pictures_are_written(self):
        for content in (GENERATION, SERVING, PROGRAMS):
            for output, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml")):
                output = os.path.join(self.folder.name, output)
                self.assertEqual(self.run_main(self.file("a.json", content), "-o", output), "")
                with open(output, "rb") as file:
                    self.assertTrue(file.read().startswith(start))
        self.assertIn("cannot be written", self.run_main(self.file("a.json", SERVING), "-o", "no/such/folder/a.png"))


unittest.main()
