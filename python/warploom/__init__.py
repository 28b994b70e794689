"""Text from transformer language models, with exact sampling; and that sampling on anyone's logits.

    import warploom

    model = warploom.Model.load(warploom.pretrained("smollm2-135m"))
    generator = warploom.Generator(model)
    for event in generator.stream("Once upon a time", max_tokens=50, temperature=0.8, seed=1):
        print(event.text, end="", flush=True)

The same logits, parameters, seed and position give the same token, in every batch and on every device.
"""

from ._native import (
    BackendError,
    Completion,
    EngineStopped,
    Error,
    InvalidArgument,
    Model,
    ModelError,
    ModelShape,
    OutOfMemory,
    QueueFull,
    Request,
    RequestOutput,
    Score,
    StreamDecoder,
    Timings,
    TokenEvent,
    Tokenizer,
    available_cpus,
    model_shape_names,
    request_seed,
    synthetic_model,
    version,
    weight_type_names,
)
from .engine import AsyncEngineStream, Engine, EngineStream
from .generation import Generator, generate
from .options import Constraint, DrawOptions, EngineOptions, FilterOptions, LogitsProcessor, RequestOptions, SampleOptions
from .pretrained import pretrained
from .sampling import (
    SampleResult,
    greedy_sample,
    kept_mask,
    min_p_mask,
    multinomial,
    sample,
    sample_details,
    softmax,
    temperature_sample,
    top_k_mask,
    top_k_sample,
    top_p_mask,
    top_p_sample,
)
from .scoring import score
from .streams import AsyncStream, Stream

__version__ = version()

__all__ = [
    "AsyncEngineStream",
    "AsyncStream",
    "BackendError",
    "Completion",
    "Constraint",
    "DrawOptions",
    "Engine",
    "EngineOptions",
    "EngineStopped",
    "EngineStream",
    "Error",
    "FilterOptions",
    "Generator",
    "InvalidArgument",
    "LogitsProcessor",
    "Model",
    "ModelError",
    "ModelShape",
    "OutOfMemory",
    "QueueFull",
    "Request",
    "RequestOptions",
    "RequestOutput",
    "SampleOptions",
    "SampleResult",
    "Score",
    "Stream",
    "StreamDecoder",
    "Timings",
    "TokenEvent",
    "Tokenizer",
    "__version__",
    "available_cpus",
    "generate",
    "greedy_sample",
    "kept_mask",
    "min_p_mask",
    "model_shape_names",
    "multinomial",
    "pretrained",
    "request_seed",
    "sample",
    "sample_details",
    "score",
    "softmax",
    "synthetic_model",
    "temperature_sample",
    "top_k_mask",
    "top_k_sample",
    "top_p_mask",
    "top_p_sample",
    "version",
    "weight_type_names",
]
