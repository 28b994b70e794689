"""The readable report."""

HEADINGS = ["step", "claim", "expected", "measured", "verdict"]


def device_line(found):
    device, kit = found["device"], found["kit"]
    parts = [device.get("name", "no device"), f"driver {device.get('driver_version', device.get('cuda_driver', '?'))}"]
    if "capability" in device:
        parts.append(f"compute capability {device['capability']}, {device['multiprocessors']} multiprocessors")
    if "clocks.sm" in device:
        parts.append(f"{device['clocks.sm']} MHz at the start, at most {device.get('clocks.max.sm', '?')}, memory {device.get('clocks.mem', '?')} MHz")
    if "error" in device:
        parts.append(f"error: {device['error']}")
    parts.append(f"commit {kit.get('commit', '?')}, {kit.get('began', '?')}")
    return "; ".join(str(part) for part in parts)


def _counts(rows):
    kinds = ["holds", "failed", "modelled", "skipped"]
    return ", ".join(f"{sum(row['verdict'] == kind for row in rows)} {kind}" for kind in kinds)


def _note(found):
    return "An emulator ran this: correctness is checked, times are modelled.\n" if found["device"].get("emulated") else ""


def as_markdown(found):
    rows = "".join("| " + " | ".join(str(row[name]).replace("|", "/") for name in HEADINGS) + " |\n" for row in found["rows"])
    text = f"# What a GPU says\n\n{device_line(found)}\n\n{_note(found)}{_counts(found['rows'])}\n\n"
    text += f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}\n{rows}"
    return text + _figures(found)


def _figures(found):
    text = ""
    for step in found["steps"]:
        figures = step.get("figures")
        if not isinstance(figures, dict) or not figures.get("measurements"):
            continue
        clocks = step.get("clocks") or {}
        seen = ", ".join(f"{name} {low:.0f} to {high:.0f}" for name, (low, high) in clocks.items())
        measured = [m for m in figures["measurements"] if isinstance(m, dict) and isinstance(m.get("median"), (int, float))]
        text += f"\n## {step['name']}\n\n{seen + chr(10) * 2 if seen else ''}| test | L2 | timed | median | GB/s | TFLOP/s |\n|---|---|---|---:|---:|---:|\n"
        for m in measured:
            number = lambda key: f"{m[key]:.1f}" if key in m else ""  # noqa: E731
            text += f"| {m.get('test', '')} | {m.get('l2', '')} | {m.get('timed', '')} | {m['median']:.1f} {m.get('unit', '')} | {number('gb_per_s')} | {number('tflop_per_s')} |\n"
    return text


def as_text(found):
    widths = {name: min(60, max([len(name)] + [len(str(row[name])) for row in found["rows"]])) for name in HEADINGS}
    line = lambda row: "  ".join(str(row[name])[:widths[name]].ljust(widths[name]) for name in HEADINGS).rstrip()  # noqa: E731
    return "\n".join(["", device_line(found), _note(found) + _counts(found["rows"]), "", line({name: name for name in HEADINGS})] +
                     [line(row) for row in found["rows"]])
