#!/usr/bin/env python3
"""cut_gguf.py MODEL OUT LAYERS: the same GGUF file with its first LAYERS layers alone. Everything else stays as it is."""
import argparse
import os
import struct
import sys

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY, UINT32 = 8, 9, 4


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, kind):
        value = struct.unpack_from("<" + kind, self.data, self.at)[0]
        self.at += struct.calcsize("<" + kind)
        return value

    def text(self):
        size = self.number("Q")
        if size > len(self.data) - self.at:
            raise ValueError(f"a string of {size} bytes at offset {self.at} ends beyond the file")
        self.at += size
        return self.data[self.at - size:self.at]

    def skip(self, kind):
        if kind == STRING:
            self.text()
        elif kind == ARRAY:
            inner, count = self.number("I"), self.number("Q")
            if inner in SCALARS:
                self.at += count * struct.calcsize(SCALARS[inner])
            else:
                for _ in range(count):
                    self.skip(inner)
        elif kind in SCALARS:
            self.at += struct.calcsize(SCALARS[kind])
        else:
            raise ValueError(f"a value at offset {self.at} has the unknown type {kind}")


def cut(data, layers):
    """The bytes of the shorter file. Raises ValueError if `data` is no GGUF file with more than `layers` layers."""
    reader = Reader(data)
    if data[:4] != b"GGUF":
        raise ValueError("not a GGUF file")
    reader.at = 4
    version, tensors, values = reader.number("I"), reader.number("Q"), reader.number("Q")
    metadata, alignment, had = b"", 32, 0
    for _ in range(values):
        begin, key, kind = reader.at, reader.text(), reader.number("I")
        value = reader.at
        reader.skip(kind)
        entry = data[begin:reader.at]
        if key.endswith(b".block_count") and kind == UINT32:
            had = struct.unpack_from("<I", data, value)[0]
            entry = data[begin:value] + struct.pack("<I", layers)
        if key == b"general.alignment":
            alignment = struct.unpack_from("<I", data, value)[0]
        metadata += entry
    if not 0 < layers < had:
        raise ValueError(f"{layers} layers of {had} cannot be kept: give 1 to {had - 1}")
    infos = []
    for _ in range(tensors):
        name, rank = reader.text(), reader.number("I")
        infos.append({"name": name, "shape": [reader.number("Q") for _ in range(rank)], "type": reader.number("I"), "offset": reader.number("Q")})
    begin = -(-reader.at // alignment) * alignment
    ends = sorted(info["offset"] for info in infos) + [len(data) - begin]
    kept = [i for i in infos if not i["name"].startswith(b"blk.") or int(i["name"].split(b".")[1]) < layers]
    head, body = b"GGUF" + struct.pack("<IQQ", version, len(kept), values) + metadata, bytearray()
    for info in kept:
        end = min(e for e in ends if e > info["offset"])
        head += struct.pack("<Q", len(info["name"])) + info["name"] + struct.pack("<I", len(info["shape"]))
        head += struct.pack(f"<{len(info['shape'])}Q", *info["shape"]) + struct.pack("<IQ", info["type"], len(body))
        body += data[begin + info["offset"]:begin + end]
        body += bytes(-len(body) % alignment)
    return head + bytes(-len(head) % alignment) + bytes(body)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("out", help="the file to write")
    parser.add_argument("layers", type=int)
    arguments = parser.parse_args()
    try:
        with open(arguments.model, "rb") as file:
            shorter = cut(file.read(), arguments.layers)
        with open(arguments.out + ".part", "wb") as file:
            file.write(shorter)
        os.replace(arguments.out + ".part", arguments.out)
    except (OSError, ValueError, struct.error) as error:
        sys.exit(f"error: {arguments.model}: {error}")


if __name__ == "__main__":
    main()
