"""What scripts/gpu_report.py makes of planted reports. Runs on Python alone: python3 gpu_report_test.py SCRIPTS"""
import contextlib
import io
import json
import pathlib
import re
import sys
import tempfile
import unittest

sys.path.insert(0, sys.argv.pop())
import gpu_report

README = """# Figures

What stands here stays.

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
        {"device": "cuda", "measurements": [{"test": "generate 128, batch 1", "unit": "tokens/s", "median": 412.4}]},
        {"device": "cuda", "measurements": [{"test": "generate 128, batch 1", "unit": "tokens/s", "median": 390.0},
                                            {"test": "generate 128, batch 16", "unit": "tokens/s", "median": 5000.0}]},
        None]
    return {"kit": {"commit": "abc1234", "began": "2026-12-01T10:00:00+00:00"}, "device": {"name": name, "driver_version": "580.1", **device},
            "steps": [{"name": name, "figures": f} for name, f in zip(("ops", "step", "generate", "one-by-one", "mma"), figures)], "rows": [row]}


def modelled(median, gpu="h100", ran_as="H100-SXM5-80GB (emulated)", test="sample 64 f32 peaked top-k 50"):
    return {"device": {"name": ran_as, "emulated": True}, "measurements": [{**measurement(test, median), "timed": f"modelled on {gpu}"}]}


class GpuReport(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.readme = self.folder / "README.md"
        self.readme.write_text(README)

    def put(self, found, *runs):
        """`runs`: reports of the emulator, given with --modelled."""
        path = self.folder / "report.json"
        path.write_text(json.dumps(found))
        more = []
        for i, run in enumerate(runs):
            (self.folder / f"modelled-{i}.json").write_text(json.dumps(run))
            more += ["--modelled", str(self.folder / f"modelled-{i}.json")]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            gpu_report.main([str(path), "--readme", str(self.readme), *more])
        return out.getvalue(), self.readme.read_text()

    def refused(self, found, message, *runs):
        said = io.StringIO()
        with self.assertRaises(SystemExit) as stopped, contextlib.redirect_stderr(said):
            self.put(found, *runs)
        self.assertIn(message, f"{stopped.exception.code} {said.getvalue()}")
        self.assertEqual(self.readme.read_text(), README)

    def test_measured_stands_beside_modelled(self):
        out, text = self.put(report(), modelled(50.0))
        self.assertIn("## Measured on NVIDIA H100 80GB HBM3\n", text)
        self.assertIn("driver 580.1", text)
        self.assertIn("commit abc1234, 2026-12-01", text)
        self.assertIn("| sample 64 f32 peaked top-k 50 | cold | 50.0 | 100.0 | 0.50 | 328 | 12% |  |  |", text)
        self.assertIn("| attention prefill 512 f16 | cold |  | 40.0 |  |  |  | 250.0 | 33% |", text)
        self.assertIn("| llama-3.2-1b Q4_K_M: step 1 after 512 | cold |  | 900.0 |", text)
        self.assertIn("| a claim | at most 1x | 2.00x | failed |", text)
        self.assertIn("| tokens/s | generate | one-by-one |\n|---|---:|---:|\n| generate 128, batch 1 | 412 | 390 |\n| generate 128, batch 16 |  | 5000 |\n", text)
        self.assertRegex(out, r"sample +1 +0\.50 +0\.50 +0\.50")
        self.assertTrue(text.startswith(README.split("## Scheduler")[0]))
        self.assertTrue(text.endswith("## Scheduler\n\nCosts.\n"))

    def test_again_replaces_that_devices_section_alone(self):
        self.put(report(name="NVIDIA A10"))
        self.put(report(median=100.0), modelled(50.0))
        _, text = self.put(report(median=25.0), modelled(50.0))
        self.assertEqual(text.count("## Measured on NVIDIA H100"), 1)
        self.assertEqual(text.count("## Measured on NVIDIA A10\n"), 1)
        self.assertIn("| 50.0 | 25.0 | 2.00 |", text)
        self.assertNotIn("| 50.0 | 100.0 | 0.50 |", text)
        self.assertEqual(text.count("## Scheduler"), 1)

    def test_a_gpu_without_a_model_is_compared_with_nothing(self):
        out, text = self.put(report(name="NVIDIA H100 PCIe"))
        self.assertIn("| sample 64 f32 peaked top-k 50 | cold |  | 100.0 |  |", text)
        self.assertIn("no test has a modelled time", out)

    def test_only_a_run_as_the_measured_gpu_counts(self):
        self.refused(report(), "--modelled is missing: WARPLOOM_EMULATOR_DEVICE=h100 ")
        self.refused(report(name="NVIDIA H200"), "--modelled is missing: WARPLOOM_EMULATOR_DEVICE=h200 ")
        for other in ("NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA A100-SXM4-40GB", "NVIDIA GeForce RTX 4090 D"):
            self.refused(report(name=other), f'the emulator has no model of "{other}"', modelled(50.0))
        self.refused(report(), 'is modelled on a100, but measured was NVIDIA H100 80GB HBM3', modelled(50.0, gpu="a100"))
        self.refused(report(), 'its launches have the shapes of "A100-SXM4-80GB (emulated)"', modelled(50.0, ran_as="A100-SXM4-80GB (emulated)"))
        self.refused(report(name="NVIDIA H200"), 'its launches have the shapes of "H100-SXM5-80GB (emulated)"', modelled(50.0))

    def test_the_names_are_the_emulators(self):
        source = (pathlib.Path(gpu_report.__file__).resolve().parent.parent / "tools/gpu_emulator/src/device_models.cpp").read_text()
        self.assertEqual(dict(re.findall(r'\{"(\w+)", "([^"]+ \(emulated\))"', source)), {key: names[1] for key, names in gpu_report.MODELS.items()})

    def test_several_modelled_runs_add_up(self):
        out, text = self.put(report(), modelled(50.0), modelled(20.0, test="attention prefill 512 f16"))
        self.assertIn("| sample 64 f32 peaked top-k 50 | cold | 50.0 | 100.0 | 0.50 |", text)
        self.assertIn("| attention prefill 512 f16 | cold | 20.0 | 40.0 | 0.50 |", text)
        self.assertRegex(out, r"attention prefill +1 +0\.50")

    def test_what_was_not_measured_is_refused(self):
        self.refused(report(emulated=True), "nothing in it was measured")
        self.refused({"measurements": [measurement("x", 1.0)]}, "no report of the kit")
        self.refused({**report(), "steps": []}, "no step has figures")
        self.refused({**report(), "device": {"error": "no driver"}}, "names no device, so its figures cannot be told apart: no driver")
        self.refused([1], "neither a report")
        self.refused(report(), "was measured, not modelled",
                     {**modelled(1.0), "measurements": [measurement("attention prefill 512 f16", 20.0)]})
        for name, message in [("none.json", "No such file"), ("", "is a folder; give the file")]:
            said = io.StringIO()
            with self.assertRaises(SystemExit) as stopped, contextlib.redirect_stderr(said):
                gpu_report.main([str(self.folder / "report.json"), "--readme", str(self.readme), "--modelled", str(self.folder / name)])
            self.assertIn(message, f"{stopped.exception.code} {said.getvalue()}")


if __name__ == "__main__":
    unittest.main()
