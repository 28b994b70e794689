#include "native/model.h"

#include <algorithm>
#include <string>

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "native/array_checks.h"
#include "native/arrays.h"
#include "native/options.h"
#include "native/signals.h"
#include "native/tokenizer.h"
#include "warploom/error.h"
#include "warploom/generator.h"
#include "warploom/inspect.h"
#include "warploom/score.h"
#include "warploom/synthetic.h"

namespace warploom::python {

std::filesystem::path read_path(nb::handle path) {
  const nb::object text = nb::steal(PyOS_FSPath(path.ptr()));
  if (!text.is_valid()) {
    PyErr_Clear();
    refuse("path", "is a " + python_type(path) + "; it must be a str or an os.PathLike");
  }
  const nb::object bytes = nb::module_::import_("os").attr("fsencode")(text);
  const std::string path_bytes = read_text(bytes, "path");
  if (path_bytes.find('\0') != std::string::npos) throw InvalidArgument("path holds a null character");
  return path_bytes;
}

namespace {

ModelOptions read_model_options(const std::string& device, int threads, int gpu, bool deterministic,
                                const nb::object& progress) {
  ModelOptions options;
  options.device.kind = parse_device_kind(device);
  options.device.threads = threads;
  options.device.cuda.gpu = gpu;
  options.device.cuda.deterministic = deterministic;
  options.progress = [report = progress.is_none() ? nb::handle() : nb::handle(progress),
                      check = SignalCheck()](double share) mutable {
    check();
    if (!report.is_valid()) return;
    const nb::gil_scoped_acquire gil;
    report(share);
  };
  return options;
}

PyModel load(nb::handle path, const std::string& device, int threads, int gpu, bool deterministic,
             const nb::object& progress) {
  const std::filesystem::path file = read_path(path);
  const ModelOptions options = read_model_options(device, threads, gpu, deterministic, progress);
  const nb::gil_scoped_release release;
  return PyModel(Model::load(file, options), file.string());
}

PyModel synthetic(nb::handle shape, const std::string& type, std::uint64_t seed, const std::string& device, int threads) {
  ModelShape given;
  if (nb::isinstance<nb::str>(shape)) {
    given = model_shape(read_text(shape, "shape"));
  } else if (!nb::try_cast(shape, given)) {
    throw nb::type_error("shape must be a ModelShape or a name of model_shape_names()");
  }
  const ModelOptions options = read_model_options(device, threads, 0, false, nb::none());
  const nb::gil_scoped_release release;
  return PyModel(synthetic_model(given, type, seed, options));
}

/// The rows of logits after each of the tokens, or after the last one: of a run whose draws are forced to be the given tokens.
std::vector<float> compute_logits(const std::shared_ptr<const Model>& model, const std::vector<TokenId>& tokens, bool last) {
  check_prompt(tokens, model->shape());
  std::vector<float> rows;
  if (!last && tokens.size() > 1 && static_cast<std::int64_t>(tokens.size()) == model->shape().context_length) {
    // After the last token there is no room for a draw.
    rows = compute_logits(model, {tokens.begin(), tokens.end() - 1}, false);
    const std::vector<float> row = compute_logits(model, tokens, true);
    rows.insert(rows.end(), row.begin(), row.end());
    return rows;
  }
  Request request;
  const std::size_t given = last ? tokens.size() : 1;
  request.prompt = std::vector<TokenId>(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(given));
  request.max_tokens = static_cast<std::int64_t>(tokens.size() - given) + 1;
  request.ignore_eos = true;
  request.logits_processor = [&](const CompletionContext& context, std::span<float> logits) {
    rows.insert(rows.end(), logits.begin(), logits.end());
    const std::size_t next = given + context.output.size();
    std::fill(logits.begin(), logits.end(), 0.0f);  // what is drawn does not depend on them
    if (next < tokens.size()) logits[static_cast<std::size_t>(tokens[next])] = 1.0f;
  };
  request.sampling.temperature = 0.0f;
  Callbacks callbacks;
  SignalCheck check;
  callbacks.should_abort = [&] {
    check();
    return false;
  };
  const RequestOutput output = generate(model, request, {}, callbacks);
  const auto expected = static_cast<std::size_t>(request.max_tokens * model->shape().vocab_size);
  if (rows.size() != expected && output.completions.at(0).finish_reason == FinishReason::error)
    throw Error("the logits could not be computed: " + output.error);
  if (rows.size() != expected)
    throw InvalidArgument("the logits of " + std::to_string(tokens.size()) + " tokens do not fit the context or the memory");
  return rows;
}

nb::object logits(const PyModel& self, nb::handle tokens, bool last) {
  const std::vector<TokenId> ids = read_tokens(tokens, "tokens");
  std::vector<float> rows;
  {
    const auto& model = self.model.get();
    const nb::gil_scoped_release release;
    rows = compute_logits(model, ids, last);
  }
  const auto width = static_cast<std::size_t>(self.model->shape().vocab_size);
  return last ? to_numpy(std::move(rows), {width}) : to_numpy(std::move(rows), {ids.size(), width});
}

Score score_tokens(const PyModel& self, nb::handle tokens, std::int64_t window, nb::handle bos, nb::handle kv_type) {
  const std::vector<TokenId> ids = read_tokens(tokens, "tokens");
  ScoreOptions options;
  options.window = window;
  options.bos = bos.is_none() ? -1 : read_number<TokenId>(bos, "bos");
  options.kv_type = read_kv_type(kv_type, "kv_type");
  options.progress = [check = SignalCheck()](double) mutable { check(); };
  const auto& model = self.model.get();
  const nb::gil_scoped_release release;
  return score(model, ids, options);
}

nb::dict metadata(nb::handle path) {
  const CheckpointInfo info = inspect(read_path(path));
  nb::dict entries;
  for (const CheckpointEntry& entry : info.metadata) entries[to_str(entry.key)] = to_str(entry.value);
  return entries;
}

void bind_shape(nb::module_& m) {
  nb::class_<ModelShape>(m, "ModelShape", "The shape of a decoder-only transformer.")
      .def(
          "__init__",
          [](ModelShape* self, const std::string& architecture, std::int64_t vocab_size, std::int64_t context_length,
             std::int64_t num_layers, std::int64_t hidden_size, std::int64_t num_heads, std::int64_t num_kv_heads,
             std::int64_t head_dim, std::int64_t intermediate_size, bool tie_word_embeddings) {
            new (self) ModelShape{architecture, vocab_size,   context_length, num_layers,        hidden_size,
                                  num_heads,    num_kv_heads, head_dim,       intermediate_size, tie_word_embeddings};
          },
          nb::kw_only(), nb::arg("architecture") = "llama", nb::arg("vocab_size"), nb::arg("context_length"),
          nb::arg("num_layers"), nb::arg("hidden_size"), nb::arg("num_heads"), nb::arg("num_kv_heads"), nb::arg("head_dim"),
          nb::arg("intermediate_size"), nb::arg("tie_word_embeddings") = false)
      .def_ro("architecture", &ModelShape::architecture, "As the file names it, \"llama\" for instance.")
      .def_ro("vocab_size", &ModelShape::vocab_size, "Number of tokens that the logits are of.")
      .def_ro("context_length", &ModelShape::context_length, "Tokens that the model was trained for.")
      .def_ro("num_layers", &ModelShape::num_layers)
      .def_ro("hidden_size", &ModelShape::hidden_size, "Width of the residual stream.")
      .def_ro("num_heads", &ModelShape::num_heads)
      .def_ro("num_kv_heads", &ModelShape::num_kv_heads)
      .def_ro("head_dim", &ModelShape::head_dim)
      .def_ro("intermediate_size", &ModelShape::intermediate_size)
      .def_ro("tie_word_embeddings", &ModelShape::tie_word_embeddings, "The output matrix is the embedding.");
  nb::class_<Score>(m, "Score", "How likely a model finds a text.")
      .def_prop_ro(
          "logprobs", [](const Score& s) { return to_numpy(std::vector<double>(s.logprobs), {s.logprobs.size()}); },
          nb::sig("def logprobs(self) -> numpy.typing.NDArray[numpy.float64]"),
          "float64 [scored tokens]: each one's natural logarithm of its probability after the tokens before it.")
      .def_ro("mean_nll", &Score::mean_nll, "Mean of -logprobs, in nats a token.")
      .def_ro("perplexity", &Score::perplexity, "exp(mean_nll).");
}

}  // namespace

void bind_model(nb::module_& m) {
  bind_shape(m);
  nb::class_<PyModel>(
      m, "Model",
      "Weights on a device, with the tokenizer that belongs to them. Immutable: share it between generators, engines "
      "and threads. Whatever uses a model keeps it alive. Not usable in a process that was forked after it was loaded.")
      .def_static(
          "load", &load, nb::arg("path").none(), nb::kw_only(), nb::arg("device") = "auto", nb::arg("threads") = 0,
          nb::arg("gpu") = 0, nb::arg("deterministic") = false, nb::arg("progress") = nb::none(),
          nb::sig("def load(path: str | os.PathLike[str], *, device: str = 'auto', threads: int = 0, gpu: int = 0, "
                  "deterministic: "
                  "bool = False, progress: collections.abc.Callable[[float], object] | None = None) -> Model"),
          "Loads a GGUF file of the Llama family or Qwen2.\n\n"
          "device: \"auto\" (CUDA if there is a GPU and this build has CUDA), \"cpu\" or \"cuda\".\n"
          "threads: CPU threads; 0: as many as this process may keep busy.\n"
          "gpu: which GPU, as the driver counts.\n"
          "deterministic: on CUDA, logits do not depend, bit for bit, on what else is in a batch; on the CPU they never "
          "do.\n"
          "progress: called with the share that is loaded, in [0, 1]; what it raises ends the loading.\n\n"
          "Raises ModelError if the file is missing, damaged or of an unsupported kind, InvalidArgument, OutOfMemory, or "
          "BackendError if the device is not there.")
      .def_prop_ro(
          "shape", [](const PyModel& self) { return self.model->shape(); }, "Its layers, widths and vocabulary.")
      .def_prop_ro(
          "tokenizer",
          [](const PyModel& self) {
            return PyTokenizer{self.model->tokenizer(), self.path};
          },
          "Its file's tokenizer.")
      .def_prop_ro(
          "weight_bytes", [](const PyModel& self) { return self.model->weight_bytes(); },
          "Bytes of the weights as they are kept on the device.")
      .def_prop_ro(
          "device", [](const PyModel& self) { return self.model->device().description; },
          "Where it is and how it runs, \"cpu: avx512_vnni, 2 threads\" for instance.")
      .def_prop_ro(
          "cuda_unavailable", [](const PyModel& self) { return self.model->device().cuda_unavailable; },
          "Why device=\"auto\" took the CPU although NVIDIA's driver is there; else empty.")
      .def("logits", &logits, nb::arg("tokens"), nb::kw_only(), nb::arg("last") = false,
           nb::sig("def logits(self, tokens: collections.abc.Sequence[int] | numpy.typing.NDArray[typing.Any], *, last: "
                   "bool = False) -> "
                   "numpy.typing.NDArray[numpy.float32]"),
           "What the model makes of token ids: float32 [len(tokens), vocab_size], row i after tokens[: i + 1]. It takes the "
           "time of "
           "generating as many tokens; last: only the last row, [vocab_size], in the time of a prompt.\n\n"
           "Raises InvalidArgument if there are no tokens, more than the context takes, or an id outside the vocabulary.")
      .def("score", &score_tokens, nb::arg("tokens"), nb::kw_only(), nb::arg("window") = 0, nb::arg("bos") = nb::none(),
           nb::arg("kv_type") = "f16",
           nb::sig("def score(self, tokens: collections.abc.Sequence[int] | numpy.typing.NDArray[typing.Any], *, window: "
                   "int = 0, bos: int "
                   "| None = None, kv_type: str = 'f16') -> Score"),
           "How likely the model finds the tokens: every one but the first of each window.\n\n"
           "window: maximum number of tokens that are scored together, in [2, context length]; 0: the context length.\n"
           "bos: a token that is put before each window, which then scores all of its own.\n\n"
           "Raises InvalidArgument if there is nothing to score, or an id or a parameter is out of range; ModelError if "
           "logits are not "
           "numbers.");
  m.def("synthetic_model", &synthetic, nb::arg("shape"), nb::arg("type") = "Q4_K_M", nb::kw_only(), nb::arg("seed") = 1,
        nb::arg("device") = "auto", nb::arg("threads") = 0,
        nb::sig("def synthetic_model(shape: str | ModelShape, type: str = 'Q4_K_M', *, seed: int = 1, device: str = 'auto', "
                "threads: int "
                "= 0) -> Model"),
        "A model without a file, with weights drawn from a seed: for tests and benchmarks; its text is noise.\n\n"
        "shape: a ModelShape, or the name of a published model's (model_shape_names()). type: see weight_type_names().\n\n"
        "Raises InvalidArgument, ModelError, OutOfMemory or BackendError.");
  m.def("model_shape_names", &model_shape_names, "Names that synthetic_model() knows, \"llama-3.2-1b\" for instance.");
  m.def("weight_type_names", &weight_type_names, "Types of weights that synthetic_model() knows.");
  m.def("metadata", &metadata, nb::arg("path").none(),
        nb::sig("def metadata(path: str | os.PathLike[str]) -> dict[str, str]"),
        "The metadata of a GGUF file as text; long arrays are cut. Raises ModelError if it cannot be read.");
}

}  // namespace warploom::python
