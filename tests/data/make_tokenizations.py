#!/usr/bin/env python3
"""Writes tests/data/tokenizations/: hard strings, small vocabularies, and what llama.cpp's tokenizer makes of them.

    python make_tokenizations.py path/to/SmolLM2-135M-Instruct.Q4_1.gguf

Needs the PyPI packages llama-cpp-python (made with 0.3.36) and gguf (0.19.0). Everything is deterministic.

The small vocabularies stand in for model files of hundreds of megabytes: their merges are learned here on the strings
themselves, across what should be word boundaries, so that a wrong split shows in the ids.
"""
import collections
import json
import pathlib
import random
import sys

import gguf
import llama_cpp

OUT = pathlib.Path(__file__).parent / "tokenizations"


def hard_strings():
    out = [b""]
    add = lambda *texts: out.extend(t if isinstance(t, bytes) else t.encode() for t in texts)
    add("Hello world", " Hello", "Hello ", "  Hello  world  ", "hello, world!", "don't", "I'll we've they're he'd she's I'm can't",
        "DON'T I'LL WE'VE THEY'RE HE'D SHE'S I'M", "'s 's's ''s ' s '", "it''s 'quoted' text", "o'clock rock'n'roll", "’s don’t")
    # Digits next to everything.
    add("1", " 1", "1 ", "12 345 6789", "2024-11-23T16:41:02Z", "3.14159", "1,000,000.00", "a1b2c3", "x86_64", "v1.2.3-rc4", " 1  2   3    4",
        "1\n2\n\n3", "١٢٣ ٤٥٦", "४५६", "①②③ Ⅷ ½ ¾ ²³", "𝟘𝟙𝟚", "0x1F 1e-5 -42 +7", "1st 2nd 3rd", "12345678901234567890", "9'9 9's", "\t1\t2", "五5五", "5%", "$5.00")
    # White space.
    for n in (1, 2, 3, 4, 7, 8, 15, 16, 17, 33, 64, 100):
        add(" " * n, " " * n + "x", "x" + " " * n, "x" + " " * n + "y", "\n" * n, "\n" * n + "x", "x" + "\n" * n + "y")
    add("\t", "\t\t\tx", " \t \t x", "a\r\nb\r\n\r\nc", "\r\r\r", " \n \n \n", "\n  indented\n    more\n", "a \n b", "x  \n\n  y", "\v\f\x85",
        "a\u00a0b", "\u00a0\u00a0", "a\u2003\u2003b", "\u3000全角\u3000空白", "a\u2028b\u2029c", "a\u202fb", "\u1680x", "\u180ex y\u180e", "\ufeffBOM", "a\u200bb\u200d")
    # Code.
    add("def f(x):\n    return x ** 2\n", "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n", "<div class=\"x\">&nbsp;</div>", "SELECT * FROM t WHERE a='b';",
        "#!/bin/sh\nset -euo pipefail\n", "https://example.org/a?b=c&d=%20#e", "a@b.example", "C:\\Users\\x\\y.txt", "/usr/lib/x86_64", "$\\frac{a}{b}$",
        "{\"a\": [1, 2, null]}", "=== --- *** ___ ...", "!!! ??? !?!?", "(((())))", "a_b-c.d,e;f:g", "camelCaseString HTTPServer", "\\n\\t\\\\", "``` `x` ```", "->=><=!==+=", "…—–·•")
    # Scripts.
    add("Привет, мир! Ёлка 123", "Γειά σου Κόσμε", "שלום עולם", "مرحبا بالعالم ١٢٣", "नमस्ते दुनिया", "สวัสดีชาวโลก", "你好，世界！", "こんにちは世界カタカナ",
        "안녕하세요 세계", "გამარჯობა", "Բարեւ աշխարհ", "வணக்கம்", "ආයුබෝවන්", "ᚠᛇᚻ", "ᏣᎳᎩ", "𐍈𐌰𐌹", "Ünïcödé çà", "Việt Nam tiếng", "ﬁ ﬂ Ⅻ ℃ ㎏",
        "İıſß ẞ ŉ", "日本語123テスト", "中文English混排", "\u202eRTL override\u202c", "a\u0301e\u0308", "Z̷̢̛a̸l̵g̶o̸", "ก็ ำ", "क्षि", "\u0627\u0653", "e\u0301\u0301\u0301 x", " \u0301x", "𠀀𠁁 ideographs", "ǅ ǈ")
    # Emoji.
    add("😀", " 😀", "😀😀", "👍🏽", "👩‍👩‍👧‍👦 family", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🇩🇪🇫🇷", "❤️ ❤", "1️⃣2️⃣", "☎️©®™", "a😀b 1😀2", "🤷🏻‍♀️!")
    # Controls, every one of them, and what encoders like to trip over.
    for c in list(range(0x00, 0x21)) + [0x7F]:
        add(bytes([c]), b"a" + bytes([c]) + b"b", bytes([c]) * 3)
    add("\u0080\u0081\u009f", "\x00\x01\x02\x03", "\x1b[31mred\x1b[0m", "\uffff \ufffe", "\ufffd", "\U0010ffff", "\U000f0000", "\ue000", "\U000e0001", "\U00040000")
    # Special tokens written out.
    add("<|im_start|>user\nhi<|im_end|>\n", "<|endoftext|>", " <|endoftext|> ", "<|im_start|><|im_start|>", "a<|im_end|>b", "<|im_start", "<|im_start|", "<<|im_end|>>",
        "<s>hello</s>", "<s> hello </s> world", "<unk>", "<0x0A>", "<0x41> <0xFF>", "[INST] x [/INST]", "<|begin_of_text|>x<|eot_id|>", "<start_of_turn>user\nx<end_of_turn>", "<repo_name>x<filename>y",
        "<user_tag> and <user_tag>x", "x<user_tag>", "<user_tag_long>", "</s></s>")
    # Long words and mixtures.
    add("a" * 300, "ab" * 200, "Donaudampfschifffahrtsgesellschaftskapitän" * 3, "0" * 100, "!" * 100, "=" * 79, "é" * 100, "你" * 100, "😀" * 30, "x" * 1000 + " y", "aA" * 50 + "1" * 50)
    # Invalid UTF-8.
    add(b"\x80", b"\xff", b"abc\xffdef", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82x", b"\xf0\x9f\x98", b"\xf0\x9f\x98 x", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80",
        b"a\x80b\x81c", b" \x80 \x81 ", b"1\x802", b"\xe4\xbd\xa0\xe5", b"\xfe\xff\x00A", bytes(range(128, 256)), bytes(range(256)), b"x" * 50 + b"\xe2\x82" * 20)
    # Random mixtures of characters from everywhere.
    rng = random.Random(20241123)
    pools = ["abcdefgh etaoin", "ABC XYZ", "0123456789", "     ", "\n\n\r\t", ".,;:!?'\"()-_/\\", "äöüßéèñ", "αβγ", "абв", "אבג", "عرب", "हिन्दी", "你好世界", "かな", "한국", "😀👍🏽❤️\u200d", "\u0301\u0308",
             "\u00a0\u2009\u3000\u2028\x85", "½²①", "+=<>|~$^`€", "\x00\x01\x1f\x7f\u200b\ufeff", "'s'll're"]
    for _ in range(160):
        chosen = rng.sample(pools, rng.randint(2, 5))
        out.append("".join(rng.choice(rng.choice(chosen)) for _ in range(rng.randint(1, 40))).encode())
    return list(dict.fromkeys(out))


def byte_alphabet():
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in keep]
    return {**{b: chr(b) for b in keep}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def learn_merges(sequences, count):
    """Plain BPE on lists of symbols: `count` merges of the most frequent pair, ties by the pair."""
    sequences = [list(s) for s in sequences]
    merges = []
    for _ in range(count):
        pairs = collections.Counter()
        for s in sequences:
            pairs.update(zip(s, s[1:]))
        best = max(pairs.items(), key=lambda item: (item[1], item[0]))[0]
        merges.append(best)
        for k, s in enumerate(sequences):
            merged, i = [], 0
            while i < len(s):
                if i + 1 < len(s) and (s[i], s[i + 1]) == best:
                    merged.append(s[i] + s[i + 1])
                    i += 2
                else:
                    merged.append(s[i])
                    i += 1
            sequences[k] = merged
    return merges


NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def writer(path):
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(64)
    w.add_embedding_length(8)
    w.add_block_count(1)
    w.add_feed_forward_length(8)
    w.add_head_count(1)
    w.add_layer_norm_rms_eps(1e-5)
    return w


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def write_bpe(path, pre, corpus):
    alphabet = byte_alphabet()
    merges = learn_merges([[alphabet[b] for b in t] for t in corpus], 700)
    # One pair may be reached in two ways, and then the token is there already.
    tokens = list(dict.fromkeys([*(alphabet[b] for b in range(256)), *(a + b for a, b in merges)]))
    kinds = [NORMAL] * len(tokens)
    spell = lambda text: "".join(alphabet[b] for b in text.encode())
    # Whole words that no merges lead to: the pre-tokenizer decides whether they are looked up.
    for word in ("camelCaseString", " ideographs", " indented", "Donaudampfschifffahrtsgesellschaftskapitän"):
        if spell(word) not in tokens:
            tokens.append(spell(word))
            kinds.append(NORMAL)
    specials = {"<|endoftext|>": CONTROL, "<|begin_of_text|>": CONTROL, "<|eot_id|>": CONTROL, "<|im_start|>": CONTROL, "<|im_end|>": CONTROL, "<user_tag>": USER, "<user_tag_long>": USER}
    for text, kind in specials.items():
        tokens.append(text)
        kinds.append(kind)
    w = writer(path)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_types(kinds)
    w.add_token_merges([f"{a} {b}" for a, b in merges])
    w.add_bos_token_id(tokens.index("<|begin_of_text|>"))
    w.add_eos_token_id(tokens.index("<|endoftext|>"))
    if pre == "qwen2":
        w.add_add_bos_token(False)
        w.add_add_eos_token(True)
    finish(w)


def write_spm(path, corpus, space_prefix):
    texts = [t.decode().replace(" ", "\u2581") for t in corpus]
    characters = sorted({c for c, n in collections.Counter("".join(texts)).items() if n > 2 and c not in "\n\x00"})
    merges = learn_merges(texts, 600)
    rows = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)]
    rows += [(f"<0x{b:02X}>", 0.0, BYTE) for b in range(256)]
    seen = {text for text, _, _ in rows}
    # Some scores are equal, so that the place in the text decides.
    for rank, text in enumerate(dict.fromkeys(a + b for a, b in merges)):
        if text not in seen and "\n" not in text and "\x00" not in text:
            rows.append((text, -float(rank // 3), NORMAL if rank % 50 else UNUSED))
            seen.add(text)
    rows += [(c, -10000.0 - i, NORMAL) for i, c in enumerate(characters) if c not in seen]
    rows += [("<user_tag>", 0.0, USER), ("<user_tag_long>", 0.0, USER), ("<start_of_turn>", 0.0, CONTROL), ("<end_of_turn>", 0.0, CONTROL)]
    w = writer(path)
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list([r[0] for r in rows])
    w.add_token_scores([r[1] for r in rows])
    w.add_token_types([r[2] for r in rows])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    if not space_prefix:
        w.add_add_space_prefix(False)
    finish(w)


def load_tokenizer(path):
    """A function (text, parse_special) -> ids, with the special tokens added that the file asks for."""
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    assert model, path
    vocab = llama_cpp.llama_model_get_vocab(model)

    def tokenize(text, parse_special):
        ids = (llama_cpp.llama_token * (2 * len(text) + 8))()
        n = llama_cpp.llama_tokenize(vocab, text, len(text), ids, len(ids), True, parse_special)
        assert n >= 0, text
        return list(ids[:n])

    return tokenize


def valid(text):
    try:
        text.decode()
        return True
    except UnicodeDecodeError:
        return False


def main():
    strings = hard_strings()
    OUT.mkdir(exist_ok=True)
    entries = [{"text": s.decode()} if valid(s) else {"hex": s.hex()} for s in strings]
    (OUT / "strings.json").write_text("[\n" + ",\n".join(json.dumps(e) for e in entries) + "\n]\n")
    corpus = [s for s in strings if valid(s) and b"<" not in s and len(s) < 200]
    files = {"smollm2": pathlib.Path(sys.argv[1])}
    for pre in ("gpt-2", "llama-bpe", "qwen2"):
        files[pre] = OUT / f"{pre}.gguf"
        write_bpe(files[pre], pre, corpus)
    for name, prefix in (("spm", True), ("spm-no-prefix", False)):
        files[name] = OUT / f"{name}.gguf"
        write_spm(files[name], corpus, prefix)
    for name, path in files.items():
        tokenize = load_tokenizer(path)
        # llama.cpp reads invalid bytes as U+FFFD, so it has no answer there.
        rows = [[tokenize(s, False), tokenize(s, True)] if valid(s) else None for s in strings]
        (OUT / f"{name}.ids.json").write_text("[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows) + "\n]\n")
        print(name, len(rows), "strings")


main()
