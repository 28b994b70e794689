#include "native/sampling.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <nanobind/stl/string.h>

#include "native/fork.h"
#include "native/options.h"
#include "warploom/device.h"
#include "warploom/error.h"

namespace warploom::python {

namespace {

// Samplers that nobody uses at the moment, by their number of threads: each keeps its threads and its memory.
class IdleSamplers {
 public:
  std::unique_ptr<Sampler> take(int threads) {
    const std::lock_guard lock(mutex_);
    // In a forked child the parent's threads are not there.
    if (forks_ != forks()) {
      static_cast<void>(new auto(std::move(idle_)));
      idle_.clear();
      forks_ = forks();
    }
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
  int forks_ = 0;
  std::map<int, std::vector<std::unique_ptr<Sampler>>> idle_;
};

// Never destroyed: at the interpreter's end, threads may still draw.
IdleSamplers& idle_samplers() {
  static auto* const samplers = new IdleSamplers;
  return *samplers;
}

constexpr std::int64_t kWorthReleasing = 1 << 13;  // logits: less are drawn from sooner than another thread takes the GIL

void draw(int threads, const SampleArgs& args) {
  std::unique_ptr<Sampler> sampler = idle_samplers().take(threads);
  sampler->sample(args);
  idle_samplers().give_back(threads, std::move(sampler));
}

template <typename T>
T* vector_or_null(std::vector<T>& values) {
  return values.empty() ? nullptr : values.data();
}

/// Calls visit(element) for each element of `value`, of which there must be one for each row.
template <typename Visit>
void for_each_row(nb::handle value, const char* name, std::int64_t rows, const Visit& visit) {
  std::int64_t count = 0;
  for (nb::handle row : nb::borrow(value)) {
    visit(row);
    ++count;
  }
  if (count != rows)
    throw InvalidArgument(std::string(name) + " has " + std::to_string(count) + " rows for " + std::to_string(rows) +
                          " rows of logits");
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

/// How each keyword argument is read.
struct SampleOption {
  using Set = void (*)(SampleCall&, nb::handle);
  static const std::unordered_map<std::string_view, Set>& all();

 private:
};

const std::unordered_map<std::string_view, SampleOption::Set>& SampleOption::all() {
  static const std::unordered_map<std::string_view, Set> setters = {
      {"temperature", [](SampleCall& c, nb::handle v) { c.temperature_.read(v, "temperature", c.rows_.rows); }},
      {"top_k", [](SampleCall& c, nb::handle v) { c.top_k_.read(v, "top_k", c.rows_.rows); }},
      {"top_p", [](SampleCall& c, nb::handle v) { c.top_p_.read(v, "top_p", c.rows_.rows); }},
      {"min_p", [](SampleCall& c, nb::handle v) { c.min_p_.read(v, "min_p", c.rows_.rows); }},
      {"seed", [](SampleCall& c, nb::handle v) { c.seed_.read(v, "seed", c.rows_.rows); }},
      {"position", [](SampleCall& c, nb::handle v) { c.position_.read(v, "position", c.rows_.rows); }},
      {"subsequence", [](SampleCall& c, nb::handle v) { c.subsequence_.read(v, "subsequence", c.rows_.rows); }},
      {"repetition_penalty",
       [](SampleCall& c, nb::handle v) { c.repetition_penalty_.read(v, "repetition_penalty", c.rows_.rows); }},
      {"frequency_penalty",
       [](SampleCall& c, nb::handle v) { c.frequency_penalty_.read(v, "frequency_penalty", c.rows_.rows); }},
      {"presence_penalty",
       [](SampleCall& c, nb::handle v) { c.presence_penalty_.read(v, "presence_penalty", c.rows_.rows); }},
      {"history", [](SampleCall& c, nb::handle v) { c.read_history(v); }},
      {"count_begin", [](SampleCall& c, nb::handle v) { c.count_begin_.read(v, "count_begin", c.rows_.rows); }},
      {"bias", [](SampleCall& c, nb::handle v) { c.read_bias(v); }},
      {"allowed", [](SampleCall& c, nb::handle v) { c.allowed_.read(v, "allowed", c.rows_.rows, c.rows_.width); }},
      {"threads",
       [](SampleCall& c, nb::handle v) {
         Column<std::int32_t> threads;
         threads.read(v, "threads", 1);
         if (threads.data) c.threads_ = threads.data[0] == 0 ? available_cpus() : threads.data[0];
       }},
      {"out",
       [](SampleCall& c, nb::handle v) {
         if (v.is_none()) return;
         c.out_token = output_of<std::int32_t>(v, "out", c.rows_.rows);
         c.out = nb::borrow(v);
       }},
      {"out_status",
       [](SampleCall& c, nb::handle v) {
         if (!v.is_none()) c.out_status = output_of<std::uint8_t>(v, "out_status", c.rows_.rows);
       }},
      {"out_argmax",
       [](SampleCall& c, nb::handle v) {
         if (!v.is_none()) c.out_argmax = output_of<std::int32_t>(v, "out_argmax", c.rows_.rows);
       }},
      {"out_logprob",
       [](SampleCall& c, nb::handle v) {
         if (!v.is_none()) c.out_logprob = output_of<double>(v, "out_logprob", c.rows_.rows);
       }},
      {"out_filtered_logprob",
       [](SampleCall& c, nb::handle v) {
         if (!v.is_none()) c.out_filtered_logprob = output_of<double>(v, "out_filtered_logprob", c.rows_.rows);
       }},
      {"out_num_kept",
       [](SampleCall& c, nb::handle v) {
         if (!v.is_none()) c.out_num_kept = output_of<std::int64_t>(v, "out_num_kept", c.rows_.rows);
       }},
      {"out_total_weight",
       [](SampleCall& c, nb::handle v) {
         if (!v.is_none()) c.out_total_weight = output_of<std::uint64_t>(v, "out_total_weight", c.rows_.rows);
       }},
  };
  return setters;
}

void SampleCall::read(const nb::dict& options) {
  const auto& setters = SampleOption::all();
  for (const auto& [key, value] : options) {
    const std::string_view name = option_name(key);
    const auto setter = setters.find(name);
    if (setter == setters.end())
      throw nb::type_error(("sampling has no option \"" + std::string(name) + "\"; SampleOptions lists them").c_str());
    setter->second(*this, value);
  }
}

void SampleCall::read_history(nb::handle value) {
  if (value.is_none()) return;
  history_offsets_ = {0};
  const auto add = [this](nb::handle row) {
    for (const TokenId token : read_tokens(row, "history")) history_.push_back(token);
    history_offsets_.push_back(static_cast<std::int64_t>(history_.size()));
  };
  if (rows_.single) return add(value);
  for_each_row(value, "history", rows_.rows, add);
}

void SampleCall::read_biases_of_row(nb::handle value) {
  nb::dict biases;
  if (!nb::try_cast(value, biases))
    throw InvalidArgument("bias must be a dict of token ids and numbers, or one for each row");
  for (const auto& [token, bias] : biases) {
    Column<std::int32_t> id;
    Column<float> number;
    id.read(token, "a token of bias", 1);
    number.read(bias, "a number of bias", 1);
    if (!id.data || !number.data) throw InvalidArgument("bias holds None");
    bias_.push_back({id.data[0], number.data[0]});
  }
  bias_offsets_.push_back(static_cast<std::int64_t>(bias_.size()));
}

void SampleCall::read_bias(nb::handle value) {
  if (value.is_none()) return;
  bias_offsets_ = {0};
  if (PyDict_Check(value.ptr())) {
    for (std::int64_t r = 0; r < rows_.rows; ++r) read_biases_of_row(value);
    return;
  }
  for_each_row(value, "bias", rows_.rows, [this](nb::handle row) { read_biases_of_row(row); });
}

void SampleCall::run(SampleArgs& args) {
  const auto rows = static_cast<std::size_t>(rows_.rows);
  args.logits = rows_.data;
  args.type = rows_.type;
  args.rows = rows_.rows;
  args.vocab_size = rows_.width;
  args.row_stride = rows_.stride;
  args.temperature = temperature_.data;
  args.top_k = top_k_.data;
  args.top_p = top_p_.data;
  args.min_p = min_p_.data;
  args.seed = seed_.data;
  args.position = position_.data;
  args.subsequence = subsequence_.data;
  args.repetition_penalty = repetition_penalty_.data;
  args.frequency_penalty = frequency_penalty_.data;
  args.presence_penalty = presence_penalty_.data;
  args.history = vector_or_null(history_);
  args.history_offsets = vector_or_null(history_offsets_);
  args.count_begin = count_begin_.data;
  args.bias = vector_or_null(bias_);
  args.bias_offsets = vector_or_null(bias_offsets_);
  args.allowed = allowed_.data;
  args.allowed_stride = allowed_.stride;
  statuses_.resize(rows);
  args.status = statuses_.data();
  if (!out_token) tokens_.resize(rows);
  args.token = out_token ? out_token : tokens_.data();
  if (!args.argmax) args.argmax = out_argmax;
  if (!args.logprob) args.logprob = out_logprob;
  if (!args.filtered_logprob) args.filtered_logprob = out_filtered_logprob;
  if (!args.num_kept) args.num_kept = out_num_kept;
  if (!args.total_weight) args.total_weight = out_total_weight;
  if (args.rows * args.vocab_size < kWorthReleasing) {
    draw(threads_, args);
  } else {
    const nb::gil_scoped_release release;
    draw(threads_, args);
  }
  for (std::size_t r = 0; r < rows; ++r) {
    if (statuses_[r] == SampleStatus::invalid_parameters) refuse_row(static_cast<std::int64_t>(r));
    if (out_status) out_status[r] = static_cast<std::uint8_t>(statuses_[r]);
  }
}

// Says what is out of range of a row that was refused.
void SampleCall::refuse_row(std::int64_t r) const {
  const auto row = static_cast<std::size_t>(r);
  const std::string where = rows_.single ? std::string() : "row " + std::to_string(r) + ": ";
  SamplingParams params;
  params.temperature = temperature(r);
  if (top_k_.data) params.top_k = top_k_.data[r];
  if (top_p_.data) params.top_p = top_p_.data[r];
  if (min_p_.data) params.min_p = min_p_.data[r];
  if (repetition_penalty_.data) params.repetition_penalty = repetition_penalty_.data[r];
  if (frequency_penalty_.data) params.frequency_penalty = frequency_penalty_.data[r];
  if (presence_penalty_.data) params.presence_penalty = presence_penalty_.data[r];
  try {
    validate(params);
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(where + error.what());
  }
  const std::int64_t length = history_offsets_.empty() ? 0 : history_offsets_[row + 1] - history_offsets_[row];
  if (count_begin_.data && (count_begin_.data[r] < 0 || count_begin_.data[r] > length))
    throw InvalidArgument(where + "count_begin is " + std::to_string(count_begin_.data[r]) + "; it must be in [0, " +
                          std::to_string(length) + "], the length of history");
  throw InvalidArgument(where + "a token of history or bias is not in [0, " + std::to_string(rows_.width) + ")");
}

namespace {

nb::object tokens_of(SampleCall& call, nb::handle logits) {
  if (call.out.is_valid()) return call.out;
  if (call.rows().single) return nb::int_(call.tokens()[0]);
  const nb::object array = to_numpy(std::vector<TokenId>(call.tokens()), {call.tokens().size()});
  // PyTorch's users go on with PyTorch's tensors.
  if (nb::cast<std::string>(nb::str(logits.type().attr("__module__"))) == "torch")
    return nb::module_::import_("torch").attr("from_numpy")(array);
  return array;
}

nb::object sample(nb::handle logits, const nb::dict& options) {
  SampleCall call(logits, "logits");
  call.read(options);
  SampleArgs args;
  call.run(args);
  return tokens_of(call, logits);
}

/// All that can be told of the rows' draws, as a dict of arrays.
nb::dict sample_details(nb::handle logits, int top, bool kept, const nb::dict& options) {
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
  std::vector<TokenId> tokens = call.out_token ? std::vector<TokenId>(call.out_token, call.out_token + rows) : call.tokens();
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
