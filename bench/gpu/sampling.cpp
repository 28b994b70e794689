// cuda::sample() on rows of logits in device memory.
#include <cmath>

#include "bench/gpu/op_tests.h"
#include "bench/gpu/run.h"
#include "core/half.h"
#include "warploom/cuda/sampling.h"

namespace warploom::bench {

namespace {

constexpr std::int64_t kDistinct = 8;  // rows, which repeat

std::vector<float> some_rows(const std::string& kind, std::int64_t vocab_size) {
  std::mt19937_64 rng(5);
  std::normal_distribution<float> normal(0.0f, kind == "flat" ? 0.5f : 4.0f);
  std::vector<float> rows(static_cast<std::size_t>(kDistinct * vocab_size));
  for (float& y : rows) y = normal(rng);
  if (kind == "masked")
    for (float& y : rows)
      if (rng() % static_cast<std::uint64_t>(vocab_size) >= 1000) y = -1e9f;
  return rows;
}

// [rows, vocab_size] of either type.
cuda::DeviceBuffer logits_of(const std::vector<float>& distinct, DType type, std::int64_t rows, std::int64_t vocab_size) {
  const auto row_bytes = static_cast<std::size_t>(vocab_size * bytes_of(type));
  cuda::DeviceBuffer memory(static_cast<std::size_t>(rows) * row_bytes, "logits");
  std::vector<std::uint16_t> narrow;
  if (type == DType::bf16)
    for (const float y : distinct) narrow.push_back(float_to_bfloat16(y));
  const auto* from = type == DType::bf16 ? reinterpret_cast<const std::byte*>(narrow.data())
                                         : reinterpret_cast<const std::byte*>(distinct.data());
  for (std::int64_t r = 0; r < rows; ++r)
    cuda::check(cudaMemcpy(static_cast<std::byte*>(memory.data()) + static_cast<std::size_t>(r) * row_bytes,
                           from + static_cast<std::size_t>(r % kDistinct) * row_bytes, row_bytes, cudaMemcpyHostToDevice),
                "logits");
  have_arrived();
  return memory;
}

void run_test(const GpuRun& run, const SampleTest& test, const cuda::DeviceBuffer& logits) {
  SampleArgs args;
  args.logits = logits.data();
  args.type = test.type;
  args.rows = test.rows;
  args.vocab_size = args.row_stride = test.vocab_size;
  const auto rows = static_cast<std::size_t>(test.rows);
  const OnDevice<float> temperature(std::vector<float>(rows, test.temperature)), top_p(std::vector<float>(rows, test.top_p)),
      min_p(std::vector<float>(rows, test.min_p));
  const OnDevice<std::int32_t> top_k(std::vector<std::int32_t>(rows, test.top_k));
  std::vector<std::uint64_t> numbers(rows);
  for (std::size_t r = 0; r < rows; ++r) numbers[r] = r;
  const OnDevice<std::uint64_t> seed(numbers), position(numbers);
  const cuda::DeviceBuffer token(rows * sizeof(TokenId), "tokens"), status(rows * sizeof(SampleStatus), "statuses"),
      argmax(rows * sizeof(TokenId), "tokens"), num_kept(rows * 8, "counts"), total(rows * 8, "weights");
  args.temperature = temperature.data(), args.top_k = top_k.data(), args.top_p = top_p.data(), args.min_p = min_p.data();
  args.seed = seed.data(), args.position = position.data();
  args.token = static_cast<TokenId*>(token.data()), args.status = static_cast<SampleStatus*>(status.data());
  args.argmax = static_cast<TokenId*>(argmax.data());
  args.num_kept = static_cast<std::int64_t*>(num_kept.data());
  args.total_weight = static_cast<std::uint64_t*>(total.data());
  const cuda::DeviceBuffer workspace(std::max<std::size_t>(cuda::sample_workspace_bytes(args), 16), "a workspace");
  args.workspace = {workspace.data(), workspace.bytes()};
  const double bytes = static_cast<double>(args.rows * args.vocab_size * bytes_of(args.type));
  run.time(test.name(), bytes, 0, true, [&] { cuda::sample(args, run.timer.stream()); });
}

}  // namespace

void run_sampling(const GpuRun& run) {
  std::vector<float> distinct;
  cuda::DeviceBuffer logits;
  SampleTest held;  // whose rows these are
  for (const SampleTest& test : sample_tests(run.options.small)) {
    if (!run.wants(test.name())) continue;
    const bool same_kind = !distinct.empty() && test.kind == held.kind;
    if (!same_kind) distinct = some_rows(test.kind, test.vocab_size);
    if (!same_kind || test.type != held.type || test.rows != held.rows) {
      logits = {};  // so that both never need to fit
      logits = logits_of(distinct, test.type, test.rows, test.vocab_size);
    }
    held = test;
    run_test(run, test, logits);
  }
}

}  // namespace warploom::bench
