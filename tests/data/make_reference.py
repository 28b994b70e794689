#!/usr/bin/env python3
"""What transformers makes of SmolLM2-135M's own dequantised weights, in f32: perplexity of english.txt, greedy continuations.

    pip install gguf numpy torch transformers llama-cpp-python
    tests/data/make_reference.py models/SmolLM2-135M-Instruct.Q4_1.gguf > tests/data/reference.json

Token ids come from llama.cpp's tokenizer (transformers' conversion drops SmolLM2's split of digits). Weights come from the
package gguf; GGUF stores query and key rows in pairs of neighbours, transformers in halves, so they are put back in order.
"""
import json
import os
import sys

import gguf
import llama_cpp
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPTS = ["Once upon a time", "The capital of France is", "Water boils at a temperature of", "def add(a, b):\n    return",
           "Monday, Tuesday, Wednesday,", "The sun rises in the east and sets in the", "1, 2, 3, 4, 5,", "My name is"]


def load(path):
    reader = gguf.GGUFReader(path)
    field = lambda key: reader.fields["llama." + key].parts[-1][0]
    heads, kv_heads = int(field("attention.head_count")), int(field("attention.head_count_kv"))
    config = LlamaConfig(
        vocab_size=int(field("vocab_size")), hidden_size=int(field("embedding_length")),
        intermediate_size=int(field("feed_forward_length")), num_hidden_layers=int(field("block_count")),
        num_attention_heads=heads, num_key_value_heads=kv_heads, rms_norm_eps=float(field("attention.layer_norm_rms_epsilon")),
        max_position_embeddings=int(field("context_length")), tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": float(field("rope.freq_base"))})
    weights = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors}

    def in_halves(w, n):
        return w.reshape(n, w.shape[0] // n // 2, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)

    names = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
             "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    state = {"model.embed_tokens.weight": weights["token_embd.weight"], "model.norm.weight": weights["output_norm.weight"],
             "lm_head.weight": weights["token_embd.weight"]}
    for i in range(config.num_hidden_layers):
        for ours, theirs in names.items():
            w = weights[f"blk.{i}.{ours}.weight"]
            if ours in ("attn_q", "attn_k"):
                w = in_halves(w, heads if ours == "attn_q" else kv_heads)
            state[f"model.layers.{i}.{theirs}.weight"] = w
    model = LlamaForCausalLM(config).eval()
    model.load_state_dict({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in state.items()})
    return model


@torch.no_grad()
def main():
    path = sys.argv[1]
    tokenizer = llama_cpp.Llama(path, vocab_only=True, verbose=False)
    encode = lambda text: tokenizer.tokenize(text.encode(), add_bos=True, special=True)
    model = load(path)
    with open(os.path.join(HERE, "english.txt"), encoding="utf-8") as file:
        ids = encode(file.read())
    logits = model(torch.tensor([ids])).logits[0].double()
    logprobs = torch.log_softmax(logits, -1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
    out = {"perplexity": {"ids": ids, "transformers_mean_nll": -logprobs.mean().item()}, "greedy": []}
    for prompt in PROMPTS:
        prompt_ids = encode(prompt)
        produced, gaps = [], []
        for _ in range(32):
            top = model(torch.tensor([prompt_ids + produced])).logits[0, -1].topk(2)
            produced.append(top.indices[0].item())
            gaps.append(round((top.values[0] - top.values[1]).item(), 4))
        out["greedy"].append({"prompt": prompt, "prompt_ids": prompt_ids, "ids": produced, "gaps": gaps})
    print(json.dumps(out))


main()
