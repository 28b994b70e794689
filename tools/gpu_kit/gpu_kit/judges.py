"""What the output of a step says about a claim: (what was measured, whether the claim holds). None: the output cannot tell, as when an
emulator models times."""
import json
import re


class CannotTell(Exception):
    """The claim needs what another step, which did not run, would have said."""


class Output:
    """Of a process that ended by itself."""

    def __init__(self, code, out, err, earlier=None):
        self.code, self.out, self.err = code, out, err
        self.earlier = earlier or {}  # outputs of the steps before, by name
        self.figures = None  # of a report with measurements
        try:
            report = json.loads(out)
        except ValueError:
            return
        if isinstance(report, dict) and isinstance(report.get("measurements"), list):
            self.figures = report

    def lines(self, probe):
        """The objects that gpu_probe printed, a line each."""
        found = []
        for line in self.out.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and value.get("probe") == probe:
                found.append(value)
        if not found:
            raise ValueError(f"no line of the probe {probe}")
        return found

    def measurements(self):
        """By test and state of the L2 cache; "cold" is preferred where a test alone is asked for."""
        if not self.figures or not self.figures["measurements"]:
            raise ValueError("no measurements in the output")
        return {(m["test"], m["l2"]): m for m in self.figures["measurements"]}

    def tokens_per_second(self):
        """By test."""
        if not self.figures or not self.figures["measurements"]:
            raise ValueError("no measurements in the output")
        return {m["test"]: m["median"] for m in self.figures["measurements"] if m["unit"] == "tokens/s"}

    def emulated(self):
        device = (self.figures or {}).get("device", "")  # of whole generations: a text
        return bool(self.figures and (self.figures.get("modelled_gpu") or (isinstance(device, str) and "(emulated)" in device)))


def tests_pass(output):
    """Of GoogleTest."""
    passed = re.search(r"\[  PASSED  \] (\d+) test", output.out)
    failed = re.findall(r"^\[  FAILED  \] ([\w./]+)(?:,| \()", output.out, re.M)
    if failed:
        names = sorted(set(failed))
        return f"{len(names)} failed: {', '.join(names[:4])}{', ..' if len(names) > 4 else ''}", False
    if not passed:
        return "no test reported an end", False
    skipped = re.search(r"\[  SKIPPED \] (\d+) test", output.out)
    if int(passed[1]) == 0:
        return "all tests were skipped" if skipped else "no test ran", False
    return f"{passed[1]} passed" + (f", {skipped[1]} skipped" if skipped else ""), output.code == 0


def sums_stay(output):
    lines = output.lines("mma")
    differ = {line["type"]: line["differ"] for line in lines}
    text = ", ".join(f"{line['type']}: {line['differ']} of {line['cases']} cases differ" for line in lines)
    return text, not any(differ.values()) and output.code == 0


def wide_atomics_cost(at_least, emulated):
    """That 64-bit atomics take at least so many times as long as 32-bit ones, where floats' first digits are counted."""

    def judge(output):
        lines = [line for line in output.lines("hist") if line["keys"] == "first digits"]
        ratios = [line["u64_us"] / line["u32_us"] for line in lines]
        carried = [line["carried_us"] / line["u32_us"] for line in lines]
        text = f"{min(ratios):.1f}x to {max(ratios):.1f}x; two words with a carry {min(carried):.1f}x to {max(carried):.1f}x"
        return text, None if emulated() else min(ratios) >= at_least

    return judge


def dependents_wait(output):
    """That kernels which may begin early saw what the one ahead wrote."""
    line = output.lines("dependent")[0]
    text = f"{line['launched_wrong']} of {line['values']} values wrong launched, {line['replayed_wrong']} after {line['replays']} replays of a graph"
    return text, line["launched_wrong"] == 0 and line["replayed_wrong"] == 0 and output.code == 0


def ratio(first, second, at_most, l2="cold"):
    """That the first test takes at most so many times as long as the second; `second` may be a list, whose times are summed."""

    def judge(output):
        tests = output.measurements()
        time = lambda test: tests[(test, l2)]["median"]  # noqa: E731
        base = sum(time(test) for test in second) if isinstance(second, list) else time(second)
        value = time(first) / base
        return f"{value:.2f}x ({time(first):.1f} us, {base:.1f} us)", None if output.emulated() else value <= at_most

    return judge


def share(test, field, at_least, l2="cold"):
    """That a test reaches at least this share of what the device reaches: field "memory_share" or "matrix_share"."""

    def judge(output):
        m = output.measurements()[(test, l2)]
        rate = f"{m['gb_per_s']:.0f} GB/s" if field == "memory_share" else f"{m['tflop_per_s']:.0f} TFLOP/s"
        if output.emulated():
            return f"{m['median']:.1f} us, {rate}", None
        if field not in m:
            raise ValueError(f"no {field} of {test}")
        return f"{100 * m[field]:.0f}% ({m['median']:.1f} us, {rate})", m[field] >= at_least

    return judge


def time_below(test, microseconds, l2="cold"):
    def judge(output):
        m = output.measurements()[(test, l2)]
        return f"{m['median']:.1f} us", None if output.emulated() else m["median"] <= microseconds

    return judge


def rate(test, other_step, at_least):
    """That a generation reaches at least so many times the tokens a second that it reached in an earlier step."""

    def judge(output):
        if other_step not in output.earlier:
            raise CannotTell(f"{other_step} did not run")
        mine, other = output.tokens_per_second()[test], output.earlier[other_step].tokens_per_second()[test]
        return f"{mine / other:.2f}x ({mine:.0f} and {other:.0f} tokens/s)", None if output.emulated() else mine / other >= at_least

    return judge


def step_share(test, at_least):
    """That a whole step moves weights, keys and values at this share of what an earlier step saw the device read."""

    def judge(output):
        m = output.measurements()[(test, "warm")]
        text = f"{m['median']:.1f} us, {m['gb_per_s']:.0f} GB/s"
        if output.emulated():
            return text, None
        devices = [(o.figures or {}).get("device") for o in output.earlier.values()]
        reads = [d["read_gb_per_s"] for d in devices if isinstance(d, dict) and d.get("read_gb_per_s", 0) > 0]
        if not reads:
            raise CannotTell(f"no step before measured what the device reads ({text})")
        return f"{100 * m['gb_per_s'] / max(reads):.0f}% ({text})", m["gb_per_s"] / max(reads) >= at_least

    return judge


def measured(output):
    """Figures without an expectation: they are there."""
    count = len(output.measurements())
    return f"{count} figures", None if output.emulated() else True


def runs(output):
    return f"{len(output.figures['measurements'])} figures", output.code == 0


def ends_well(output):
    last = [line for line in (output.out + output.err).splitlines() if line.strip()]
    return (last[-1][:120] if last else "no output"), output.code == 0


def no_report(output):
    """Of compute-sanitizer."""
    summary = re.findall(r"ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: (\d+) hazard", output.out + output.err)
    if not summary:
        return "no summary", False
    found = sum(int(a or b) for a, b in summary)
    return f"{found} reports", found == 0 and output.code == 0
