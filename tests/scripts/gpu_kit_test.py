"""The runner, the judges and the tools of tools/gpu_kit on planted programs and logs. Runs on Python alone: python3 gpu_kit_test.py KIT"""
import contextlib
import importlib
import io
import json
import os
import pathlib
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import types
import unittest
import unittest.mock

KIT = sys.argv.pop()
sys.path.insert(0, KIT)
import cut_gguf
from gpu_kit import judges, machine, programs, report, runner, steps

GTEST = """[==========] Running 3 tests from 1 test suite.
[       OK ] A.One (1 ms)
[==========] 3 tests from 1 test suite ran. (3 ms total)
"""


def output(out="", code=0, err=""):
    return judges.Output(code, out, err)


def figures(modelled=False, **medians):
    tests = [{"test": test.replace("_", " "), "l2": "cold", "median": us, "memory_share": us / 100, "gb_per_s": 1.0} for test, us in medians.items()]
    return output(json.dumps({"measurements": tests, **({"modelled_gpu": "h100"} if modelled else {})}))


class Judges(unittest.TestCase):
    def test_tests(self):
        self.assertEqual(judges.tests_pass(output(GTEST + "[  PASSED  ] 3 tests.\n")), ("3 passed", True))
        skipped = "[  PASSED  ] 2 tests.\n[  SKIPPED ] 1 test, listed below:\n[  SKIPPED ] A.Two\n"
        self.assertEqual(judges.tests_pass(output(GTEST + skipped)), ("2 passed, 1 skipped", True))
        failed = "[  FAILED  ] A.Two (1 ms)\n[  PASSED  ] 2 tests.\n[  FAILED  ] 1 test, listed below:\n[  FAILED  ] A.Two\n"
        self.assertEqual(judges.tests_pass(output(GTEST + failed, 1)), ("1 failed: A.Two", False))
        with_parameter = "[  FAILED  ] All/A.Two/3, where GetParam() = 3 (1 ms)\n"
        self.assertEqual(judges.tests_pass(output(GTEST + with_parameter, 1)), ("1 failed: All/A.Two/3", False))

    def test_no_test_is_no_success(self):
        self.assertEqual(judges.tests_pass(output("[==========] 0 tests ran.\n[  PASSED  ] 0 tests.\n")), ("no test ran", False))
        self.assertEqual(judges.tests_pass(output(GTEST)), ("no test reported an end", False))
        self.assertFalse(judges.tests_pass(output(GTEST + "[  PASSED  ] 3 tests.\n", 1))[1])

    def test_sums(self):
        line = '{"probe": "mma", "type": "f16", "cases": 10, "differ": %d}\n'
        self.assertEqual(judges.sums_stay(output(line % 0)), ("f16: 0 of 10 cases differ", True))
        self.assertEqual(judges.sums_stay(output(line % 0 + line.replace("f16", "bf16") % 3)), ("f16: 0 of 10 cases differ, bf16: 3 of 10 cases differ", False))
        self.assertRaises(ValueError, judges.sums_stay, output("nothing"))

    def test_atomics(self):
        line = '{"probe": "hist", "keys": "%s", "u64_us": %g, "carried_us": 20, "u32_us": 10}\n'
        lines = line % ("first digits", 14) + line % ("first digits", 40) + line % ("one bin", 900)
        self.assertEqual(judges.wide_atomics_cost(1.5, lambda: False)(output(lines)), ("1.4x to 4.0x; two words with a carry 2.0x to 2.0x", False))
        self.assertTrue(judges.wide_atomics_cost(1.3, lambda: False)(output(lines))[1])
        self.assertIsNone(judges.wide_atomics_cost(1.3, lambda: True)(output(lines))[1])

    def test_dependent_launches(self):
        line = '{"probe": "dependent", "values": 64, "launched_wrong": %d, "replays": 2, "replayed_wrong": %d}\n'
        self.assertEqual(judges.dependents_wait(output(line % (0, 0))), ("0 of 64 values wrong launched, 0 after 2 replays of a graph", True))
        self.assertFalse(judges.dependents_wait(output(line % (1, 0)))[1])
        self.assertFalse(judges.dependents_wait(output(line % (0, 3)))[1])
        self.assertFalse(judges.dependents_wait(output(line % (0, 0), 1))[1])

    def test_ratios(self):
        self.assertEqual(judges.ratio("a", "b", 1.5)(figures(a=30, b=20)), ("1.50x (30.0 us, 20.0 us)", True))
        self.assertFalse(judges.ratio("a", "b", 1.4)(figures(a=30, b=20))[1])
        self.assertEqual(judges.ratio("a", ["b", "c"], 1.0)(figures(a=30, b=20, c=5)), ("1.20x (30.0 us, 25.0 us)", False))
        self.assertIsNone(judges.ratio("a", "b", 1.0)(figures(True, a=30, b=20))[1])
        self.assertRaises(KeyError, judges.ratio("a", "z", 1.0), figures(a=30))

    def test_shares_and_times(self):
        self.assertEqual(judges.share("a", "memory_share", 0.7)(figures(a=70)), ("70% (70.0 us, 1 GB/s)", True))
        self.assertFalse(judges.share("a", "memory_share", 0.71)(figures(a=70))[1])
        self.assertIsNone(judges.share("a", "memory_share", 0.1)(figures(True, a=70))[1])
        self.assertEqual(judges.time_below("a", 15)(figures(a=15)), ("15.0 us", True))
        self.assertFalse(judges.time_below("a", 14)(figures(a=15))[1])

    def test_generations_of_two_steps(self):
        of = lambda rate, device="cuda: A GPU, 80 GiB": output(json.dumps({  # noqa: E731
            "device": device, "measurements": [{"test": "generate 128", "unit": "tokens/s", "median": rate}, {"test": "other", "unit": "us", "median": 1.0}]}))
        mine, other = of(194.0), of(200.0)
        judge = judges.rate("generate 128", "slow", 0.97)
        with self.assertRaisesRegex(judges.CannotTell, "^slow did not run$"):
            judge(mine)
        mine.earlier = {"slow": other}
        self.assertEqual(judge(mine), ("0.97x (194 and 200 tokens/s)", True))
        mine.earlier = {"slow": of(201.0)}
        self.assertFalse(judge(mine)[1])
        emulated = of(194.0, "cuda: H100-SXM5-80GB (emulated), 8 GiB")
        emulated.earlier = {"slow": other}
        self.assertIsNone(judge(emulated)[1])
        self.assertRaises(KeyError, judges.rate("other", "slow", 1.0), mine)

    def test_a_share_of_what_an_earlier_step_read(self):
        step = output(json.dumps({"measurements": [{"test": "step 1", "l2": "warm", "unit": "us", "median": 2000.0, "gb_per_s": 1500.0}]}))
        judge = judges.step_share("step 1", 0.5)
        with self.assertRaisesRegex(judges.CannotTell, "^no step before measured"):
            judge(step)
        step.earlier = {"model": output(GTEST), "decode": output(json.dumps({"device": {"read_gb_per_s": 3000.0}, "measurements": []}))}
        self.assertEqual(judge(step), ("50% (2000.0 us, 1500 GB/s)", True))
        self.assertFalse(judges.step_share("step 1", 0.51)(step)[1])

    def test_sanitizer(self):
        self.assertEqual(judges.no_report(output("========= ERROR SUMMARY: 0 errors")), ("0 reports", True))
        self.assertEqual(judges.no_report(output("========= RACECHECK SUMMARY: 2 hazards displayed")), ("2 reports", False))
        self.assertFalse(judges.no_report(output(""))[1])


class Runs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.kit = pathlib.Path(folder.name)
        (self.kit / "bin").mkdir()
        self.script("gpu_probe", 'echo \'{"probe": "device", "name": "A GPU", "capability": "9.0", "multiprocessors": 132}\'')

    def script(self, name, text):
        path = self.kit / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return [f"bin/{name}"]

    def step(self, name, text, limit=20, judge=judges.ends_well, **more):
        return steps.Step(name, limit, self.script(name, text), [steps.Claim(f"claim of {name}", "all well", judge)], **more)

    def run_steps(self, *chosen, seconds=60, clock=time.monotonic):
        with contextlib.redirect_stdout(io.StringIO()):
            found = runner.Runner(self.kit, self.kit / "results", chosen, seconds, clock).run()
        self.assertEqual(json.loads((self.kit / "results/report.json").read_text()), found)
        return found, [(row["step"], row["verdict"], row["measured"]) for row in found["rows"]]

    def test_a_hang_a_crash_and_a_wrong_result_cost_a_row_each(self):
        begin = time.monotonic()
        found, rows = self.run_steps(
            # The child keeps the pipes open and ignores what only its parent gets.
            self.step("hangs", "echo before; sleep 60 & sleep 60", limit=1),
            self.step("crashes", "echo words >&2; kill -SEGV $$"),
            self.step("refuses", "echo 'error: no driver' >&2; exit 1"),
            self.step("fails", f"printf '%s' '{GTEST}[  FAILED  ] A.Two (1 ms)'; exit 1", judge=judges.tests_pass),
            self.step("works", "echo fine"))
        self.assertLess(time.monotonic() - begin, 50)
        self.assertEqual(rows, [("hangs", "failed", "no end within 1 s"), ("crashes", "failed", "ended by signal SIGSEGV: words"),
                                ("refuses", "failed", "exit status 1: error: no driver"), ("fails", "failed", "1 failed: A.Two"),
                                ("works", "holds", "fine")])
        self.assertEqual((self.kit / "results/hangs.out").read_text(), "before\n")
        self.assertEqual(found["device"]["name"], "A GPU")

    def test_what_is_hung_is_ended_with_its_children(self):
        self.run_steps(self.step("hangs", "sleep 71.25 & echo $!; wait", limit=1))
        child = int((self.kit / "results/hangs.out").read_text())
        for _ in range(100):
            try:
                state = pathlib.Path(f"/proc/{child}/stat").read_text().split()[2]
            except OSError:
                return
            if state == "Z":  # ended, and nobody has asked yet
                return
            time.sleep(0.05)
        self.fail(f"the process {child} runs on")

    def test_a_step_that_cannot_run_is_skipped_by_name(self):
        gone = self.step("gone", "")
        (self.kit / "bin/gone").unlink()
        _, rows = self.run_steps(self.step("tool", "", needs="no-such-program"), gone, self.step("peer", "echo 'no PyTorch' >&2; exit 77"))
        self.assertEqual(rows, [("tool", "skipped", "no no-such-program here"), ("gone", "skipped", "bin/gone is not in this kit"),
                                ("peer", "skipped", "no PyTorch")])

    def test_time_that_is_over_skips_the_rest_and_shortens_a_limit(self):
        now = [0.0]
        late = self.step("late", "echo fine")
        first = self.step("first", "echo fine", judge=lambda o: (now.__setitem__(0, 98.0), True))
        _, rows = self.run_steps(first, late, seconds=100, clock=lambda: now[0])
        self.assertEqual(rows[1], ("late", "skipped", "no time left"))

    def test_a_step_for_which_too_little_time_was_left_has_not_failed(self):
        _, rows = self.run_steps(self.step("long", "sleep 60", limit=50), seconds=4)
        self.assertRegex(str(rows), r"^\[\('long', 'skipped', 'no time left: ended after [34] of at most 50 s'\)\]$")

    def test_an_interrupt_ends_the_step(self):
        child = []

        class Interrupted(machine.Clocks):
            def look(clocks):
                if (self.kit / "results/long.out").exists():
                    child.append(int((self.kit / "results/long.out").read_text()))
                    raise KeyboardInterrupt

        with unittest.mock.patch.object(machine, "Clocks", Interrupted), self.assertRaises(KeyboardInterrupt):
            self.run_steps(self.step("long", "echo $$; exec sleep 72.5"))
        with self.assertRaises(ProcessLookupError):
            os.kill(child[0], 0)

    def test_a_kit_for_another_architecture_says_so_at_once(self):
        for arch, capability, runs in [("90", "9.0", True), ("80", "8.9", True), ("100", "10.3", True), ("90", "12.0", False), ("120", "10.0", False),
                                       ("89", "8.0", False), ("", "12.0", True)]:
            self.assertEqual(machine.runs(arch, capability), runs, (arch, capability))
        (self.kit / "kit.json").write_text('{"arch": "120"}')
        found, rows = self.run_steps(self.step("first", "echo fine"))
        self.assertEqual(rows, [("first", "skipped", "no GPU")])
        self.assertIn("holds code for sm_120 alone, the GPU is of compute capability 9.0: scripts/gpu-bundle OUT --arch 90", found["device"]["error"])
        self.script("gpu_probe", 'echo \'{"probe": "device", "name": "E", "capability": "9.0", "multiprocessors": 132, "emulated": true}\'')
        self.assertEqual(self.run_steps(self.step("second", "echo fine", gpu=False))[1], [("second", "holds", "fine")])

    def test_nvidia_smi_is_asked_about_the_gpu_that_cuda_takes(self):
        self.script("gpu_probe", 'echo \'{"probe": "device", "name": "A GPU", "capability": "9.0", "multiprocessors": 132, "pci": "00000000:65:00.0"}\'')
        (self.kit / "smi").mkdir()
        smi = self.kit / "smi/nvidia-smi"
        smi.write_text('#!/bin/sh\nfor last; do :; done\n[ "$last" = 00000000:65:00.0 ] && echo "Mine, 580.1, 1, 1410, 2, 3, 4, 5, 6" || echo "Other, 0, 1, 9, 2, 3, 4, 5, 6"\n')
        smi.chmod(0o755)
        with unittest.mock.patch.object(machine, "own_environment", lambda: {**os.environ, "PATH": f"{smi.parent}:{os.environ['PATH']}"}):
            found, _ = self.run_steps(self.step("first", "echo fine"))
        self.assertEqual(found["device"]["driver_version"], "580.1")
        self.assertEqual(found["steps"][0]["clocks"]["clocks.sm"], [1410.0, 1410.0])

    def test_claims_have_a_row_each(self):
        step = self.step("figures", f"echo '{figures(a=30, b=20).out}'", judge=judges.ratio("a", "b", 2))
        step.claims += [steps.Claim("another", "x", judges.ratio("a", "b", 1)), steps.Claim("lost", "x", judges.ratio("a", "z", 1))]
        found, rows = self.run_steps(step)
        self.assertEqual([verdict for _, verdict, _ in rows], ["holds", "failed", "failed"])
        self.assertIn("the output does not say", rows[2][2])
        self.assertEqual(len(found["steps"][0]["figures"]["measurements"]), 2)

    def test_a_claim_about_two_steps(self):
        same = lambda test, step: lambda o: (step, test == o.earlier[step].out.strip())  # noqa: E731
        def needs(o):
            raise judges.CannotTell("another did not run")
        _, rows = self.run_steps(self.step("first", "echo one"), self.step("broken", "exit 3"), self.step("second", "echo two", judge=same("one", "first")),
                                 self.step("third", "echo three", judge=same("two", "broken")), self.step("fourth", "echo four", judge=needs))
        self.assertEqual([(step, verdict) for step, verdict, _ in rows],
                         [("first", "holds"), ("broken", "failed"), ("second", "holds"), ("third", "failed"), ("fourth", "skipped")])
        self.assertEqual(rows[4][2], "another did not run")

    def test_an_emulator_skips_what_needs_a_gpu(self):
        self.script("gpu_probe", 'echo \'{"probe": "device", "name": "E", "emulated": true}\'')
        _, rows = self.run_steps(self.step("fast", "echo fine"), self.step("correct", "echo fine", gpu=False))
        self.assertEqual(rows, [("fast", "skipped", "needs a GPU"), ("correct", "holds", "fine")])

    def test_results_are_there_before_the_end(self):
        seen = []
        second = self.step("second", "echo fine",
                           judge=lambda o: (seen.append(json.loads((self.kit / "results/report.json").read_text())["rows"]), True))
        self.run_steps(self.step("first", "echo fine"), second)
        self.assertEqual([row["step"] for row in seen[0]], ["first"])

    def test_without_a_gpu_no_claim_is_tried(self):
        self.script("gpu_probe", "echo 'error: no CUDA-capable device' >&2; exit 1")
        for driver, why in [("", "error: no CUDA-capable device"), ("there is no NVIDIA driver", "there is no NVIDIA driver")]:
            with unittest.mock.patch.object(machine, "driver_missing", lambda: driver):
                found, rows = self.run_steps(self.step("first", "echo fine"), self.step("second", "echo fine", needs="no-such-program"))
            self.assertEqual(found["device"], {"error": why})
            self.assertEqual(rows, [("first", "skipped", "no GPU"), ("second", "skipped", "no GPU")])
            self.assertIn(why, report.as_markdown(found))
        self.assertFalse((self.kit / "results/first.out").exists())

    def test_what_needs_cublaslt_is_skipped_without_it(self):
        with unittest.mock.patch.object(machine, "cublaslt_folder", lambda _: ""), unittest.mock.patch.object(machine, "own_environment", lambda: {
                "PATH": os.environ["PATH"]}):
            _, rows = self.run_steps(self.step("cuda_matmul_test", "echo fine"), self.step("cuda_test", "echo fine"))
        self.assertEqual(rows, [("cuda_matmul_test", "skipped", "no libcublasLt.so.13 here"), ("cuda_test", "holds", "fine")])

    def test_a_missing_cublaslt_is_said(self):
        said = io.StringIO()
        (self.kit / machine.CUBLASLT).touch()
        for folder, missing in [("/nowhere", True), (str(self.kit), False)]:
            one = runner.Runner(self.kit, self.kit / "results", [], 60)
            one.environment = {**one.environment, "LD_LIBRARY_PATH": folder}
            with contextlib.redirect_stdout(said):
                one.run()
            self.assertEqual("libcublasLt.so.13 was not found" in said.getvalue(), missing)
            said.seek(0), said.truncate()


class FakeTorch:
    """PyTorch on a GPU whose clock is planted: the host and the GPU go on by themselves, and each operation is enqueued behind the one before."""

    def __init__(self):
        self.host = self.gpu = 0.0  # microseconds; the GPU's is when it has done all that was enqueued
        torch = self

        class Event:
            def __init__(self, enable_timing):
                pass

            def record(self):
                self.at = max(torch.gpu, torch.host)

            def query(self):
                return self.at <= torch.host

            def synchronize(self):
                torch.host = max(torch.host, self.at)

            def elapsed_time(self, end):
                return 1e-3 * (end.at - self.at)

        class Other:
            def sum(self):
                torch.run(1.0, 150.0)

        self.int32 = "int32"
        self.cuda = types.SimpleNamespace(Event=Event, is_available=lambda: True,
                                          get_device_properties=lambda _: types.SimpleNamespace(L2_cache_size=50 << 20))
        self.sizes = []
        self.zeros = lambda count, **_: self.sizes.append(4 * count) or Other()

    def run(self, host, gpu):
        """An operation that takes so long to enqueue and to execute."""
        self.host += host
        self.gpu = max(self.gpu, self.host) + gpu


class Peers(unittest.TestCase):
    def test_what_the_host_takes_to_enqueue_is_not_the_gpus_time(self):
        torch = FakeTorch()
        with unittest.mock.patch.dict(sys.modules, {"torch": torch, "flashinfer": None}), unittest.mock.patch.object(sys, "argv", ["peers.py"]):
            sys.modules.pop("peers", None)
            timer = importlib.import_module("peers").Timer()
        self.assertEqual(torch.sizes, [512 << 20])
        timer.time("short", lambda: torch.run(5.0, 40.0), bytes_=8e6)
        timer.time("chain", lambda: [torch.run(60.0, 10.0) for _ in range(20)])  # 1.2 ms to enqueue, 0.2 ms of work
        timer.time("synchronous", lambda: [torch.run(5.0, 10.0), setattr(torch, "host", torch.gpu), torch.run(30.0, 10.0)])
        short, chain, synchronous = timer.found
        self.assertAlmostEqual(short["median"], 40.0)
        self.assertAlmostEqual(short["gb_per_s"], 200.0)
        self.assertAlmostEqual(chain["median"], 200.0)
        self.assertEqual((short["timed"], chain["timed"]), ("events", "events"))
        self.assertAlmostEqual(synchronous["median"], 50.0)  # a call that waits for the GPU itself
        self.assertEqual(synchronous["timed"], "events, gaps of the host included")


class Planted(judges.Output):
    """Figures of every test that is asked for: slow or fast ones, and the more so the later a claim asks, which is what it is about. `rate`: of generations."""

    def __init__(self, slow, rate):
        super().__init__(0, "", "")
        self.slow, self.rate = slow, rate
        self.figures = {"device": {"read_gb_per_s": 3000.0}, "measurements": [1]}

    def measurements(self):
        outer = self

        class Tests:
            times = {}

            def __getitem__(self, key):
                place = self.times.setdefault(key, len(self.times))
                us = 1e6 * 1e3 ** place if outer.slow else 1e-3 ** place
                share = 1e-3 if outer.slow else 0.99
                return {"median": us, "memory_share": share, "matrix_share": share, "gb_per_s": 3000 * share, "tflop_per_s": 1.0}

        return Tests()

    def tokens_per_second(self):
        rate = self.rate

        class Tests:
            def __getitem__(self, _):
                return rate

        return Tests()


class Tools(unittest.TestCase):
    def test_steps_are_chosen_in_their_order(self):
        names = lambda only: [step.name for step in steps.choose(steps.all_steps(), only)]  # noqa: E731
        self.assertEqual(names("")[:4], ["mma", "dependent", "vectors", "stacks"])
        # What the first minutes are for: is it right, does a model run, how fast is it; then the rest.
        order = names("")
        self.assertEqual(sorted(["attention-bits", "model", "sample", "generate", "sampling-rest", "memcheck"], key=order.index),
                         ["attention-bits", "model", "sample", "generate", "sampling-rest", "memcheck"])
        self.assertEqual(names("sample, mma"), ["mma", "sample"])
        self.assertEqual(names("step-*"), ["step-smollm2-135m", "step-llama-3.2-1b", "step-llama-3.1-8b"])
        with self.assertRaisesRegex(ValueError, "no step is called nothing; known are mma"):
            names("nothing")
        self.assertEqual(len(set(names(""))), len(names("")))

    def test_every_time_has_an_expectation_that_can_fail(self):
        """Claims about a GPU's times: planted figures, each so slow that no claim may hold, or so fast that all must."""
        for slow in (True, False):
            earlier = {}
            for step in steps.all_steps():
                timed = "--gpu-ops" in step.command
                if not timed and not step.name.startswith("generate"):
                    continue
                found = Planted(slow, (len(earlier) + 1) ** (-2 if slow else 2))
                found.earlier = dict(earlier)
                for claim in step.claims:
                    if claim.judge is judges.runs:
                        continue
                    self.assertEqual(claim.judge(found)[1], not slow, (step.name, claim.text))
                earlier[step.name] = found

    def test_programs_are_unpacked_once_and_whole(self):
        with tempfile.TemporaryDirectory() as folder:
            kit = pathlib.Path(folder)
            programs.unpack(kit)  # there is no archive: programs lie there as they are
            self.assertEqual(list(kit.iterdir()), [])
            for name in ("lib/a.so", "bin/a"):
                (kit / "from" / name).parent.mkdir(parents=True)
                (kit / "from" / name).write_text(name)
            (kit / "from/bin/a").chmod(0o755)
            with tarfile.open(kit / programs.ARCHIVE, "w:xz") as archive:
                archive.add(kit / "from/lib", "lib"), archive.add(kit / "from/bin", "bin")
            whole = (kit / programs.ARCHIVE).read_bytes()
            for damaged in (whole[:len(whole) // 2], b""):
                (kit / programs.ARCHIVE).write_bytes(damaged)
                self.assertRaisesRegex(ValueError, "it is damaged", programs.unpack, kit)
                self.assertFalse((kit / "bin").exists())
            (kit / programs.ARCHIVE).write_bytes(whole)
            programs.unpack(kit)
            self.assertEqual([(kit / name).read_text() for name in ("lib/a.so", "bin/a")], ["lib/a.so", "bin/a"])
            self.assertEqual((kit / "bin/a").stat().st_mode & 0o777, 0o755)
            (kit / "bin/a").write_text("mine")
            programs.unpack(kit)
            self.assertEqual((kit / "bin/a").read_text(), "mine")
            self.assertFalse((kit / ".part-programs").exists())

    def test_what_glibc_is_too_old_for_is_left_to_the_machine(self):
        own = subprocess.run([sys.executable, "-c", "import ctypes; ctypes.CDLL('libgcc_s.so.1'); print(next(l.split()[-1] for l in open("
                              "'/proc/self/maps') if 'libgcc_s' in l))"], capture_output=True, text=True, check=True).stdout.strip()
        with tempfile.TemporaryDirectory() as folder:
            for loads, left in [(True, ["libgcc_s.so.1", "libmine.so"]), (False, ["libmine.so"])]:
                kit = pathlib.Path(folder, str(loads))
                (kit / "from/bin").mkdir(parents=True), (kit / "from/lib").mkdir()
                (kit / "from/lib/libgcc_s.so.1").write_bytes(pathlib.Path(own).read_bytes() if loads else b"of another time")
                (kit / "from/lib/libmine.so").write_text("mine")
                with tarfile.open(kit / programs.ARCHIVE, "w:xz") as archive:
                    archive.add(kit / "from/lib", "lib"), archive.add(kit / "from/bin", "bin")
                programs.unpack(kit)
                self.assertEqual(sorted(path.name for path in (kit / "lib").iterdir()), left)

    def test_cublaslt_is_found_where_it_is(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(machine.cublaslt_folder(places=["", folder]), "")
            pathlib.Path(folder, machine.CUBLASLT).touch()
            self.assertEqual(machine.cublaslt_folder(places=["", "/nowhere", folder]), folder)

    def test_a_model_is_cut(self):
        text = lambda s: struct.pack("<Q", len(s)) + s  # noqa: E731
        metadata = text(b"llama.block_count") + struct.pack("<II", 4, 2) + text(b"words") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"bc")
        tensor = lambda name, offset: text(name) + struct.pack("<IQIQ", 1, 4, 0, offset)  # noqa: E731
        head = b"GGUF" + struct.pack("<IQQ", 3, 3, 2) + metadata + tensor(b"blk.1.w", 0) + tensor(b"blk.0.w", 32) + tensor(b"out", 64)
        data = head + bytes(-len(head) % 32) + b"1" * 16 + bytes(16) + b"0" * 16 + bytes(16) + b"o" * 16
        shorter = cut_gguf.cut(data, 1)
        reader = cut_gguf.Reader(shorter)
        reader.at = 4
        self.assertEqual([reader.number("I"), reader.number("Q"), reader.number("Q")], [3, 2, 2])
        self.assertEqual([reader.text(), reader.number("I"), reader.number("I")], [b"llama.block_count", 4, 1])
        self.assertEqual([reader.text(), reader.number("I")], [b"words", 9])
        reader.skip(9)
        tensors = [(reader.text(), reader.number("I"), reader.number("Q"), reader.number("I"), reader.number("Q")) for _ in range(2)]
        self.assertEqual(tensors, [(b"blk.0.w", 1, 4, 0, 0), (b"out", 1, 4, 0, 32)])
        begin = -(-reader.at // 32) * 32
        self.assertEqual(shorter[begin:begin + 16] + shorter[begin + 32:begin + 48], b"0" * 16 + b"o" * 16)
        for layers in (0, 2, 3):
            self.assertRaisesRegex(ValueError, "give 1 to 1", cut_gguf.cut, data, layers)
        self.assertRaisesRegex(ValueError, "not a GGUF", cut_gguf.cut, b"GGML" + data[4:], 1)
        self.assertRaises((ValueError, struct.error), cut_gguf.cut, data[:60], 1)

    def test_a_bundle_overwrites_nothing_else(self):
        script = pathlib.Path(KIT, "../../scripts/gpu-bundle").resolve()
        bundle = lambda *arguments, **more: subprocess.run([script, *arguments], capture_output=True, text=True, **more)  # noqa: E731
        with tempfile.TemporaryDirectory() as folder:
            mine = pathlib.Path(folder, "mine")
            mine.write_text("kept")
            for arguments, message in [(["."], "is there and is no bundle"), (["new", "--from", "."], "there is no"), (["new", "--arch", "sm_90"], "--arch"),
                                       (["new", "--layers", "0"], "--layers"), (["new", "--layers", "30"], "nor \"all\""), (["new", "--fast"], "\"--fast\" is no option"), ([], "it takes the folder to make"), (["new", "--arch"], "--arch takes"),
                                       (["new", "other"], "both name the folder")]:
                got = bundle(*arguments, cwd=folder)
                self.assertEqual(got.returncode, 2, got.stderr)
                self.assertIn(message, got.stderr)
            self.assertEqual([path.name for path in pathlib.Path(folder).iterdir()], ["mine"])
            self.assertEqual(mine.read_text(), "kept")


if __name__ == "__main__":
    unittest.main()
