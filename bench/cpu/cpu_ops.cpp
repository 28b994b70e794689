#include "cpu_ops.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>

#include <fmt/format.h>

#include "backend/backend.h"
#include "ceilings.h"
#include "checkpoint/random_weight.h"
#include "core/divide.h"
#include "core/quant_group.h"

namespace warploom::bench {

double CpuOp::bound() const {
  const double memory = static_cast<double>(bytes) / read_ceiling;
  return multiply_adds > 0 ? std::max(memory, static_cast<double>(multiply_adds) / arithmetic_ceiling) : memory;
}

bool CpuOp::bound_by_memory() const { return static_cast<double>(bytes) / read_ceiling >= bound(); }

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kTokens[] = {1, 8, 32, 512};

class Bench {
 public:
  Bench(const CpuOpsOptions& options, const CpuOpsProgress& progress)
      : shape_(options.shape),
        progress_(progress),
        repeats_(options.repeats),
        working_set_(options.working_set),
        backend_(create_backend(options.device)),
        ceilings_(options.device.threads > 0 ? options.device.threads : available_cpus(), options.device.isa) {}

  void products(WeightType type) {
    const std::int64_t rows = 2 * shape_.intermediate_size, cols = shape_.hidden_size;  // gate and up
    if (cols % traits(type).block != 0) return;
    WeightView view{type, rows, cols, nullptr, "random"};
    std::vector<std::byte> bytes(view.bytes());
    view.data = bytes.data();
    fill_random(view, bytes.data(), 0.05f, 1, 1);
    std::vector<std::unique_ptr<Weight>> copies;
    while (copies.size() * bytes.size() < working_set_) copies.push_back(backend_->load_weight({&view, 1}));
    for (const std::int64_t tokens : kTokens) {
      const Floats x(*backend_, tokens * cols, 0.25f), out(*backend_, tokens * rows, 0.0f);
      std::size_t next = 0;
      CpuOp op;
      op.name = fmt::format("product {} {}x{}, {} tokens", traits(type).name, rows, cols, tokens);
      op.multiply_adds = rows * cols * tokens;
      op.int8 = is_quantised(type);
      op.arithmetic_ceiling = type == WeightType::q8_0 ? ceilings_.whole_int8()
                              : op.int8                ? ceilings_.int8()
                                                       : ceilings_.f32();
      const MatmulArgs args{copies[0].get(), x.data(), nullptr, tokens, out.data()};
      op.bytes = bytes_moved(args);
      measure(op, copies.size() * bytes.size(), [&] {
        MatmulArgs call = args;
        call.weight = copies[next++ % copies.size()].get();
        backend_->matmul(call);
      });
    }
  }

  // `tokens` new tokens of each of `sequences`, which have `context` tokens then.
  void attention(std::int64_t sequences, std::int64_t context, std::int64_t tokens, DType type) {
    const std::int64_t blocks = ceil_div(context, std::int64_t{16}), width = shape_.num_heads * shape_.head_dim;
    const std::int64_t kv_bytes = sequences * blocks * 16 * shape_.num_kv_heads * kv_bytes_of(type, shape_.head_dim);
    const std::int64_t layers = std::max<std::int64_t>(1, static_cast<std::int64_t>(working_set_) / kv_bytes);
    const auto cache =
        backend_->create_kv_cache({layers, shape_.num_kv_heads, shape_.head_dim, sequences * blocks, type, 16});
    // Pages that nothing wrote are all one page of zeros, which the caches hold.
    std::memset(cache->view().data, 0, static_cast<std::size_t>(cache->view().bytes()));
    std::vector<std::int32_t> positions, sequence, starts{0}, tables;
    for (std::int64_t s = 0; s < sequences; ++s) {
      for (std::int64_t t = context - tokens; t < context; ++t) {
        positions.push_back(static_cast<std::int32_t>(t));
        sequence.push_back(static_cast<std::int32_t>(s));
      }
      starts.push_back(static_cast<std::int32_t>(positions.size()));
      for (std::int64_t b = 0; b < blocks; ++b) tables.push_back(static_cast<std::int32_t>(s * blocks + b));
    }
    const std::int64_t total = sequences * tokens;
    const Floats queries(*backend_, total * width, 0.25f), out(*backend_, total * width, 0.0f);
    PagedAttentionArgs args;
    args.num_heads = shape_.num_heads;
    args.softmax_scale = 0.125f;
    args.metadata = {total, sequences, tokens, positions.data(), sequence.data(), starts.data(), tables.data(), blocks};
    args.cache = cache->view();
    args.queries = {queries.data(), DType::f32, width};
    args.out = {out.data(), DType::f32, width};
    const auto workspace = backend_->alloc(std::max<std::size_t>(1, backend_->workspace_bytes(args)));
    args.workspace = {workspace->data(), workspace->bytes()};
    CpuOp op;
    const char* cache_name = type == DType::bf16 ? ", bf16" : type == DType::int8 ? ", int8" : "";
    op.name = fmt::format("attention, {} x {} tokens at {}{}", sequences, tokens, context, cache_name);
    op.multiply_adds = 2 * sequences * (tokens * context - tokens * (tokens - 1) / 2) * width;
    op.arithmetic_ceiling = ceilings_.f32();
    op.bytes = kv_bytes + 2 * total * width * static_cast<std::int64_t>(sizeof(float));
    std::int64_t layer = 0;
    measure(op, static_cast<std::size_t>(layers * kv_bytes), [&] {
      args.layer = layer++ % layers;
      backend_->paged_attention(args);
    });
  }

  CpuOps results() { return {backend_->description(), std::move(results_)}; }

 private:
  class Floats {
   public:
    Floats(Backend& backend, std::int64_t count, float value)
        : memory_(backend.alloc(static_cast<std::size_t>(count) * sizeof(float))) {
      std::fill_n(data(), count, value);
    }
    float* data() const { return static_cast<float*>(memory_->data()); }

   private:
    std::unique_ptr<Buffer> memory_;
  };

  template <typename Call>
  void measure(CpuOp op, std::size_t working_set, const Call& call) {
    // The mean of a tenth of a second or more, so that every copy is met; the best of some, because others disturb.
    op.seconds = 1e9;
    call();
    for (int run = 0; run < repeats_; ++run) {
      const auto start = Clock::now();
      double seconds = 0;
      std::int64_t calls = 0;
      do {
        call();
        ++calls;
        seconds = std::chrono::duration<double>(Clock::now() - start).count();
      } while (seconds < 0.1);
      op.seconds = std::min(op.seconds, seconds / static_cast<double>(calls));
    }
    op.read_ceiling = ceilings_.read(working_set);
    if (progress_) progress_(op);
    results_.push_back(std::move(op));
  }

  const ModelShape& shape_;
  const CpuOpsProgress& progress_;
  const int repeats_;
  const std::size_t working_set_;
  std::unique_ptr<Backend> backend_;
  Ceilings ceilings_;
  std::vector<CpuOp> results_;
};

}  // namespace

CpuOps measure_cpu_ops(const CpuOpsOptions& options, const CpuOpsProgress& progress) {
  Bench bench(options, progress);
  for (const WeightType type :
       {WeightType::q4_1, WeightType::q4_0, WeightType::q8_0, WeightType::q4_k, WeightType::q6_k, WeightType::f16})
    bench.products(type);
  for (const std::int64_t context : {512, 4096})
    for (const DType type : {DType::f16, DType::bf16, DType::int8}) {
      bench.attention(1, context, 1, type);
      bench.attention(32, context, 1, type);
      bench.attention(1, context, 512, type);
    }
  return bench.results();
}

}  // namespace warploom::bench
