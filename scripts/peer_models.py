"""Makes of a GGUF file what other programs read; kept in build/compare-peers/models under the versions that it was made with.

path_of() makes what is missing; each conversion is a process of its own: python peer_models.py FORMAT SOURCE TARGET
"""
import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys
import time

from worker_process import last_words

FOLDER = pathlib.Path("build/compare-peers/models")


def hugging_face(source, target):
    """A folder with weights in f32."""
    import torch
    import transformers
    folder, name = str(source.parent), source.name
    transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(target)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32,
                                                              quantization_config=transformers.GgufConfig(dequantize=True))
    # The weights are plain numbers now, but still said to be a file's blocks, which cannot be saved.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(target)


def onnx_int4(source, target):
    import runpy
    from onnxruntime_genai.models import builder
    cache = f"{target}.cache"
    sys.argv = ["builder", "-i", str(source), "-o", str(target), "-p", "int4", "-e", "cpu", "-c", cache]
    runpy.run_path(builder.__file__, run_name="__main__")
    shutil.rmtree(cache, ignore_errors=True)


def ctranslate2_int8(source, target):
    from ctranslate2.converters import TransformersConverter
    TransformersConverter(str(source)).convert(str(target), quantization="int8")


def gguf_q4_0(source, target):
    import ctypes
    import llama_cpp as lc
    params = lc.llama_model_quantize_default_params()
    params.ftype = lc.LLAMA_FTYPE_MOSTLY_Q4_0
    params.allow_requantize = True
    if lc.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)) != 0:
        sys.exit(f"llama.cpp could not quantise {source}")


# Of each format: who makes it, of which other format, and with which packages. GGUF is there from the start.
FORMATS = {
    "gguf-q4_0": (gguf_q4_0, "gguf", ["llama-cpp-python"]),
    "hugging-face": (hugging_face, "gguf", ["transformers", "gguf"]),
    "onnx-int4": (onnx_int4, "hugging-face", ["onnxruntime-genai"]),
    "ctranslate2-int8": (ctranslate2_int8, "hugging-face", ["ctranslate2"]),
}


class ConversionFailed(Exception):
    """Names the format, and where the reason is."""


def path_of(format, gguf):
    """Made now unless it was made before from this file."""
    gguf = pathlib.Path(gguf)
    if format == "gguf":
        return gguf
    convert, base, packages = FORMATS[format]
    source = path_of(base, gguf)
    try:
        versions = [f"{package}-{importlib.metadata.version(package)}" for package in packages]
    except importlib.metadata.PackageNotFoundError as error:
        raise ConversionFailed(f"{error.name} is not installed") from None
    target = FOLDER / "-".join([gguf.stem, format, *versions])
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        make(format, source, target)
    return target


def make(format, source, target):
    print(f"Converting {source} to {format}", file=sys.stderr)
    FOLDER.mkdir(parents=True, exist_ok=True)
    part, log = (target.with_name(target.name + end) for end in (".part", ".log"))
    remove(part)
    start = time.perf_counter()
    with open(log, "w") as output:
        done = subprocess.run([sys.executable, __file__, format, str(source), str(part)], stdout=output, stderr=output)
    if done.returncode != 0 or not part.exists():
        remove(part)
        raise ConversionFailed(f"the conversion to {format} ended with status {done.returncode}: {last_words(log)} ({log})")
    remove(target)
    part.rename(target)
    os.utime(target)  # a file keeps its own time, a folder its last entry's
    print(f"  took {time.perf_counter() - start:.0f} s", file=sys.stderr)


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    FORMATS[sys.argv[1]][0](pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
