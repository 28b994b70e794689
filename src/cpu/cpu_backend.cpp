// The ops on the CPU: each splits its rows or panels over the threads and calls the kernels. How work is split never enters a
// result.
#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <sched.h>

#include "backend/backend.h"
#include "cpu/attention.h"
#include "cpu/host_memory.h"
#include "cpu/isa.h"
#include "cpu/kv_storage.h"
#include "cpu/matmul.h"
#include "cpu/pack.h"
#include "cpu/rope_table.h"
#include "cpu/sample.h"
#include "cpu/thread_pool.h"
#include "warploom/error.h"

namespace warploom {
namespace cpu {
namespace {

class HostMemory final : public DeviceMemory {
 public:
  explicit HostMemory(std::size_t bytes) : memory_(allocate_bytes(bytes, "step buffers")), bytes_(bytes) {}
  void* data() override { return memory_.get(); }
  std::size_t bytes() const override { return bytes_; }

 private:
  AlignedBytes memory_;
  std::size_t bytes_;
};

class HostStepMemory final : public StepMemory {
 public:
  explicit HostStepMemory(std::size_t bytes) : memory_(bytes) {}
  std::byte* host() override { return static_cast<std::byte*>(memory_.data()); }
  std::byte* device() override { return host(); }
  std::size_t bytes() const override { return memory_.bytes(); }

 private:
  HostMemory memory_;
};

int thread_count(int asked) {
  if (asked < 0 || asked > 1024) throw InvalidArgument(fmt::format("threads: {} is not in [0, 1024]; 0 means one per core", asked));
  if (asked > 0) return asked;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const DeviceOptions& options)
      : isa_(options.isa == CpuIsa::automatic ? best_isa() : options.isa),
        kernels_(kernels_for(isa_)),
        pool_(thread_count(options.threads)),
        matmul_(kernels_, pool_),
        attention_(kernels_, pool_),
        sampler_(kernels_.sample, pool_) {}

  std::string description() const override { return fmt::format("cpu: {}, {} threads", name(isa_), pool_.threads()); }

  std::unique_ptr<DeviceMemory> alloc(std::size_t bytes) override { return std::make_unique<HostMemory>(bytes); }
  void upload(void* device, const void* host, std::size_t bytes) override { std::memcpy(device, host, bytes); }
  void download(void* host, const void* device, std::size_t bytes) override { std::memcpy(host, device, bytes); }
  void synchronise() override {}
  std::uint64_t free_bytes() const override { return available_memory(); }

  std::unique_ptr<PreparedWeight> prepare(std::span<const WeightView> parts) override { return pack(parts, pool_); }
  void check_kv_shape(const KvShape& shape) const override { cpu::check_kv_shape(shape); }
  std::unique_ptr<KvStorage> create_kv_storage(const KvShape& shape) override { return std::make_unique<CpuKvStorage>(shape); }

  std::unique_ptr<PreparedRope> prepare_rope(const RopeParams& params, const float* factors) override {
    return std::make_unique<RopeTable>(params, factors);
  }
  std::unique_ptr<StepMemory> create_step_memory(std::size_t bytes) override { return std::make_unique<HostStepMemory>(bytes); }
  void run_step(const StepKey&, StepMemory&, StepMemory&, const std::function<void()>& record) override { record(); }

  void embed(const EmbedArgs& args) override {
    const auto& table = static_cast<const PackedWeight&>(*args.table);
    pool_.parallel_for(args.tokens, kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t t = begin; t < end; ++t) unpack_row(table, args.ids[t], args.out + t * table.cols());
    });
  }

  void rms_norm(const RmsNormArgs& args) override {
    pool_.parallel_for(args.tokens, kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t t = begin; t < end; ++t) {
        const std::int64_t row = args.rows ? args.rows[t] : t;
        kernels_.rms_norm_row(args.residual + row * args.dim, args.delta ? args.delta + row * args.dim : nullptr, args.weight,
                              args.dim, args.epsilon, static_cast<float*>(args.out) + t * args.dim);
      }
    });
  }

  void matmul(const MatmulArgs& args) override { matmul_.run(args); }

  void rope_append(const RopeAppendArgs& args) override {
    if (args.layout.tokens == 0) return;
    const auto& rope = static_cast<const RopeTable&>(*args.rope);
    rope.extend(*std::max_element(args.layout.positions, args.layout.positions + args.layout.tokens));
    pool_.parallel_for(args.layout.tokens, kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t t = begin; t < end; ++t) rope_append_token(args, rope, t);
    });
  }

  void attention(const AttentionArgs& args) override { attention_.run(args); }

  void swiglu(const SwigluArgs& args) override {
    // Short rows are cut too, so that a single token keeps every thread busy.
    constexpr std::int64_t kPart = 768;
    const std::int64_t parts = (args.ffn + kPart - 1) / kPart;
    pool_.parallel_for(args.tokens * parts, args.tokens < kRowGrain ? 1 : parts, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t from = i % parts * kPart;
        const float* gate = args.gate_up + i / parts * 2 * args.ffn + from;
        kernels_.swiglu_row(gate, gate + args.ffn, std::min(kPart, args.ffn - from),
                             static_cast<float*>(args.out) + i / parts * args.ffn + from);
      }
    });
  }

  void sample(const SampleArgs& args) override {
    const LogitsView logits{args.logits, LogitType::f32, args.rows, args.vocab, args.vocab};
    const SampleWants wants{.logprob = args.logprob != nullptr};
    std::vector<SampleRow> rows;
    for (std::int64_t r = 0; r < args.rows; ++r) rows.push_back(sample_row(args, r));
    check_rows(logits, rows, wants);
    std::vector<SampleResult> results(rows.size());
    sampler_.run(logits, rows, wants, results);
    for (std::size_t r = 0; r < results.size(); ++r) {
      args.token[r] = results[r].token;
      args.status[r] = results[r].status;
      if (args.logprob) args.logprob[r] = results[r].logprob;
    }
  }

  void copy_block(const CopyBlockArgs& args) override { static_cast<CpuKvStorage&>(*args.cache).copy_block(args.from, args.to); }

 private:
  static constexpr std::int64_t kRowGrain = 4;  // rows that are cheaper done at once than handed out

  static SampleRow sample_row(const SampleArgs& a, std::int64_t r) {
    SampleRow row;
    SamplingParams& p = row.params;
    p.temperature = a.temperature[r];
    p.top_k = a.top_k[r];
    p.top_p = a.top_p[r];
    p.min_p = a.min_p[r];
    p.seed = a.seed[r];
    row.position = a.position[r];
    row.stream = a.stream[r];
    if (a.bias) row.bias = {a.bias + a.bias_offsets[r], a.bias + a.bias_offsets[r + 1]};
    if (!a.history) return row;
    p.repetition_penalty = a.repetition_penalty[r];
    p.frequency_penalty = a.frequency_penalty[r];
    p.presence_penalty = a.presence_penalty[r];
    row.history = {a.history + a.history_offsets[r], a.history + a.history_offsets[r + 1]};
    return row;
  }

  void rope_append_token(const RopeAppendArgs& args, const RopeTable& rope, std::int64_t t) {
    auto& cache = static_cast<CpuKvStorage&>(*args.cache);
    const KvShape& kv = cache.shape();
    const std::int64_t position = args.layout.positions[t];
    if (position < 0) return;
    const std::int32_t block =
        args.layout.block_tables[args.layout.sequences[t] * args.layout.table_stride + position / kKvBlockTokens];
    const std::size_t offset = static_cast<std::size_t>(block) * cache.block_stride();
    const std::int64_t slot = position % kKvBlockTokens;
    const float* table = rope.row(position);
    const RopeParams& params = rope.params();
    float* row = args.qkv + t * (args.heads + 2 * kv.kv_heads) * kv.head_dim;

    const auto rotate = [&](float* head) {
      float rotated[kMaxHeadDim];
      kernels_.rotate_row(head, table, params.dims, params.adjacent_pairs, rotated);
      std::memcpy(head, rotated, static_cast<std::size_t>(params.dims) * sizeof(float));
    };
    for (std::int64_t h = 0; h < args.heads + kv.kv_heads; ++h) rotate(row + h * kv.head_dim);
    for (std::int64_t h = 0; h < kv.kv_heads; ++h) {
      const float* key = row + (args.heads + h) * kv.head_dim;
      const float* value = key + kv.kv_heads * kv.head_dim;
      std::byte* base = cache.head_base(args.layer, h) + offset;
      if (kv.type == KvType::f16) {
        std::uint16_t narrow[kMaxHeadDim];
        kernels_.narrow_row(key, kv.head_dim, narrow);
        auto* keys = reinterpret_cast<std::uint16_t*>(base);
        for (std::int64_t d = 0; d < kv.head_dim; ++d) keys[d * kKvBlockTokens + slot] = narrow[d];
        kernels_.narrow_row(value, kv.head_dim, keys + kv.head_dim * (kKvBlockTokens + slot));
      } else {
        auto* keys = reinterpret_cast<float*>(base);
        for (std::int64_t d = 0; d < kv.head_dim; ++d) keys[d * kKvBlockTokens + slot] = key[d];
        std::memcpy(keys + kv.head_dim * (kKvBlockTokens + slot), value, static_cast<std::size_t>(kv.head_dim) * sizeof(float));
      }
    }
  }

  CpuIsa isa_;
  const Kernels& kernels_;
  ThreadPool pool_;
  Matmul matmul_;
  Attention attention_;
  Sampler sampler_;
};

}  // namespace
}  // namespace cpu

std::unique_ptr<Backend> create_cpu_backend(const DeviceOptions& options) { return std::make_unique<cpu::CpuBackend>(options); }

}  // namespace warploom
