"""Runs steps, each in a process group of its own with a limit of time, and writes what is known after each."""
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

from gpu_kit import judges, machine, report

NEED_CUBLASLT = {f"bin/{name}" for name in ("backend_test", "cuda_matmul_test", "cuda_model_test", "warploom-bench")}  # by themselves or by what they load
SKIPPED = 77  # the exit status of a program that finds nothing to do here, for a reason that it says


class Runner:
    def __init__(self, kit, results, steps, seconds, clock=time.monotonic):
        """Makes the folder of results. Raises OSError if it cannot be made."""
        self.kit, self.results, self.steps, self.clock = pathlib.Path(kit), pathlib.Path(results), steps, clock
        self.no_gpu = ""  # why
        self.gpu = "0"  # as nvidia-smi knows the one that CUDA takes first
        self.outputs = {}  # of the steps that ended, by name
        self.end = clock() + seconds
        self.environment = machine.environment(self.kit)
        self.results.mkdir(parents=True, exist_ok=True)

    def run(self):
        found = {"kit": self._about(), "device": self._device(), "steps": [], "rows": []}
        self.no_gpu = found["device"].get("error", "")
        if self.no_gpu:
            print(f"No GPU can be used: {self.no_gpu}", flush=True)
        elif not machine.has_cublaslt(self.environment):
            print(f"{machine.CUBLASLT} was not found: steps that need it are skipped. LD_LIBRARY_PATH can name its folder.", flush=True)
        for step in self.steps:
            step.emulated = found["device"].get("emulated", False)
            print(f"{step.name} ..", flush=True)
            record, rows = self._step(step)
            found["steps"].append(record)
            found["rows"] += rows
            for row in rows:
                print(f"   {row['verdict']}: {row['measured']}", flush=True)
            self._write(found)
        found["kit"]["ended"] = _now()
        self._write(found)
        return found

    def _about(self):
        about = {}
        try:
            about = json.loads((self.kit / "kit.json").read_text())
        except (OSError, ValueError):
            pass
        return {**about, "began": _now()}

    def _device(self):
        code, out, err, _ = self._process("device", ["bin/gpu_probe", "device"], 60)
        try:
            probed = judges.Output(code, out, err).lines("device")[0]
        except ValueError:
            said = (err.strip() or out.strip() or "gpu_probe says nothing about the device").splitlines()[-1]
            probed = {"error": machine.driver_missing() or said}
        self.gpu = probed.get("pci", self.gpu)
        device = {**machine.smi(self.environment, self.gpu), **probed}
        arch = self._about().get("arch", "")
        if not device.get("emulated") and not machine.runs(arch, device.get("capability", "")):
            device["error"] = (f"this kit holds code for sm_{arch} alone, the GPU is of compute capability {device['capability']}: "
                               f"scripts/gpu-bundle OUT --arch {device['capability'].replace('.', '')} makes another")
        return device

    def _step(self, step):
        record = {"name": step.name, "command": step.command, "seconds": 0.0}
        row = lambda claim, measured, verdict: {  # noqa: E731
            "step": step.name, "claim": claim.text, "expected": claim.expected, "measured": measured, "verdict": verdict}
        left = self.end - self.clock()
        missing = self._missing(step, left)
        if missing:
            return record, [row(step.claims[0], missing, "skipped")]
        limit = min(step.limit, left)
        begin = self.clock()
        code, out, err, record["clocks"] = self._process(step.name, step.command, limit)
        record["seconds"], record["code"] = round(self.clock() - begin, 2), code
        output = judges.Output(code, out, err, self.outputs)
        record["figures"] = output.figures
        if code is None and limit < step.limit:
            return record, [row(step.claims[0], f"no time left: ended after {limit:.0f} of at most {step.limit} s", "skipped")]
        if code is None:
            return record, [row(step.claims[0], f"no end within {limit:.0f} s", "failed")]
        if code == SKIPPED:
            return record, [row(step.claims[0], _last(output)[2:], "skipped")]
        broken = _broken(output)
        if broken:
            return record, [row(step.claims[0], broken, "failed")]
        rows = []
        for claim in step.claims:
            try:
                measured, holds = claim.judge(output)
            except judges.CannotTell as why:
                rows.append(row(claim, str(why), "skipped"))
                continue
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # a program may print anything
                measured, holds = f"the output does not say: {error}", False
            rows.append(row(claim, measured, {True: "holds", False: "failed", None: "modelled"}[holds]))
        self.outputs[step.name] = output
        return record, rows

    def _missing(self, step, left):
        if self.no_gpu:
            return "no GPU"
        if left < 3:
            return "no time left"
        if step.gpu and step.emulated:
            return "needs a GPU"
        if step.needs and not shutil.which(step.needs, path=self.environment["PATH"]):
            return f"no {step.needs} here"
        if step.command[0] in NEED_CUBLASLT and not machine.has_cublaslt(self.environment):
            return f"no {machine.CUBLASLT} here"
        program = self.kit / step.command[0]
        if "/" in step.command[0] and not program.exists():
            return f"{step.command[0]} is not in this kit"
        return ""

    def _process(self, name, command, limit):
        """(exit status or None if it was ended, output, errors, clocks). The output goes to files: a hang loses none of it."""
        out, err = self.results / f"{name}.out", self.results / f"{name}.err"
        environment = machine.own_environment() if command[0] == "python3" else self.environment
        with out.open("wb") as out_file, err.open("wb") as err_file:
            try:
                process = subprocess.Popen(command, cwd=self.kit, env=environment, stdin=subprocess.DEVNULL, stdout=out_file, stderr=err_file,
                                           start_new_session=True)
            except OSError as error:
                return 127, "", str(error), {}
            code, clocks = self._wait(process, limit)
        return code, out.read_text(errors="replace"), err.read_text(errors="replace"), clocks

    def _wait(self, process, limit):
        end, clocks = self.clock() + limit, machine.Clocks(self.environment, self.gpu)
        try:
            while self.clock() < end:
                try:
                    return process.wait(timeout=min(2.0, max(0.01, end - self.clock()))), clocks.seen()
                except subprocess.TimeoutExpired:
                    clocks.look()
        finally:  # also if the user interrupts: the step has a session of its own, which gets nothing from the terminal
            if process.returncode is None:
                _end(process)
        return None, clocks.seen()

    def _write(self, found):
        for name, text in [("report.json", json.dumps(found, indent=1) + "\n"), ("report.md", report.as_markdown(found))]:
            part = self.results / (name + ".part")
            part.write_text(text)
            os.replace(part, self.results / name)


def _end(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)  # a driver may hold it longer: then the next step starts beside it
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass


def _broken(output):
    """Why a process that ended says nothing about its claims; empty if it does."""
    if output.code < 0:
        return f"ended by signal {signal.Signals(-output.code).name}{_last(output)}"
    if output.code == 127:
        return f"could not start{_last(output)}"
    if output.code != 0 and "[==========]" not in output.out and output.figures is None:
        return f"exit status {output.code}{_last(output)}"
    return ""


def _last(output):
    lines = [line for line in output.err.splitlines() if line.strip()]
    return f": {lines[-1][:160]}" if lines else ""


def _now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
