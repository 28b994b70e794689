"""One program beside Warploom, in a process of its own: python peer_worker.py PROGRAM MODEL THREADS SETTINGS

Reads {"prompts": [[id, ...], ...], "new": tokens, "room": tokens that a sequence may get to} a line, and answers with the seconds until
every sequence had its first token, the seconds from then until all had their last, and the tokens. All draw greedily; prompts of one
batch are of one length. `warploom-bench worker` does the same.
"""
import json
import os
import sys
import time


class LlamaCpp:
    def __init__(self, path, threads, repack=True, flash=True):
        import peers
        self.peers, self.path, self.threads, self.settings = peers, path, threads, dict(repack=repack, flash=flash)
        self.model = peers.LlamaModel(path, repack)
        self.context, self.shape = None, None

    def prepare(self, batch, prompt, room):
        if self.shape == (batch, room):
            return
        if self.context:
            self.context.close()
        self.context = self.peers.Llama(self.model, self.threads, batch, room + 16, max(512, batch * room), flash=self.settings["flash"])
        self.shape = batch, room

    def run(self, prompts, new):
        import numpy as np
        llama, length = self.context, len(prompts[0])
        llama.clear()
        for sequence, prompt in enumerate(prompts):
            llama.put(prompt, 0, sequence, True)
        start = time.perf_counter()
        steps = [llama.decode()]
        first = time.perf_counter()
        for step in range(new - 1):
            for sequence in range(len(prompts)):
                llama.put(steps[-1][sequence : sequence + 1], length + step, sequence, True)
            steps.append(llama.decode())
        end = time.perf_counter()
        return first - start, end - first, np.array(steps).T.tolist()


class OnnxRuntimeGenAi:
    def __init__(self, path, threads, spin=True):
        import numpy as np
        import onnxruntime_genai as genai
        self.np, self.genai = np, genai
        config = genai.Config(path)
        entries = {"intra_op_num_threads": threads, "inter_op_num_threads": 1, "session.intra_op.allow_spinning": str(int(spin))}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": entries}}}))
        self.model = genai.Model(config)

    def prepare(self, batch, prompt, room):
        self.room = room

    def run(self, prompts, new):
        np = self.np
        length = len(prompts[0])
        params = self.genai.GeneratorParams(self.model)
        params.set_search_options(batch_size=len(prompts), max_length=self.room, min_length=self.room, do_sample=False)
        generator = self.genai.Generator(self.model, params)
        steps = []
        tokens = np.array(prompts, np.int32)
        start = time.perf_counter()
        generator.append_tokens(tokens)
        for step in range(new):
            generator.generate_next_token()
            steps.append(np.array(generator.get_next_tokens()))
            if step == 0:
                first = time.perf_counter()
        end = time.perf_counter()
        return first - start, end - first, np.array(steps).T.tolist()


class OpenVinoBatching:
    """ContinuousBatchingPipeline: paged attention."""

    def __init__(self, path, threads, batch=512, split=True, properties=None):
        import serving_peers
        self.server = serving_peers.OpenVinoServer(path, threads, None, sequences=64, batch=batch, split=split, cache_gib=0,
                                                   properties=properties or {})

    def prepare(self, batch, prompt, room):
        pass

    def run(self, prompts, new):
        server, tokens, first = self.server, [[] for _ in prompts], None
        for request, prompt in enumerate(prompts):
            server.submit(request, prompt, new)
        start = time.perf_counter()
        while server.busy():
            for request, token in server.step_with_tokens():
                tokens[request].append(token)
            if first is None and all(tokens):
                first = time.perf_counter()
        end = time.perf_counter()
        return first - start, end - first, tokens


class OpenVinoStateful:
    """LLMPipeline with the model's own attention: a batch of one shape."""

    def __init__(self, path, threads, properties=None):
        import numpy as np
        import openvino
        import openvino_genai
        self.np, self.openvino, self.genai = np, openvino, openvino_genai
        self.pipeline = openvino_genai.LLMPipeline(path, "CPU", {"INFERENCE_NUM_THREADS": threads, "ATTENTION_BACKEND": "SDPA",
                                                                 **(properties or {})})

    def prepare(self, batch, prompt, room):
        pass

    def run(self, prompts, new):
        config = self.genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = new, True, False
        ids = self.openvino.Tensor(self.np.array(prompts, self.np.int64))
        ones = self.openvino.Tensor(self.np.ones((len(prompts), len(prompts[0])), self.np.int64))
        start = time.perf_counter()
        result = self.pipeline.generate(self.genai.TokenizedInputs(ids, ones), config)
        end = time.perf_counter()
        first = result.perf_metrics.get_ttft().mean / 1000
        return first, end - start - first, [list(map(int, row)) for row in result.tokens]


class CTranslate2:
    def __init__(self, path, threads, parallel=1):
        """`parallel`: parts of a batch that are computed at a time, with as many of the threads each."""
        import ctranslate2
        self.generator = ctranslate2.Generator(path, device="cpu", compute_type="int8", inter_threads=parallel,
                                               intra_threads=max(1, threads // parallel))
        self.parallel = parallel
        with open(os.path.join(path, "vocabulary.json")) as file:
            self.vocabulary = json.load(file)

    def prepare(self, batch, prompt, room):
        pass

    def run(self, prompts, new):
        words = [[self.vocabulary[token] for token in prompt] for prompt in prompts]
        firsts = []

        def on_token(result):
            if result.step == 0:
                firsts.append(time.perf_counter())
            return False

        start = time.perf_counter()
        results = self.generator.generate_batch(words, max_batch_size=-(-len(words) // self.parallel), max_length=new, min_length=new,
                                                sampling_topk=1, include_prompt_in_result=False, callback=on_token)
        end = time.perf_counter()
        if len(firsts) != len(words):
            raise RuntimeError(f"{len(firsts)} first tokens for {len(words)} prompts")
        return max(firsts) - start, end - max(firsts), [result.sequences_ids[0] for result in results]


class Transformers:
    def __init__(self, path, threads, static=False):
        import torch
        import transformers
        torch.set_num_threads(threads)
        self.torch, self.transformers, self.static = torch, transformers, static
        self.model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa").eval()

    def prepare(self, batch, prompt, room):
        self.room = room

    def run(self, prompts, new):
        torch = self.torch
        with torch.inference_mode():
            config = self.model.config
            cache = (self.transformers.StaticCache(config=config, max_cache_len=self.room) if self.static else
                     self.transformers.DynamicCache(config=config))
            tokens = torch.tensor(prompts)
            steps = []
            start = time.perf_counter()
            for step in range(new):
                logits = self.model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
                tokens = logits.argmax(dim=-1, keepdim=True)
                steps.append(tokens)
                if step == 0:
                    first = time.perf_counter()
            end = time.perf_counter()
            if not torch.isfinite(logits).all():
                raise RuntimeError("logits are not finite")
            return first - start, end - first, torch.cat(steps, dim=1).tolist()


PROGRAMS = {program.__name__: program for program in
            (LlamaCpp, OnnxRuntimeGenAi, OpenVinoBatching, OpenVinoStateful, CTranslate2, Transformers)}


def reason(error):
    return f"{type(error).__name__}: {error}".strip().splitlines()[-1][:300]


def main(program, path, threads, settings):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print

    def say(answer):
        print(json.dumps(answer), file=answers, flush=True)

    try:
        engine = PROGRAMS[program](path, int(threads), **json.loads(settings))
    except Exception as error:  # whatever it is, it is why this program is left out
        say({"error": reason(error)})
        return 1
    say({"ready": True})
    for line in sys.stdin:
        question = json.loads(line)
        prompts = question["prompts"]
        try:
            engine.prepare(len(prompts), len(prompts[0]), question["room"])
            first, rest, tokens = engine.run(prompts, question["new"])
            say({"first_seconds": first, "rest_seconds": rest, "tokens": tokens})
        except Exception as error:
            say({"error": reason(error)})
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
