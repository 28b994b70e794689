"""What scripts/gpu_report.py makes of planted reports. Runs on Python alone: python3 gpu_report_test.py SCRIPTS"""
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, sys.argv.pop())
import gpu_report

README = """# Figures

## CUDA sampling

| rows | logits | strategy | row | blocks | read | A100 us | H100 us |
|---|---|---|---|---|---|---|---|
| 64 | f32 | top-k 50 | peaked | 64 | 1.000 | 69.3 | 50.0 |

The same by a full sort:

| rows | logits | strategy | row | launches | read | A100 us | H100 us |
|---|---|---|---|---|---|---|---|
| 64 | f32 | top-k 50 | peaked | 9 | 13.9 | 570.2 | 401.9 |

## Scheduler

Costs.
"""


def measurement(test, median, **more):
    return {"test": test, "unit": "us", "l2": "cold", "timed": "events", "median": median, **more}


def report(name="NVIDIA H100 80GB HBM3", median=100.0, **device):
    row = {"step": "sample", "claim": "a claim", "expected": "at most 1x", "measured": "2.00x", "verdict": "failed"}
    figures = [
        {"measurements": [measurement("sample 64 f32 peaked top-k 50", median, gb_per_s=328.4, memory_share=0.125),
                          measurement("attention prefill 512 f16", 40.0, tflop_per_s=250.0, matrix_share=0.33)]},
        {"model": "llama-3.2-1b Q4_K_M, weights from seed 1", "measurements": [measurement("step 1 after 512", 900.0)]},
        {"measurements": [{"test": "generate 128", "unit": "tokens/s", "median": 1.0}]},
        None]
    return {"kit": {"commit": "abc1234", "began": "2026-12-01T10:00:00+00:00"}, "device": {"name": name, "driver_version": "580.1", **device},
            "steps": [{"name": "s", "figures": f} for f in figures], "rows": [row]}


class GpuReport(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.readme = self.folder / "README.md"
        self.readme.write_text(README)

    def put(self, found, *more):
        path = self.folder / "report.json"
        path.write_text(json.dumps(found))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            gpu_report.main([str(path), "--readme", str(self.readme), *more])
        return out.getvalue(), self.readme.read_text()

    def refused(self, found, message, *more):
        said = io.StringIO()
        with self.assertRaises(SystemExit) as stopped, contextlib.redirect_stderr(said):
            self.put(found, *more)
        self.assertIn(message, f"{stopped.exception.code} {said.getvalue()}")
        self.assertEqual(self.readme.read_text(), README)

    def test_measured_stands_beside_modelled(self):
        out, text = self.put(report())
        self.assertIn("## Measured on NVIDIA H100 80GB HBM3\n", text)
        self.assertIn("driver 580.1", text)
        self.assertIn("commit abc1234, 2026-12-01", text)
        self.assertIn("| sample 64 f32 peaked top-k 50 | cold | 50.0 | 100.0 | 0.50 | 328 | 12% |  |  |", text)
        self.assertIn("| attention prefill 512 f16 | cold |  | 40.0 |  |  |  | 250.0 | 33% |", text)
        self.assertIn("| llama-3.2-1b Q4_K_M: step 1 after 512 | cold |  | 900.0 |", text)
        self.assertIn("| a claim | at most 1x | 2.00x | failed |", text)
        self.assertNotIn("generate 128", text)
        self.assertRegex(out, r"sample +1 +0\.50 +0\.50 +0\.50")
        self.assertTrue(text.startswith(README.split("## Scheduler")[0]))
        self.assertTrue(text.endswith("## Scheduler\n\nCosts.\n"))

    def test_again_replaces_that_devices_section_alone(self):
        self.put(report(name="NVIDIA A100"))
        self.put(report(median=100.0))
        _, text = self.put(report(median=25.0))
        self.assertEqual(text.count("## Measured on NVIDIA H100"), 1)
        self.assertEqual(text.count("## Measured on NVIDIA A100"), 1)
        self.assertIn("| 50.0 | 25.0 | 2.00 |", text)
        self.assertNotIn("| 50.0 | 100.0 | 0.50 |", text)
        self.assertEqual(text.count("## Scheduler"), 1)

    def test_tables_of_another_gpu_are_not_compared_with(self):
        out, text = self.put(report(name="NVIDIA A100"))
        self.assertIn("| sample 64 f32 peaked top-k 50 | cold |  | 100.0 |  |", text)
        self.assertIn("no test has a modelled time", out)

    def test_a_modelled_run_adds_its_tests(self):
        run = self.folder / "modelled.json"
        run.write_text(json.dumps({"measurements": [{**measurement("attention prefill 512 f16", 20.0), "timed": "modelled on h100"}]}))
        out, text = self.put(report(), "--modelled", str(run))
        self.assertIn("| attention prefill 512 f16 | cold | 20.0 | 40.0 | 0.50 |", text)
        self.assertRegex(out, r"attention prefill +1 +0\.50")

    def test_what_was_not_measured_is_refused(self):
        self.refused(report(emulated=True), "nothing in it was measured")
        self.refused({"measurements": [measurement("x", 1.0)]}, "no report of the kit")
        self.refused({**report(), "steps": []}, "no step has figures")
        self.refused({**report(), "device": {"error": "no driver"}}, "names no device, so its figures cannot be told apart: no driver")
        self.refused([1], "neither a report")
        run = self.folder / "measured.json"
        run.write_text(json.dumps({"measurements": [measurement("attention prefill 512 f16", 20.0)]}))
        self.refused(report(), "was measured, not modelled", "--modelled", str(run))
        self.refused(report(), "No such file", "--modelled", str(self.folder / "none.json"))
        self.refused(report(), "is a folder; give the file", "--modelled", str(self.folder))


if __name__ == "__main__":
    unittest.main()
