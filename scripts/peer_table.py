"""Tables of what scripts/compare-peers measured."""
import statistics

import peers


def ratio(row, ours, theirs):
    """How many times better Warploom is by the medians."""
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    return theirs / ours if row["lower_is_better"] else ours / theirs


def ratios(row, us):
    """By program, of those that were measured."""
    values = row["values"]
    if not values.get(us):
        return {}
    return {title: ratio(row, values[us], theirs) for title, theirs in values.items() if title != us and theirs}


def best_peer(row, us):
    found = ratios(row, us)
    return min(found, key=found.get) if found else None


def number(value):
    """With three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def markdown_table(head, lines):
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "".join("| " + " | ".join(cells) + " |\n" for cells in [head, *lines]).replace("\n", "\n|" + "|".join(rule) + "|\n", 1)


def ratio_table(rows, us, titles):
    """Warploom's medians, and how many times better they are than each peer's; the best peer's in bold."""
    lines = []
    for row in rows:
        ours, found, best = row["values"].get(us), ratios(row, us), best_peer(row, us)
        cells = [f"{found[title]:.2f}" if title in found else "-" for title in titles]
        cells = [f"**{cell}**" if title == best else cell for title, cell in zip(titles, cells)]
        lines.append([f"{row['name']}, {row['unit']}", number(statistics.median(ours)) if ours else "-", *cells])
    return markdown_table(["", us, *titles], lines)


def value_table(rows, titles):
    """Medians and ranges."""
    def cell(values):
        return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})" if values else "-"

    return markdown_table(["", *titles], [[f"{row['name']}, {row['unit']}", *(cell(row["values"].get(title)) for title in titles)]
                                          for row in rows])


def report(results):
    us, titles = results["us"], results["programs"]
    others = [title for title in titles if title != us]
    text = (f"{results['processor']}, {results['threads']} threads; {results['model']}; {results['rounds']} rounds in turns; others had "
            f"at most {100 * results['others']:.0f}% of the processors in a run that counts\n\n"
            f"{us}, then how many times better it is than each of the others (medians; the best of them in bold):\n\n"
            f"{ratio_table(results['rows'], us, others)}\nMedians (and ranges):\n\n{value_table(results['rows'], titles)}")
    notes = [f"- {title}: {reason}\n" for title, reason in results["failures"].items()]
    if notes:
        text += "\nNot measured:\n\n" + "".join(notes)
    return text
