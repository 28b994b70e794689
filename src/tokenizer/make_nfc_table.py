#!/usr/bin/env python3
"""Writes nfc_table.cpp beside itself, from the Unicode data of Python's unicodedata, and tests/data/nfc.json.

    python make_nfc_table.py

Made with Python 3.11, whose data are of Unicode 14. What is assigned never changes its normal form.
"""
import json
import pathlib
import random
import unicodedata

HERE = pathlib.Path(__file__).parent
HANGUL = range(0xAC00, 0xD7A4)  # composed by a rule
WIDTH = 122


def escaped(code):
    if code in (0x22, 0x5C):
        return "\\" + chr(code)
    if 0x20 <= code < 0x7F:
        return chr(code)
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def literal(name, comment, rows):
    lines, line = [], ""
    for row in rows:
        text = "".join(map(escaped, row))
        if len(line) + len(text) + 4 > WIDTH:
            lines.append(line)
            line = ""
        line += text
    lines.append(line)
    body = "\n".join(f'    U"{line}"' for line in lines)
    return f"// {comment}\nconstexpr std::u32string_view {name} =\n{body};\n"


def decompositions():
    pairs, single, excluded = [], [], []
    for code in range(0x110000):
        parts = unicodedata.decomposition(chr(code))
        if code in HANGUL or not parts or parts.startswith("<"):
            continue
        parts = [int(part, 16) for part in parts.split()]
        if len(parts) == 1:
            single.append((code, parts[0]))
        elif unicodedata.normalize("NFC", chr(code)) == chr(code):
            pairs.append((code, *parts))
        else:
            excluded.append((code, *parts))
    return pairs, single, excluded


def classes():
    ranges = []
    for code in range(0x110000):
        value = unicodedata.combining(chr(code))
        if value and ranges and ranges[-1][1] == code - 1 and ranges[-1][2] == value:
            ranges[-1][1] = code
        elif value:
            ranges.append([code, code, value])
    return ranges


def table():
    pairs, single, excluded = decompositions()
    ranges = [f"{{0x{first:X}, 0x{last:X}, {value}}}," for first, last, value in classes()]
    lines, line = [], ""
    for text in ranges:
        if len(line) + len(text) + 5 > WIDTH:
            lines.append(line)
            line = ""
        line += (" " if line else "") + text
    lines.append(line)
    return "\n".join([
        f"// Unicode {unicodedata.unidata_version}, written by make_nfc_table.py.",
        '#include "tokenizer/nfc_table.h"', "", "namespace warploom {", "namespace {", "", "// clang-format off",
        literal("kPairs", "Character, and the two that it is composed of.", pairs),
        literal("kExcluded", "The same, but the two are not composed.", excluded),
        literal("kSingle", "Character, and the one that stands for it.", single),
        "constexpr CombiningRange kClasses[] = {",
        "\n".join(f"    {line}" for line in lines), "};", "// clang-format on", "", "}  // namespace", "",
        "std::u32string_view nfc_pairs() { return kPairs; }", "std::u32string_view nfc_excluded() { return kExcluded; }",
        "std::u32string_view nfc_single() { return kSingle; }", "std::span<const CombiningRange> nfc_classes() { return kClasses; }", "",
        "}  // namespace warploom", ""])


def cases():
    """[text, its normal form]: every character by itself and between others if that changes it, and random ones."""
    interesting = [chr(c) for c in range(0x110000) if unicodedata.combining(chr(c)) or unicodedata.decomposition(chr(c)).strip("<")[:1].isalnum()
                   and not unicodedata.decomposition(chr(c)).startswith("<")]
    out = [["".join(interesting[i:i + 64]), ""] for i in range(0, len(interesting), 64)]
    out += [["".join(unicodedata.normalize("NFD", c) + "x" for c in interesting[i:i + 64]), ""] for i in range(0, len(interesting), 64)]
    rng = random.Random(17)
    common = list("aAeoiuz \n") + [chr(c) for c in range(0x300, 0x330)] + [chr(c) for c in (0x1100, 0x1161, 0x11A8, 0xAC00, 0xAC01, 0x11A7, 0x1175, 0x11C2, 0x1112)]
    for _ in range(300):
        out.append(["".join(rng.choice(common if rng.random() < .8 else interesting) for _ in range(rng.randrange(1, 30))), ""])
    return [[text, unicodedata.normalize("NFC", text)] for text, _ in out]


def main():
    (HERE / "nfc_table.cpp").write_text(table())
    path = HERE.parent.parent / "tests/data/nfc.json"
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases()) + "\n]\n")


main()
