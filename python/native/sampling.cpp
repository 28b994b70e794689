#include "native/sampling.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include <nanobind/stl/string.h>
#include <pthread.h>

#include "native/cuda_module.h"
#include "native/options.h"
#include "warploom/error.h"

namespace warploom::python {

namespace {

// Samplers that nobody uses at the moment, by their number of threads: each keeps its threads and its memory.
class IdleSamplers {
 public:
  std::unique_ptr<Sampler> take(int threads) {
    const std::lock_guard lock(mutex_);
    auto& samplers = idle_[threads];
    if (samplers.empty()) return std::make_unique<Sampler>(threads);
    std::unique_ptr<Sampler> sampler = std::move(samplers.back());
    samplers.pop_back();
    return sampler;
  }
  void give_back(int threads, std::unique_ptr<Sampler> sampler) {
    const std::lock_guard lock(mutex_);
    idle_[threads].push_back(std::move(sampler));
  }

 private:
  std::mutex mutex_;
  std::map<int, std::vector<std::unique_ptr<Sampler>>> idle_;
};

// Never destroyed: at the interpreter's end, threads may still draw. A forked child gets another: the threads of these are its
// parent's, and one of them may have held the lock.
IdleSamplers* idle_samplers = new IdleSamplers;

constexpr std::int64_t kWorthReleasing = 1 << 13;  // logits: less are drawn from sooner than another thread takes the GIL

void draw(int threads, const SampleArgs& args) {
  std::unique_ptr<Sampler> sampler = idle_samplers->take(threads);
  sampler->sample(args);
  idle_samplers->give_back(threads, std::move(sampler));
}

template <typename T>
T* vector_or_null(std::vector<T>& values) {
  return values.empty() ? nullptr : values.data();
}

const char* status_name(SampleStatus status) {
  switch (status) {
    case SampleStatus::ok: return "ok";
    case SampleStatus::invalid_logits: return "invalid_logits";
    case SampleStatus::all_masked: return "all_masked";
    case SampleStatus::invalid_parameters: return "invalid_parameters";
  }
  return "unknown";
}

}  // namespace

void SampleCall::read(const nb::dict& options) {
  const auto on_host = [this]<typename T>(nb::handle value, const char* name, T*& pointer) {
    pointer = output_of<T>(value, name, rows_.rows);
  };
  for (const auto& [key, value] : options) {
    const std::string_view name = option_name(key);
    if (parameters_.read(name, value) || outputs_.read(name, value, on_host)) continue;
    if (name != "stream") throw_no_sample_option(name);
    if (!value.is_none()) throw InvalidArgument("stream is given, but the logits are in host memory");
  }
}

void SampleCall::run(SampleArgs& args) {
  const auto rows = static_cast<std::size_t>(rows_.rows);
  args.logits = rows_.data;
  args.type = rows_.type;
  args.rows = rows_.rows;
  args.vocab_size = rows_.width;
  args.row_stride = rows_.stride;
  if (rows_.stride == 0 && rows > 1) {
    row_index_.assign(rows, 0);
    args.row_index = row_index_.data();
    args.row_stride = rows_.width;
  }
  parameters_.give(args);
  outputs_.give(args);
  statuses_.resize(rows);
  args.status = statuses_.data();
  if (!outputs_.token) tokens_.resize(rows);
  args.token = outputs_.token ? outputs_.token : tokens_.data();
  if (args.rows * args.vocab_size < kWorthReleasing) {
    draw(parameters_.threads(), args);
  } else {
    const nb::gil_scoped_release release;
    draw(parameters_.threads(), args);
  }
  for (std::size_t r = 0; r < rows; ++r) {
    if (statuses_[r] == SampleStatus::invalid_parameters) {
      parameters_.check_row(static_cast<std::int64_t>(r));
      throw InvalidArgument("a parameter of row " + std::to_string(r) + " is out of range");
    }
    if (outputs_.status) outputs_.status[r] = static_cast<std::uint8_t>(statuses_[r]);
  }
}

namespace {

nb::object tokens_of(SampleCall& call, nb::handle logits) {
  if (call.outputs().tokens.is_valid()) return call.outputs().tokens;
  if (call.rows().single) return nb::int_(call.tokens()[0]);
  nb::object array = to_numpy(std::vector<TokenId>(call.tokens()), {call.tokens().size()});
  // PyTorch's users go on with PyTorch's tensors.
  if (nb::cast<std::string>(nb::str(logits.type().attr("__module__"))) == "torch")
    return nb::module_::import_("torch").attr("from_numpy")(array);
  return array;
}

nb::object sample(nb::handle logits, const nb::dict& options) {
  if (is_on_gpu(logits, "logits")) return cuda_module("logits").attr("sample")(logits, options);
  SampleCall call(logits, "logits");
  call.read(options);
  SampleArgs args;
  call.run(args);
  return tokens_of(call, logits);
}

/// All that can be told of the rows' draws, as a dict of arrays.
nb::dict sample_details(nb::handle logits, int top, bool kept, const nb::dict& options) {
  if (is_on_gpu(logits, "logits"))
    throw InvalidArgument(
        "logits is on a GPU, and sample_details() returns arrays in host memory: move it to the CPU, or call "
        "sample() with out_logprob and its like");
  SampleCall call(logits, "logits");
  call.read(options);
  const auto rows = static_cast<std::size_t>(call.rows().rows), width = static_cast<std::size_t>(call.rows().width);
  if (top < 0 || top > 1024) throw InvalidArgument("top is " + std::to_string(top) + "; it must be in [0, 1024]");
  const auto listed = rows * static_cast<std::size_t>(top);
  std::vector<TokenId> argmax(rows), top_token(listed), kept_ids(kept ? rows * width : 0);
  std::vector<std::int64_t> num_kept(rows), kept_offsets(kept ? rows + 1 : 0);
  std::vector<std::uint64_t> total_weight(rows);
  std::vector<double> logprob(rows), filtered_logprob(rows), top_logprob(listed);
  SampleArgs args;
  args.argmax = argmax.data();
  args.num_kept = num_kept.data();
  args.total_weight = total_weight.data();
  args.logprob = logprob.data();
  args.filtered_logprob = filtered_logprob.data();
  args.top = top;
  args.top_token = vector_or_null(top_token);
  args.top_logprob = vector_or_null(top_logprob);
  args.kept = vector_or_null(kept_ids);
  args.kept_offsets = vector_or_null(kept_offsets);
  args.kept_capacity = static_cast<std::int64_t>(kept_ids.size());
  call.run(args);

  nb::list statuses, kept_lists;
  for (const SampleStatus status : call.statuses()) statuses.append(status_name(status));
  for (std::size_t r = 0; kept && r < rows; ++r)
    kept_lists.append(
        to_numpy(std::vector<TokenId>(kept_ids.begin() + kept_offsets[r], kept_ids.begin() + kept_offsets[r + 1]),
                 {static_cast<std::size_t>(kept_offsets[r + 1] - kept_offsets[r])}));
  const TokenId* out = call.outputs().token;
  std::vector<TokenId> tokens = out ? std::vector<TokenId>(out, out + rows) : call.tokens();
  nb::dict details;
  details["token"] = to_numpy(std::move(tokens), {rows});
  details["status"] = nb::tuple(statuses);
  details["argmax"] = to_numpy(std::move(argmax), {rows});
  details["num_kept"] = to_numpy(std::move(num_kept), {rows});
  details["total_weight"] = to_numpy(std::move(total_weight), {rows});
  details["logprob"] = to_numpy(std::move(logprob), {rows});
  details["filtered_logprob"] = to_numpy(std::move(filtered_logprob), {rows});
  details["top_token"] = to_numpy(std::move(top_token), {rows, static_cast<std::size_t>(top)});
  details["top_logprob"] = to_numpy(std::move(top_logprob), {rows, static_cast<std::size_t>(top)});
  details["kept"] = nb::tuple(kept_lists);
  return details;
}

}  // namespace

void bind_sampling(nb::module_& m) {
  pthread_atfork(nullptr, nullptr, [] { idle_samplers = new IdleSamplers; });
  m.def(
      "request_seed",
      [](std::uint64_t seed, nb::handle prompt) { return request_seed(seed, read_tokens(prompt, "prompt")); },
      nb::arg("seed"), nb::arg("prompt"),
      "The seed from which a request's tokens are drawn: `seed` mixed with the prompt's token ids, so that prompts do not "
      "share random "
      "numbers. Requests use it by themselves; it is for those who call sample() in a loop of their own.",
      nb::sig("def request_seed(seed: int, prompt: object) -> int"));
  m.def("sample", &sample, nb::arg("logits").none(), nb::arg("options"), "Draws one token a row; see warploom.sample.",
        nb::sig("def sample(logits: object, options: dict[str, object]) -> typing.Any"));
  m.def(
      "sample_details", &sample_details, nb::arg("logits").none(), nb::arg("top"), nb::arg("kept"), nb::arg("options"),
      "Draws one token a row, and tells everything about it; see warploom.sample_details.",
      nb::sig(
          "def sample_details(logits: object, top: int, kept: bool, options: dict[str, object]) -> dict[str, typing.Any]"));
}

}  // namespace warploom::python
