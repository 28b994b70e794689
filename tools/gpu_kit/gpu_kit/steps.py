"""The steps, the most telling first, and what each claims."""
import dataclasses
import typing

from gpu_kit import judges

MODEL = "models/SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclasses.dataclass
class Claim:
    text: str
    expected: str
    judge: typing.Callable


@dataclasses.dataclass
class Step:
    name: str
    limit: int  # seconds
    command: list
    claims: list
    needs: str = ""  # a program, without which the step is skipped
    gpu: bool = True  # false: runs on an emulator too
    emulated: typing.Optional[bool] = None  # set by the runner when the device is known


def _tests(name, limit, program, filter_, small_filter, claim, small):
    command = [f"bin/{program}", f"--gtest_filter={small_filter if small else filter_}"]
    return Step(name, limit, command, [Claim(claim, "all pass", judges.tests_pass)], gpu=False)


def _ops(name, limit, only, claims, small, gpu=False):
    command = ["bin/warploom-bench", "--gpu-ops", "--only", only, "--json", "-q", "-r", "9"] + (["--small"] if small else [])
    return Step(name, limit, command, claims, gpu=gpu)


def _correct(small):
    is_small = ["--small"] if small else []
    mma = Step("mma", 60, ["bin/gpu_probe", "mma"] + is_small,
               [Claim("a sum stays when mma adds products that are zero: attention's bits do not depend on the batch", "no case differs",
                      judges.sums_stay)], gpu=False)
    dependent = Step("dependent", 60, ["bin/gpu_probe", "dependent"] + is_small,
                     [Claim("a graph captures kernels that may begin before the one ahead has ended, and they see what it wrote", "no value is wrong",
                            judges.dependents_wait)], gpu=False)
    tests = lambda *arguments: _tests(*arguments, small)  # noqa: E731
    return [
        mma,
        dependent,
        tests("vectors", 90, "cuda_test", "*DeviceVectors*", "*DeviceVectors.InOneBatch*", "the tokens that the CPU draws, for every number of blocks"),
        tests("stacks", 90, "cuda_matmul_test", "CudaMatmul.StacksPartsOfDifferentTypes", "CudaMatmul.StacksPartsOfDifferentTypes",
              "cuBLASLt takes a bias that begins anywhere"),
        tests("products", 120, "cuda_matmul_test", "*EqualsTheExactProduct*:*ATokenAlone*", "*ATokenAlone*/Q4_0",
              "products are exact to rounding; a token alone has the bits that it has among others"),
        tests("attention-bits", 90, "kv_cache_test", "*ChunksCrowds*:*SplitContexts*:*Workspace*:*Replays*:*Padding*:*BlocksBefore*",
              "*PaddingAndEmpty*", "prompt at once, token by token and split contexts give the same bits"),
        tests("attention", 120, "kv_cache_test", "*EqualsTheOracle*:*RoundedToBf16*:*LongContexts*:*Windows*:*Queries*", "*QueriesOfAnySize*",
              "attention is within its tolerances of the oracle"),
        tests("model", 150, "cuda_model_test", "*", "CudaGeneration.BadOptionsAreRefused", "a model on CUDA: logits of the CPU, alone equals in a crowd"),
    ]


def _correct_at_the_edges(small):
    hist = Step("hist", 60, ["bin/gpu_probe", "hist"] + (["--small"] if small else []), [], gpu=False)
    hist.claims = [Claim("64-bit atomics in shared memory cost more than 32-bit ones", "at least 1.5x",
                         judges.wide_atomics_cost(1.5, lambda: bool(hist.emulated)))]
    tests = lambda *arguments: _tests(*arguments, small)  # noqa: E731
    return [
        tests("products-rest", 90, "cuda_matmul_test", "-*StacksParts*:*EqualsTheExactProduct*:*ATokenAlone*", "CudaMatmul.NoTokensNoWork:CudaMatmul.Refuses*",
              "products at the edges: NaN, saturation, large grids, refusals"),
        tests("sampling-rest", 150, "cuda_test", "-*DeviceVectors*:*DrawsFollow*:FullSort*", "SampleDefects.ATie*",
              "random rows draw the tokens that the CPU draws"),
        tests("cache-rest", 60, "kv_cache_test", "RopeAppend.*:CopyBlock.*:KvCacheArgs.*:LargeCache.*:*Nan*", "CopyBlock.*:RopeAppend.OneToken",
              "the rest of the paged cache"),
        tests("ops", 90, "backend_test", "*cuda*", "*Swiglu*EqualsTheOracle/cuda_packed_f16", "every op of the backend is near its oracle"),
        hist,
        Step("draws", 90, ["bin/warploom-check-sampler", "--device", "cuda", "--draws", "200000", "-q"],
             [Claim("draws have the right distributions", "the check passes", judges.ends_well)]),
    ]


# What is expected is some three quarters of what the emulator models for an H100 (`warploom-bench --gpu-ops`; beside some claims below), or the
# bound that the kernels were written for, if that is tighter. The model takes 92% of the data sheet's bandwidth for what a device reaches, and does
# not hold that blocks wait for each other.
def _fast(small):
    rows = lambda n, kind: f"sample {n} f32 peaked {kind}"  # noqa: E731
    sizes = dict(middle=512, usual=16, longest=2048, prompt=8, prefill=(8, 128)) if small else dict(
        middle=32768, usual=1024, longest=131072, prompt=512, prefill=(512, 8192))
    middle, usual = sizes["middle"], sizes["usual"]
    decode, verify = f"attention decode 1 x {middle} f16", f"attention verify 4 after {middle} f16"
    together = f"attention prompt {sizes['prompt']} beside 64 decodes x {usual} f16"
    apart = [f"attention prompt {sizes['prompt']} alone f16", f"attention 64 decodes x {usual} alone f16"]
    matrix = "256x256" if small else "28672x4096"
    product = lambda tokens: f"product Q4_0 {matrix} {tokens} tokens"  # noqa: E731
    smaller = lambda tokens: product(tokens).replace("28672", "4096")  # noqa: E731
    sample = _ops("sample", 240, "sample 1 f32 peaked,sample 63 f32 peaked top-k 50,sample 64 f32 peaked t" if small else "sample", [
        # Modelled: 1.17x (64.7 and 55.1 us); 2.0x before histograms added with native atomics.
        Claim("top-k at 64 rows takes little longer than temperature", "at most 1.5x",
              judges.ratio(rows(64, "top-k 50"), rows(64, "temperature"), 1.5)),
        Claim("64 rows are no slower than 63 beyond their share", "at most 1.1x", judges.ratio(rows(64, "top-k 50"), rows(63, "top-k 50"), 1.1)),
        # Modelled: 39.8 us, most of it dependences and fetching of code that is not in the cache.
        Claim("one row of top-p", "at most 50 us", judges.time_below(rows(1, "top-p 0.9"), 50)),
    ], small)
    return [
        sample,
        _ops("decode", 60, f"attention decode 1 x {middle} f16,attention decode 3" if small else "attention decode", [
            # Modelled: 90%, 1.03x and 97%.
            Claim("decoding over one long context moves keys and values at memory's rate", "at least 70%", judges.share(decode, "memory_share", 0.7)),
            Claim("33 sequences are no slower than 32 beyond their share", "at most 1.1x",
                  judges.ratio(f"attention decode 33 x {sizes['middle'] // 8} f16", f"attention decode 32 x {sizes['middle'] // 8} f16", 1.1)),
            Claim("one long context among short ones: keys and values at memory's rate", "at least 70%",
                  judges.share(f"attention decode 39 x {usual} and 1 x {sizes['longest']} f16", "memory_share", 0.7)),
        ], small),
        _ops("mixed", 60, f"attention verify 4,attention prompt,attention 64,attention decode 1 x {middle} f16", [
            # Modelled: 1.37x, and 1.00x (135.9 us together; 45.0 and 90.9).
            Claim(f"4 new tokens over {middle} cost little more than one", "at most 1.5x", judges.ratio(verify, decode, 1.5)),
            # One step is the same two kernels one after the other, so that 1x is what is right; three medians are compared, each of which a GPU gives to some
            # percent.
            Claim("a prompt beside decodes costs no more than both apart", "at most 1.05x", judges.ratio(together, apart, 1.05)),
        ], small),
        _ops("prefill", 60, f"attention prefill {sizes['prefill'][0]} f16" if small else "attention prefill", [
            # Modelled: 30% of the data sheet's peak for 2,048 tokens (298 TFLOP/s), where shared memory bounds it.
            Claim("attention over a prompt uses the tensor cores", "at least 22%",
                  judges.share(f"attention prefill {sizes['prefill'][0 if small else 1]} f16", "matrix_share", 0.22)),
        ], small),
        _ops("matmul", 120, "product Q4_0" if small else "product", [
            Claim("packed products read weights at memory's rate up to 16 tokens", "at least 60%", judges.share(product(16), "memory_share", 0.6)),
            # Modelled: 89% at 16 tokens; 38% at 64, where dependences bound the product; 1.31x.
            Claim("64 tokens: weights at part of that rate", "at least 28%", judges.share(product(64), "memory_share", 0.28)),
            Claim("65 tokens take about as long as 64", "at most 1.5x", judges.ratio(product(65), product(64), 1.5)),
            # Modelled, cuBLASLt at the data sheet's peak: 1.03x (26.9 and 26.2 us) and 0.89x (35.5 and 39.9).
            Claim("257 tokens, the first number for cuBLASLt, take about as long as 256", "at most 1.5x",
                  judges.ratio(smaller(257), smaller(256), 1.5)),
            Claim("512 tokens: unpacking for cuBLASLt is no slower than the kernels that --deterministic runs", "at most 1x",
                  judges.ratio(smaller(512), smaller(512).replace("Q4_0", "Q4_0 deterministic"), 1.0)),
            # Modelled: 1.59x (188.0 and 117.9 us), in 14 launches; the kernels that --deterministic runs would take 160.2 for 257 and, for 512, 233.8 where
            # cuBLASLt takes 248.6.
            Claim("257 tokens with a weight of many rows", "at most 1.8x", judges.ratio(product(257), product(256), 1.8)),
        ], small),
    ]


def _sanitizers():
    tool = lambda name, program, filter_: Step(  # noqa: E731
        name, 90, ["compute-sanitizer", "--tool", name, f"bin/{program}", f"--gtest_filter={filter_}"],
        [Claim(f"{name} finds nothing", "no report", judges.no_report)], needs="compute-sanitizer")
    return [tool("memcheck", "kv_cache_test", "*SplitContexts*"), tool("racecheck", "cuda_test", "SampleDefects.ATie*"),
            tool("synccheck", "cuda_test", "SampleDefects.ATie*"), tool("initcheck", "cuda_test", "SampleDefects.ATie*")]


# Whole decode steps after 512 tokens. Of SmolLM2, in us, at most 1.5 times what the emulator models for an H100 in a replayed graph, where dependences and launches
# bound them: model_report's times (bench/README.md) less 0.8 us for each of 244 launches; of 256 sequences 274, in an A100's launch shapes. The larger shapes were not counted: their bytes at 92% of the data
# sheet's bandwidth and, for each of 9 kernels a layer (8 now), the 4.2 us that one of SmolLM2's takes give 28% of what an H100 reads for 1B and 56% for 8B. Two thirds of that
# are expected.
STEP_US = {1: 1164, 16: 1237, 64: 1265, 256: 2207}


def _step_claims(small):
    if small:
        return [("smollm2-135m", "Q4_1", "1", [Claim("a decode step of smollm2-135m, batch 1", "figures", judges.measured)])]
    smollm2 = [Claim(f"a decode step of smollm2-135m, batch {batch}", f"at most {1.5 * us:.0f} us",
                     judges.time_below(f"step {batch} after 512", 1.5 * us, "warm")) for batch, us in STEP_US.items()]
    batches = "1,16,64,256"
    larger = lambda shape, share: (shape, "Q4_K_M", batches, [Claim(  # noqa: E731
        f"a decode step of {shape}, batch 1, reads weights at memory's rate", f"at least {100 * share:.0f}%", judges.step_share("step 1 after 512", share))])
    return [("smollm2-135m", "Q4_1", batches, smollm2), larger("llama-3.2-1b", 0.19), larger("llama-3.1-8b", 0.38)]


def _whole_steps(small):
    command = lambda shape, type_, batches: [  # noqa: E731
        "bin/warploom-bench", "--gpu-ops", "--shape", shape, "--type", type_, "-b", batches, "-c", "8" if small else "512", "--json", "-q"]
    return [Step(f"step-{shape}", 240, command(shape, type_, batches), claims, gpu=shape != "smollm2-135m")
            for shape, type_, batches, claims in _step_claims(small)]


def _generations(small):
    steps = []
    sizes = ["-p", "8", "-n", "2", "-c", "8", "-b", "1", "-r", "1"] if small else ["-p", "512", "-n", "128", "-c", "32", "-b", "1,16,64,65,256", "-r", "3"]
    generation = lambda batch: f"generate {sizes[3]} after {sizes[5]}, batch {batch}"  # noqa: E731
    many = 1 if small else 64
    # Repeated runs of the same work differ by some percent. How much dependent launches save the model does not say.
    for name, extra, how, more in [
            ("generate-one-by-one", ["--no-dependent-launch"], ", without dependent launches", []),
            ("generate", [], "", [Claim("dependent launches make no generation of one sequence slower", "at least 0.97x the tokens/s",
                                        judges.rate(generation(1), "generate-one-by-one", 0.97))]),
            ("generate-same", ["--deterministic"], ", deterministic",
             [Claim(f"--deterministic costs {many} sequences nothing: the same kernels run", "at least 0.97x the tokens/s",
                    judges.rate(generation(many), "generate", 0.97))])]:
        command = ["bin/warploom-bench", "-m", MODEL, "--device", "cuda", *sizes, "--json", "-q", *extra]
        steps.append(Step(name, 120, command, [Claim(f"generation with the model's file{how}", "it runs", judges.runs), *more], gpu=False))
    return steps


def _peers(small):
    command = ["python3", "-B", "peers.py"] + (["--small"] if small else [])
    return Step("peers", 180, command, [Claim("PyTorch's and FlashInfer's times for the same work", "figures", judges.measured)], gpu=False)


def _planted():
    return [
        Step("planted-hang", 5, ["bin/gpu_probe", "hang"], [Claim("a kernel that never ends", "must fail", judges.ends_well)], gpu=False),
        Step("planted-fault", 30, ["bin/gpu_probe", "fault"], [Claim("a kernel that writes nowhere", "must fail", judges.ends_well)], gpu=False),
        Step("planted-wrong", 30, ["bin/gpu_probe", "wrong"], [Claim("a wrong sum", "must fail", judges.sums_stay)], gpu=False),
    ]


def all_steps(small=False, planted=False):
    """Whether everything runs and is right, how fast it is, then what is at the edges or takes long: ten minutes should tell most."""
    return [*(_planted() if planted else []), *_correct(small), *_fast(small), *_generations(small), *_whole_steps(small),
            *_correct_at_the_edges(small), _peers(small), *_sanitizers()]


def choose(steps, only):
    """Those named in `only`, in their order; all if it is empty. Raises ValueError for a name that is none's."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    fits = lambda step, name: step.name.startswith(name[:-1]) if name.endswith("*") else step.name == name  # noqa: E731
    for name in names:
        if not any(fits(step, name) for step in steps):
            raise ValueError(f"--only: no step is called {name}; known are {', '.join(step.name for step in steps)}")
    return [step for step in steps if not names or any(fits(step, name) for name in names)]
