// sample() and its building blocks on tensors in a GPU's memory. Nothing waits, and nothing is read back.
#include "native/cuda/draws.h"

#include "native/array_checks.h"
#include "native/cuda/memory.h"
#include "native/cuda/parameters.h"
#include "native/options.h"
#include "warploom/cuda/building_blocks.h"
#include "warploom/error.h"

namespace warploom::python {

namespace {

constexpr std::size_t aligned(std::size_t bytes) { return (bytes + 15) / 16 * 16; }

/// Rows on a GPU, and how to draw from them.
struct DeviceCall {
  Tensors tensors;
  OnDevice here;
  Rows rows;
  DeviceParameters parameters;
  SampleArgs args;

  DeviceCall(nb::handle tensor, const char* name, nb::handle stream, RowTypes taken = RowTypes::floats)
      : tensors(tensor, name, stream),
        here(tensors.device()),
        rows(rows_of(tensors.read(tensor, name), false, name, taken)),
        parameters(tensors, rows) {
    if (rows.rows > 1 && rows.width > 0 && rows.stride == 0)
      refuse(name, "repeats one row, which a GPU cannot read: make a contiguous copy");
  }
  DeviceCall(const DeviceCall&) = delete;
  DeviceCall& operator=(const DeviceCall&) = delete;

  cuda::InputRows input() const { return {rows.data, rows.type, rows.rows, rows.width, rows.stride}; }
  cuda::Filters filters() const { return {args.top_k, args.top_p, args.min_p}; }

  /// `out`, or a new tensor of the shape of the rows.
  template <typename T>
  nb::object dense_output(nb::handle out, T*& data) const {
    if (out.is_none())
      return tensors.make(rows.single ? std::vector<std::int64_t>{rows.width} : std::vector{rows.rows, rows.width}, data);
    data = rows.single ? tensors.write<T>(out, "out", rows.width) : tensors.write<T>(out, "out", rows.rows, rows.width);
    return nb::borrow(out);
  }
  /// `out`, or a new tensor of a token for each row.
  nb::object token_output(nb::handle out, TokenId*& data) const {
    if (out.is_none()) return tensors.make(rows.single ? std::vector<std::int64_t>{} : std::vector{rows.rows}, data);
    data = tensors.write<TokenId>(out, "out", rows.rows);
    return nb::borrow(out);
  }

  /// Launches work that takes `bytes` of workspace, parameters in their place. The memory is given back in the stream's order.
  template <typename Launch>
  void run(std::size_t bytes, const Launch& launch) {
    if (rows.rows == 0) return;
    const nb::gil_scoped_release release;  // a full stream waits for callbacks, which may be Python's
    const StreamMemory memory(parameters.bytes() + bytes, tensors.stream());
    parameters.place(memory.data());
    launch(Workspace{memory.data() + parameters.bytes(), bytes}, tensors.stream());
  }
};

nb::object stream_of(const nb::dict& options) {
  return options.contains("stream") ? nb::object(options["stream"]) : nb::none();
}

void read_filters(DeviceCall& call, const nb::dict& options) {
  for (const auto& [key, value] : options) {
    const std::string_view name = option_name(key);
    const bool filter = name == "temperature" || name == "top_k" || name == "top_p" || name == "min_p" || name == "threads";
    if (name == "stream" || (filter && call.parameters.read(name, value))) continue;
    throw nb::type_error(("filters have no option \"" + std::string(name) + "\"; FilterOptions lists them").c_str());
  }
  call.parameters.give(call.args);
}

nb::object sample(nb::handle logits, const nb::dict& options) {
  DeviceCall call(logits, "logits", stream_of(options));
  DrawOutputs outputs;
  const auto on_gpu = [&call]<typename T>(nb::handle value, const char* name, T*& pointer) {
    pointer = call.tensors.write<T>(value, name, call.rows.rows);
  };
  for (const auto& [key, value] : options) {
    const std::string_view name = option_name(key);
    if (name != "stream" && !call.parameters.read(name, value) && !outputs.read(name, value, on_gpu))
      throw_no_sample_option(name);
  }
  SampleArgs& args = call.args;
  args.logits = call.rows.data;
  args.type = call.rows.type;
  args.rows = call.rows.rows;
  args.vocab_size = call.rows.width;
  args.row_stride = call.rows.stride;
  call.parameters.give(args);
  outputs.give(args);
  if (!outputs.tokens.is_valid()) outputs.tokens = call.token_output(nb::none(), outputs.token);
  args.token = outputs.token;
  // Any address says that it is wanted: the size of the workspace depends on nothing else.
  const auto status_bytes = outputs.status ? 0 : aligned(static_cast<std::size_t>(args.rows));
  args.status = reinterpret_cast<SampleStatus*>(outputs.status ? static_cast<void*>(outputs.status) : args.token);
  const std::size_t bytes = cuda::sample_workspace_bytes(args);
  call.run(status_bytes + bytes, [&](Workspace room, cudaStream_t stream) {
    auto* const memory = static_cast<std::byte*>(room.data);
    if (status_bytes > 0) args.status = reinterpret_cast<SampleStatus*>(memory);
    args.workspace = {memory + status_bytes, bytes};
    cuda::sample(args, stream);
  });
  return outputs.tokens;
}

nb::object softmax(nb::handle logits, const nb::dict& options, nb::handle out) {
  DeviceCall call(logits, "logits", stream_of(options));
  read_filters(call, options);
  float* data = nullptr;
  nb::object result = call.dense_output(out, data);
  call.run(cuda::block_workspace_bytes(call.input()), [&](Workspace room, cudaStream_t stream) {
    cuda::softmax(call.input(), call.args.temperature, call.filters(), {data, call.rows.width}, nullptr, room, stream);
  });
  return result;
}

nb::object kept_mask(nb::handle logits, const nb::dict& options, nb::handle out) {
  DeviceCall call(logits, "logits", stream_of(options));
  read_filters(call, options);
  bool* data = nullptr;
  nb::object result = call.dense_output(out, data);
  const cuda::MaskRows mask{reinterpret_cast<std::uint8_t*>(data), call.rows.width};
  call.run(cuda::block_workspace_bytes(call.input()), [&](Workspace room, cudaStream_t stream) {
    cuda::kept_mask(call.input(), call.args.temperature, call.filters(), mask, nullptr, room, stream);
  });
  return result;
}

nb::object multinomial(nb::handle probabilities, nb::handle seed, nb::handle position, nb::handle subsequence,
                       nb::handle out, nb::handle stream) {
  DeviceCall call(probabilities, "probabilities", stream, RowTypes::float32);
  call.parameters.read("seed", seed);
  call.parameters.read("position", position);
  call.parameters.read("subsequence", subsequence);
  call.parameters.give(call.args);
  TokenId* tokens = nullptr;
  nb::object result = call.token_output(out, tokens);
  const SampleArgs& args = call.args;
  call.run(cuda::block_workspace_bytes(call.input()), [&](Workspace room, cudaStream_t on) {
    cuda::multinomial(call.input(), {}, {args.seed, args.position, args.subsequence}, tokens, nullptr, room, on);
  });
  return result;
}

}  // namespace

void bind_draws(nb::module_& m) {
  m.def("sample", &sample, nb::arg("logits"), nb::arg("options"), "Draws one token a row; see warploom.sample.");
  m.def("softmax", &softmax, nb::arg("logits"), nb::arg("options"), nb::arg("out").none(),
        "Probabilities; see warploom.softmax.");
  m.def("kept_mask", &kept_mask, nb::arg("logits"), nb::arg("options"), nb::arg("out").none(),
        "Which tokens the filters keep; see warploom.kept_mask.");
  m.def("multinomial", &multinomial, nb::arg("probabilities"), nb::arg("seed").none(), nb::arg("position").none(),
        nb::arg("subsequence").none(), nb::arg("out").none(), nb::arg("stream").none(),
        "Draws by probabilities; see warploom.multinomial.");
}

}  // namespace warploom::python
