#!/usr/bin/env python3
"""Writes tests/data/words.json: how the pre-tokenizers split hard strings, by the expressions of the models' own files.

    python make_words.py

Needs the PyPI package regex (made with 2026.11.19), an engine of its own. Tekken's expression is that of its tokenizer.json; `default`
is done in the steps that llama.cpp takes: each expression cuts its matches, and what lies between them, out of the parts so far.
"""
import json
import pathlib
import random

import regex

# White_Space of Unicode, which regex's \s is not (it takes in U+001C to U+001F).
S = r"\t-\r\x85\p{Z}"
GPT2 = rf"'(?:[sdmt]|ll|ve|re)| ?\p{{L}}+| ?\p{{N}}+| ?[^{S}\p{{L}}\p{{N}}]+|[{S}]+(?![^{S}])|[{S}]+"
STEPS = {
    "tekken": [rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]*[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]+|"
               rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]+[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]*|\p{{N}}|"
               rf" ?[^{S}\p{{L}}\p{{N}}]+[\r\n/]*|[{S}]*[\r\n]+|[{S}]+(?![^{S}])|[{S}]+"],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
}


def split(parts, expression):
    out = []
    for part in parts:
        at = 0
        for match in regex.finditer(expression, part):
            out += [part[at:match.start()], match[0]]
            at = match.end()
        out.append(part[at:])
    return [part for part in out if part]


def strings():
    yield from ["", "I'LL pay  $1234 in 25's\n\n x", "a/b//c\n/d \r\n", "HelloWorld helloWORLD ÉcoleÀ ǅabc ʰa", "x 12345678 9 1½234 ②345 ١٢٣٤",
                "  ...  'quoted'  (a)  ", "#!/bin/sh\n\n\techo $X | wc\n", "a+b=c <d> ^e ~f |g `h` i_j", "e\u0301 ka\u0308\u0308 \u0301x",
                "\u4f60\u597d\uff0c\u4e16\u754c\u3002 \ud55c\uad6d\uc5b4 \u05d0\u05d1", "\U0001f600\U0001f44d\U0001f3fd a\U0001f600b", " \u00a0\u2003x\u3000\u3000y "]
    rng = random.Random(17)
    alphabet = list("aBcDé Éß\n\r\t  .,'!$+/-_1234567890½②٣") + ["\u0301", "\u4f60", "ǅ", "ʰ", "\U0001f600", "\u00a0", "\u3000", "€", "`", "'s", "'LL", "\r\n", "    "]
    for _ in range(400):
        yield "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 25)))


def main():
    texts = list(strings())
    out = {"texts": texts}
    for name, expressions in STEPS.items():
        out[name] = []
        for text in texts:
            parts = [text]
            for expression in expressions:
                parts = split(parts, expression)
            assert "".join(parts) == text
            out[name].append(parts)
    path = pathlib.Path(__file__).parent / "words.json"
    path.write_text("{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in out.items()) + "\n}\n")


main()
