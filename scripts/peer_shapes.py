"""Writes a GGUF file with random weights in a known model's shape, and prints its path: python peer_shapes.py SHAPE TYPE

The shape is what Warploom knows under its name; the weights are drawn in f16, and llama.cpp quantises them. The tokenizer spells bytes and
fillers: enough for prompts of token ids.
"""
import ctypes
import os
import sys

import peer_models
from worker_process import Worker, WorkerFailed

TYPES = {"F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18}  # llama.cpp's llama_ftype


def shape_of(name):
    """As `warploom-bench worker` describes it."""
    worker = Worker(["build/release/bin/warploom-bench", "worker", "-q", "--device", "cpu", "--shape", name, "--type", "Q4_0"],
                    peer_models.FOLDER / "shape.log")
    try:
        worker.wait_until_ready()
        return worker.ready["shape"]
    finally:
        worker.close()


def byte_spellings():
    """GPT-2's: printable bytes as they are, the others from 256 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]


def tensors(shape):
    """Name, rows and columns of the matrices."""
    hidden, feed_forward = shape["hidden_size"], shape["intermediate_size"]
    query, key = shape["num_heads"] * shape["head_dim"], shape["num_kv_heads"] * shape["head_dim"]
    yield "token_embd", shape["vocab_size"], hidden
    if not shape["tie_word_embeddings"]:
        yield "output", shape["vocab_size"], hidden
    for i in range(shape["num_layers"]):
        for name, rows, columns in (("attn_q", query, hidden), ("attn_k", key, hidden), ("attn_v", key, hidden),
                                    ("attn_output", hidden, query), ("ffn_gate", feed_forward, hidden), ("ffn_up", feed_forward, hidden),
                                    ("ffn_down", hidden, feed_forward)):
            yield f"blk.{i}.{name}", rows, columns


def write_f16(name, shape, path):
    import gguf
    import numpy as np
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, shape["architecture"])
    writer.add_name(f"{name}, random weights")
    writer.add_file_type(TYPES["F16"])
    writer.add_context_length(shape["context_length"])
    writer.add_embedding_length(shape["hidden_size"])
    writer.add_block_count(shape["num_layers"])
    writer.add_feed_forward_length(shape["intermediate_size"])
    writer.add_head_count(shape["num_heads"])
    writer.add_head_count_kv(shape["num_kv_heads"])
    writer.add_rope_dimension_count(shape["head_dim"])
    writer.add_rope_freq_base(500000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape["vocab_size"])
    spellings = byte_spellings()
    end = len(spellings)
    spellings += ["<|end|>", "!!"] + [f"<{i}>" for i in range(end + 2, shape["vocab_size"])]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(spellings)
    writer.add_token_types([gguf.TokenType.CONTROL if i == end else gguf.TokenType.NORMAL for i in range(len(spellings))])
    writer.add_token_merges(["! !"])  # no tokenizer is without any
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    for tensor, rows, columns in tensors(shape):
        writer.add_tensor(f"{tensor}.weight", (rng.standard_normal((rows, columns), np.float32) / columns**0.5).astype(np.float16))
    norms = [f"blk.{i}.{norm}" for i in range(shape["num_layers"]) for norm in ("attn_norm", "ffn_norm")]
    for norm in [*norms, "output_norm"]:
        writer.add_tensor(f"{norm}.weight", np.ones(shape["hidden_size"], np.float32))
    if shape["architecture"] == "qwen2":
        for i in range(shape["num_layers"]):
            for part, heads in (("q", "num_heads"), ("k", "num_kv_heads"), ("v", "num_kv_heads")):
                writer.add_tensor(f"blk.{i}.attn_{part}.bias", np.zeros(shape[heads] * shape["head_dim"], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantise(source, target, type, log):
    import llama_cpp as lc
    params = lc.llama_model_quantize_default_params()
    params.ftype = TYPES[type]
    errors = os.dup(2)
    with open(log, "w") as file:
        os.dup2(file.fileno(), 2)  # a line for each tensor
    status = lc.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
    os.dup2(errors, 2)
    if status != 0:
        sys.exit(f"llama.cpp could not quantise {source} to {type}: {log} says why")


def main(name, type):
    peer_models.FOLDER.mkdir(parents=True, exist_ok=True)
    target = peer_models.FOLDER / f"{name}.{type}.gguf"
    if target.exists():
        return target
    try:
        shape = shape_of(name)
    except WorkerFailed as error:
        sys.exit(f"--shape: {error}")
    f16, part, log = (peer_models.FOLDER / f"{name}.{end}" for end in ("drawn.part", f"{type}.part", f"{type}.log"))
    print(f"Drawing weights in the shape of {name}", file=sys.stderr)
    write_f16(name, shape, f16)
    if type == "F16":
        f16.rename(target)
        return target
    print(f"Quantising them to {type} ({log} says how)", file=sys.stderr)
    quantise(f16, part, type, log)
    os.remove(f16)
    part.rename(target)
    return target


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
