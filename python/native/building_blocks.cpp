// The steps of sampling one by one: probabilities, kept sets, draws from probabilities. docs/sampling.md has the arithmetic.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/half.h"
#include "core/sampling_math.h"
#include "native/cuda_module.h"
#include "native/sampling.h"
#include "warploom/error.h"

namespace warploom::python {

namespace {

/// The rows' kept tokens, by the filters that the options name.
struct Kept {
  SampleCall call;
  std::vector<TokenId> ids, argmax;
  std::vector<std::int64_t> offsets;
  std::vector<std::uint64_t> total_weight;

  Kept(nb::handle logits, const nb::dict& options) : call(logits, "logits") {
    call.read(options);
    const auto rows = static_cast<std::size_t>(call.rows().rows);
    ids.resize(rows * static_cast<std::size_t>(call.rows().width));
    argmax.resize(rows);
    offsets.resize(rows + 1);
    total_weight.resize(rows);
    SampleArgs args;
    args.kept = ids.data();
    args.kept_offsets = offsets.data();
    args.kept_capacity = static_cast<std::int64_t>(ids.size());
    args.argmax = argmax.data();
    args.total_weight = total_weight.data();
    call.run(args);
  }
  std::span<const TokenId> of(std::int64_t row) const {
    return {ids.data() + offsets[static_cast<std::size_t>(row)], ids.data() + offsets[static_cast<std::size_t>(row) + 1]};
  }
};

float logit(const Rows& rows, std::int64_t row, std::int64_t token) {
  const std::int64_t i = row * rows.stride + token;
  if (rows.type == DType::f32) return static_cast<const float*>(rows.data)[i];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(rows.data)[i];
  return rows.type == DType::f16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

// The tokens that keep a share: those that a draw picks from, and where nothing but top-k can have removed them also those of weight 0,
// by logit and then by id (docs/sampling.md section 7).
std::vector<TokenId> tokens_with_share(const Kept& kept, std::int64_t row, const SamplingParams& params) {
  const Rows& rows = kept.call.rows();
  const auto drawn = kept.of(row);
  std::vector<TokenId> tokens(drawn.begin(), drawn.end());
  if (params.top_p < 1.0f || params.min_p > 0.0f) return tokens;
  std::vector<TokenId> rest;
  auto next = drawn.begin();
  for (TokenId token = 0; token < rows.width; ++token) {
    if (next != drawn.end() && *next == token) {
      ++next;
    } else if (logit(rows, row, token) > -std::numeric_limits<float>::infinity()) {
      rest.push_back(token);
    }
  }
  const auto before = [&](TokenId a, TokenId b) {
    const float x = logit(rows, row, a), y = logit(rows, row, b);
    return x != y ? x > y : a < b;
  };
  const auto k = static_cast<std::size_t>(params.top_k);
  if (k > 0 && k < tokens.size() + rest.size()) {
    const auto end = rest.begin() + static_cast<std::ptrdiff_t>(k - tokens.size());
    std::nth_element(rest.begin(), end, rest.end(), before);
    rest.erase(end, rest.end());
  }
  tokens.insert(tokens.end(), rest.begin(), rest.end());
  return tokens;
}

void softmax_row(const Kept& kept, std::int64_t row, float* out) {
  const Rows& rows = kept.call.rows();
  const auto r = static_cast<std::size_t>(row);
  if (kept.call.statuses()[r] != SampleStatus::ok) {
    std::fill_n(out, rows.width, std::numeric_limits<float>::quiet_NaN());
    return;
  }
  std::fill_n(out, rows.width, 0.0f);
  const SamplingParams params = kept.call.parameters().params(row);
  if (params.temperature == 0.0f) {
    out[kept.argmax[r]] = 1.0f;
    return;
  }
  const float max = logit(rows, row, kept.argmax[r]), scale = sampling::exponent_scale(params.temperature);
  const double share = 0x1p40 / static_cast<double>(kept.total_weight[r]);
  for (const TokenId token : tokens_with_share(kept, row, params))
    out[token] =
        static_cast<float>(static_cast<double>(sampling::relative_probability(logit(rows, row, token), max, scale)) * share);
}

std::vector<std::size_t> shape_of(const Rows& rows) {
  const auto width = static_cast<std::size_t>(rows.width);
  return rows.single ? std::vector<std::size_t>{width}
                     : std::vector<std::size_t>{static_cast<std::size_t>(rows.rows), width};
}

template <typename T>
T* dense_output(nb::handle out, const Rows& rows) {
  return rows.single ? output_of<T>(out, "out", rows.width) : output_of<T>(out, "out", rows.rows, rows.width);
}

nb::object softmax(nb::handle logits, const nb::dict& options, nb::handle out) {
  if (is_on_gpu(logits, "logits")) return cuda_module("logits").attr("softmax")(logits, options, out);
  const Kept kept(logits, options);
  const Rows& rows = kept.call.rows();
  std::vector<float> own(out.is_none() ? static_cast<std::size_t>(rows.rows * rows.width) : 0);
  float* data = out.is_none() ? own.data() : dense_output<float>(out, rows);
  const auto at = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p); };
  const std::int64_t elements = (rows.rows - 1) * rows.stride + rows.width;  // from the first to the last that is read
  if (rows.rows > 0 && at(data) < at(rows.data) + static_cast<std::size_t>(elements * bytes_of(rows.type)) &&
      at(rows.data) < at(data + rows.rows * rows.width))
    throw InvalidArgument("out shares memory with logits; it must have memory of its own");
  {
    const nb::gil_scoped_release release;
    for (std::int64_t r = 0; r < rows.rows; ++r) softmax_row(kept, r, data + r * rows.width);
  }
  return out.is_none() ? to_numpy(std::move(own), shape_of(rows)) : nb::borrow(out);
}

/// A new array of bools, or `out`: true for kept tokens.
nb::object kept_mask(nb::handle logits, const nb::dict& options, nb::handle out) {
  if (is_on_gpu(logits, "logits")) return cuda_module("logits").attr("kept_mask")(logits, options, out);
  const Kept kept(logits, options);
  const Rows& rows = kept.call.rows();
  const auto size = static_cast<std::size_t>(rows.rows * rows.width);
  std::vector<std::uint8_t> own(out.is_none() ? size : 0);
  std::uint8_t* mask = out.is_none() ? own.data() : reinterpret_cast<std::uint8_t*>(dense_output<bool>(out, rows));
  std::fill_n(mask, size, std::uint8_t{0});
  for (std::int64_t r = 0; r < rows.rows; ++r)
    for (const TokenId token : kept.of(r)) mask[r * rows.width + token] = 1;
  return out.is_none() ? to_numpy(std::move(own), shape_of(rows)).attr("view")("bool") : nb::borrow(out);
}

TokenId draw_by_probability(const float* row, std::int64_t width, std::uint64_t bits) {
  float max = 0.0f;
  for (std::int64_t i = 0; i < width; ++i) {
    if (!(row[i] >= 0.0f) || std::isinf(row[i])) return -1;
    max = std::max(max, row[i]);
  }
  if (max == 0.0f) return -1;
  std::uint64_t total = 0;
  for (std::int64_t i = 0; i < width; ++i) total += sampling::probability_weight(row[i], max);
  const std::uint64_t drawn = sampling::draw(bits, total);
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i < width; ++i)
    if ((sum += sampling::probability_weight(row[i], max)) > drawn) return static_cast<TokenId>(i);
  return -1;
}

nb::object multinomial(nb::handle probabilities, nb::handle seed, nb::handle position, nb::handle subsequence,
                       nb::handle out, nb::handle stream) {
  if (is_on_gpu(probabilities, "probabilities"))
    return cuda_module("probabilities").attr("multinomial")(probabilities, seed, position, subsequence, out, stream);
  if (!stream.is_none()) throw InvalidArgument("stream is given, but the probabilities are in host memory");
  const Rows rows = read_rows(probabilities, "probabilities", RowTypes::float32);
  if (rows.width < 1 || rows.width > (std::int64_t{1} << 22))
    throw InvalidArgument("probabilities has " + std::to_string(rows.width) + " columns; it must be in [1, 2^22]");
  Column<std::uint64_t> seeds, positions;
  Column<std::uint32_t> subsequences;
  seeds.read(seed, "seed", rows.rows);
  positions.read(position, "position", rows.rows);
  subsequences.read(subsequence, "subsequence", rows.rows);
  std::vector<TokenId> own(out.is_none() ? static_cast<std::size_t>(rows.rows) : 0);
  TokenId* tokens = out.is_none() ? own.data() : output_of<TokenId>(out, "out", rows.rows);
  {
    const nb::gil_scoped_release release;
    for (std::int64_t r = 0; r < rows.rows; ++r) {
      const auto at = [r](const auto& column) { return column.data ? column.data[r] : 0; };
      tokens[r] = draw_by_probability(static_cast<const float*>(rows.data) + r * rows.stride, rows.width,
                                      sampling::random_bits(at(seeds), at(positions), at(subsequences)));
    }
  }
  if (!out.is_none()) return nb::borrow(out);
  return rows.single ? nb::object(nb::int_(own[0])) : to_numpy(std::move(own), {static_cast<std::size_t>(rows.rows)});
}

}  // namespace

void bind_building_blocks(nb::module_& m) {
  m.def("softmax", &softmax, nb::arg("logits").none(), nb::arg("options"), nb::arg("out").none(),
        "Probabilities; see warploom.softmax.",
        nb::sig("def softmax(logits: object, options: dict[str, object], out: object | None) -> typing.Any"));
  m.def("kept_mask", &kept_mask, nb::arg("logits").none(), nb::arg("options"), nb::arg("out").none(),
        "Which tokens the filters keep; see warploom.kept_mask.",
        nb::sig("def kept_mask(logits: object, options: dict[str, object], out: object | None) -> typing.Any"));
  m.def(
      "multinomial", &multinomial, nb::arg("probabilities").none(), nb::arg("seed").none(), nb::arg("position").none(),
      nb::arg("subsequence").none(), nb::arg("out").none(), nb::arg("stream").none(),
      "Draws by probabilities; see warploom.multinomial.",
      nb::sig(
          "def multinomial(probabilities: object, seed: object | None, position: object | None, subsequence: object | None, "
          "out: object | None, stream: object | None) -> typing.Any"));
}

}  // namespace warploom::python
