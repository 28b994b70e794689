"""Measured figures of a GPU into bench/README.md, beside the modelled ones."""
import argparse
import json
import pathlib
import re
import statistics
import sys

README = pathlib.Path(__file__).resolve().parent.parent / "bench" / "README.md"
HEADING = "## Measured on "
BEFORE = "## Scheduler"  # where a first section goes
# What the emulator models: the name that NVIDIA's driver gives the device, and the emulated one's. Others of a family ("H100 PCIe", "H100 NVL", "RTX 4090 D")
# have other clocks, memories and numbers of multiprocessors.
MODELS = {
    "a100": ("NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB (emulated)"),
    "h100": ("NVIDIA H100 80GB HBM3", "H100-SXM5-80GB (emulated)"),
    "h200": ("NVIDIA H200", "H200-SXM-141GB (emulated)"),
    "rtx4090": ("NVIDIA GeForce RTX 4090", "RTX 4090 (emulated)"),
    "rtx5090": ("NVIDIA GeForce RTX 5090", "RTX 5090 (emulated)"),
}


class Refused(Exception):
    """A report that cannot be used; the text says why."""


class NoFile(Exception):
    """A path that cannot be read; the text says why."""


def read(path):
    path = pathlib.Path(path)
    if path.is_dir():
        inside = [name for name in ("report.json", "results/report.json") if (path / name).is_file()]
        raise NoFile(f"{path} is a folder; give the file " + (str(path / inside[0]) if inside else "report.json that OUT/run of the kit wrote"))
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise NoFile(f"{path}: {error.strerror}")
    except ValueError as error:
        raise Refused(f"{path} is no JSON: {error}")
    if not isinstance(found, dict) or not ("steps" in found or "measurements" in found):
        raise Refused(f"{path} is neither a report of the kit nor one of warploom-bench --gpu-ops")
    return found


def measurements(found):
    """By test and state of the L2 cache: those of all steps of a kit's report, or of one run of warploom-bench --gpu-ops."""
    by_test = {}
    figures = [step.get("figures") for step in found["steps"]] if "steps" in found else [found]
    for one in figures:
        if not isinstance(one, dict):
            continue
        model = one.get("model") or ""
        for m in one.get("measurements", []):
            if m.get("unit") == "us" and m.get("median", 0) > 0:
                by_test[(f"{model.split(',')[0]}: {m['test']}" if model else m["test"], m.get("l2", ""))] = m
    return by_test


def modelled_times(files, device):
    """By test and state of the L2 cache, of runs whose launches had that device's shapes and whose times are modelled on it."""
    models = {silicon: (key, emulated) for key, (silicon, emulated) in MODELS.items()}
    if device not in models:
        if files:
            raise Refused(f"--modelled: the emulator has no model of \"{device}\"; it has those of {', '.join(models)}")
        return {}
    if not files:
        raise Refused(f"--modelled is missing: WARPLOOM_EMULATOR_DEVICE={models[device][0]} warploom-bench --gpu-ops --modelled-gpu {models[device][0]} --json "
                      "on the emulator writes it")
    key, emulated = models[device]
    times = {}
    for path in files:
        found = read(path)
        ran_as = (found.get("device") or {}).get("name", "")
        if emulated not in ran_as:
            raise Refused(f"--modelled {path}: its launches have the shapes of \"{ran_as}\", not of \"{emulated}\" (WARPLOOM_EMULATOR_DEVICE={key})")
        for test, m in measurements(found).items():
            if not m.get("timed", "").startswith("modelled"):
                raise Refused(f"--modelled {path}: \"{test[0]}\" was measured, not modelled")
            if m["timed"] != f"modelled on {key}":
                raise Refused(f"--modelled {path}: \"{test[0]}\" is {m['timed']}, but measured was {device}")
            times[test] = m["median"]
    return times


def kernel(test):
    """What the ratios are summed up by."""
    words = test.split()
    return " ".join(words[:2]) if words[0] in ("attention", "product") else "step" if ": step " in test else words[0]


def table(measured, modelled):
    rows = ["| test | L2 | modelled us | measured us | modelled / measured | GB/s | of memory | TFLOP/s | of products |",
            "|---|---|---:|---:|---:|---:|---:|---:|---:|"]
    for (test, l2), m in measured.items():
        model = modelled.get((test, l2))
        number = lambda key, form: format(m[key], form) if key in m else ""  # noqa: E731
        rows.append("| " + " | ".join([test, l2, f"{model:.1f}" if model else "", f"{m['median']:.1f}", f"{model / m['median']:.2f}" if model else "",
                                       number("gb_per_s", ".0f"), number("memory_share", ".0%"), number("tflop_per_s", ".1f"),
                                       number("matrix_share", ".0%")]) + " |")
    return "\n".join(rows)


def generation(found):
    """Tokens a second of whole generations, a column for each step that measured some; empty without any."""
    steps = {step["name"]: {m["test"]: m["median"] for m in (step.get("figures") or {}).get("measurements", []) if m.get("unit") == "tokens/s"}
             for step in found["steps"]}
    steps = {name: by_test for name, by_test in steps.items() if by_test}
    if not steps:
        return ""
    rows = [f"| tokens/s | {' | '.join(steps)} |", f"|---|{'---:|' * len(steps)}"]
    for test in dict.fromkeys(test for by_test in steps.values() for test in by_test):
        rows.append(f"| {test} | " + " | ".join(f"{by_test[test]:.0f}" if test in by_test else "" for by_test in steps.values()) + " |")
    return "\n".join(rows) + "\n\n"


def claims(found):
    rows = ["| claim | expected | measured | verdict |", "|---|---|---|---|"]
    rows += [f"| {r['claim']} | {r['expected']} | {r['measured']} | {r['verdict']} |".replace("\n", " ") for r in found["rows"]]
    return "\n".join(rows)


def section(found, modelled):
    device, kit = found["device"], found.get("kit", {})
    clocks = f", {device['clocks.sm']} MHz at the start and at most {device.get('clocks.max.sm', '?')}" if "clocks.sm" in device else ""
    driver = device.get("driver_version", device.get("cuda_driver", "unknown"))
    about = (f"*Measured* by `tools/gpu_kit` on one {device['name']} (driver {driver}{clocks}), commit {kit.get('commit', 'unknown')}, {kit.get('began', '')[:10]}. "
             "By CUDA events; cold: other data was read through the L2 cache before each run; warm: a replayed graph. Whole steps by the host's "
             "clock. Shares are of what the device itself reads or copies and multiplies.")
    return f"{HEADING}{device['name']}\n\n{about}\n\n{claims(found)}\n\n{table(measurements(found), modelled)}\n\n{generation(found)}"


def with_section(readme, text):
    """The section of that heading is replaced; a new one goes before BEFORE, or to the end."""
    heading = text.split("\n", 1)[0]
    parts = re.split(r"(?m)^(?=## )", readme)
    kept = [part for part in parts if part.split("\n", 1)[0] != heading]
    at = next((i for i, part in enumerate(parts) if part.split("\n", 1)[0] == heading), None)
    if at is None:
        at = next((i for i, part in enumerate(kept) if part.startswith(BEFORE)), len(kept))
    if at == len(kept) and kept and not kept[-1].endswith("\n\n"):
        kept[-1] = kept[-1].rstrip("\n") + "\n\n"
    kept.insert(at, text)
    return "".join(kept).rstrip("\n") + "\n"


def ratios(measured, modelled):
    by_kernel = {}
    for key, m in measured.items():
        if key in modelled:
            by_kernel.setdefault(kernel(key[0]), []).append(modelled[key] / m["median"])
    lines = [f"{'kernel':24} {'tests':>5} {'modelled / measured: median':>28} {'lowest':>7} {'highest':>8}"]
    lines += [f"{name:24} {len(r):5} {statistics.median(r):28.2f} {min(r):7.2f} {max(r):8.2f}" for name, r in by_kernel.items()]
    return "\n".join(lines) if by_kernel else "no test has a modelled time"


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="scripts/gpu-report", description=__doc__)
    parser.add_argument("report", help="report.json of the kit: OUT/run writes OUT/results/report.json")
    parser.add_argument("--modelled", action="append", default=[], help="JSON of warploom-bench --gpu-ops on the emulator as the device that was measured; may be repeated, and is needed where the emulator "
                             "models that device")
    parser.add_argument("--readme", type=pathlib.Path, default=README, help="where the figures go (default: bench/README.md)")
    options = parser.parse_args(arguments)
    try:
        found = read(options.report)
        if "rows" not in found:
            raise Refused(f"{options.report} is no report of the kit: OUT/run writes results/report.json")
        if found.get("device", {}).get("emulated"):
            raise Refused(f"{options.report}: an emulator ran this, so nothing in it was measured")
        if "name" not in found.get("device", {}):
            raise Refused(f"{options.report}: it names no device, so its figures cannot be told apart: {found.get('device', {}).get('error', '')}")
        measured = measurements(found)
        if not measured:
            raise Refused(f"{options.report}: no step has figures")
        readme = options.readme.read_text()
        modelled = modelled_times(options.modelled, found["device"]["name"])
        options.readme.write_text(with_section(readme, section(found, modelled)))
    except NoFile as error:
        parser.error(str(error))
    except (Refused, OSError) as error:
        sys.exit(f"error: {error}")
    print(ratios(measured, modelled))


if __name__ == "__main__":
    main()
