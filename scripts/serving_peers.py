"""Continuous batching by other programs, behind one interface: submit(), step(), which returns whose tokens came, and busy()."""
import collections
import dataclasses

import peers


@dataclasses.dataclass
class Slot:
    request: int
    prompt: list
    left: int  # tokens to generate
    sequence: int
    computed: int = 0
    next: list = None  # the token drawn last, not computed yet


class LlamaServer:
    """llama.cpp by llama_decode as its server does it: each batch has a token of every sequence that generates, and is filled up with
    the prompts of those that came next."""

    def __init__(self, path, threads, longest, slots, batch, unified, repack):
        self.llama = peers.Llama(peers.LlamaModel(path, repack), threads, slots, longest, batch, unified)
        self.batch = batch
        self.free = list(range(slots))
        self.waiting = collections.deque()
        self.running = []

    def submit(self, request, prompt, max_tokens):
        self.waiting.append((request, prompt, max_tokens))

    def busy(self):
        return bool(self.waiting or self.running)

    def step(self):
        while self.free and self.waiting:
            self.running.append(Slot(*self.waiting.popleft(), self.free.pop()))
        drawn = []
        for slot in self.running:
            if slot.next is not None:
                self.llama.put(slot.next, slot.computed, slot.sequence, True)
                slot.computed += 1
                drawn.append(slot)
        for slot in self.running:
            room = self.batch - self.llama.size
            if slot.computed >= len(slot.prompt) or room == 0:
                continue
            chunk = slot.prompt[slot.computed : slot.computed + room]
            last = slot.computed + len(chunk) == len(slot.prompt)
            self.llama.put(chunk, slot.computed, slot.sequence, last)
            slot.computed += len(chunk)
            if last:
                drawn.append(slot)
        tokens = self.llama.decode()
        for k, slot in enumerate(drawn):
            slot.next = tokens[k : k + 1]
            slot.left -= 1
            if slot.left == 0:
                self.llama.forget(slot.sequence)
                self.free.append(slot.sequence)
                self.running.remove(slot)
        return [slot.request for slot in drawn]


class OpenVinoServer:
    """OpenVINO GenAI's ContinuousBatchingPipeline, stepped."""

    def __init__(self, path, threads, longest, sequences, batch, split, cache_gib, properties):
        import numpy
        import openvino
        import openvino_genai
        self.np, self.openvino, self.genai = numpy, openvino, openvino_genai
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.max_num_seqs = sequences
        scheduler.max_num_batched_tokens = batch
        scheduler.dynamic_split_fuse = split
        scheduler.cache_size = cache_gib
        self.pipeline = openvino_genai.ContinuousBatchingPipeline(path, scheduler, "CPU",
                                                                  {"INFERENCE_NUM_THREADS": threads, **properties})
        self.handles = {}

    def submit(self, request, prompt, max_tokens):
        config = self.genai.GenerationConfig()
        config.max_new_tokens = max_tokens
        config.ignore_eos = True
        config.do_sample = False
        tensor = self.openvino.Tensor(self.np.array([prompt], self.np.int64))
        self.handles[request] = [self.pipeline.add_request(request, tensor, config), max_tokens]

    def busy(self):
        return bool(self.handles)

    def step(self):
        return [request for request, _ in self.step_with_tokens()]

    def step_with_tokens(self):
        """Pairs of request and token."""
        self.pipeline.step()
        came = []
        for request, entry in list(self.handles.items()):
            while entry[0].can_read():
                for output in entry[0].read().values():
                    came += [(request, token) for token in output.generated_ids]
                    entry[1] -= len(output.generated_ids)
            if entry[1] <= 0:
                del self.handles[request]
        return came


SERVERS = {"llama.cpp": LlamaServer, "OpenVINO GenAI": OpenVinoServer}
# What each is tried with before the rounds; the fastest counts.
SETTINGS = {
    "llama.cpp": [dict(slots=slots, batch=512, unified=unified, repack=repack)
                  for slots, unified, repack in [(16, False, True), (32, False, True), (32, True, True), (32, False, False)]],
    "OpenVINO GenAI": [dict(sequences=64, batch=batch, split=split, cache_gib=2, properties=properties)
                       for batch, split, properties in [(512, True, {}), (256, True, {}), (512, False, {}),
                                                        (512, True, {"INFERENCE_PRECISION_HINT": "f32"}),
                                                        (512, True, {"KV_CACHE_PRECISION": "f16"}),
                                                        (512, True, {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "32"})]],
}
