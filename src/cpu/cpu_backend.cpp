// The ops on the CPU: each splits its rows or panels over the threads and calls the kernels. How work is split never enters a
// result.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "backend/backend.h"
#include "core/divide.h"
#include "cpu/attention.h"
#include "cpu/isa.h"
#include "cpu/kv_cache.h"
#include "cpu/matmul.h"
#include "cpu/memory.h"
#include "cpu/pack.h"
#include "cpu/process_limits.h"
#include "cpu/rope_table.h"
#include "cpu/sample.h"
#include "cpu/thread_pool.h"
#include "cpu/token_shares.h"
#include "warploom/error.h"

namespace warploom {
namespace cpu {
namespace {

using Counter = std::shared_ptr<std::atomic<std::uint64_t>>;

class HostBuffer final : public Buffer {
 public:
  /// `total`: bytes of all buffers.
  HostBuffer(std::size_t bytes, Counter total)
      : memory_(allocate_bytes(bytes, "step buffers")), bytes_(bytes), total_(std::move(total)) {
    *total_ += bytes_;
  }
  ~HostBuffer() override { *total_ -= bytes_; }
  void* data() override { return memory_.get(); }
  std::size_t bytes() const override { return bytes_; }

 private:
  AlignedBytes memory_;
  std::size_t bytes_;
  Counter total_;
};

class HostStagingBuffer final : public StagingBuffer {
 public:
  HostStagingBuffer(std::size_t bytes, Counter total) : memory_(bytes, std::move(total)) {}
  std::byte* host() override { return static_cast<std::byte*>(memory_.data()); }
  std::byte* device() override { return host(); }
  std::size_t bytes() const override { return memory_.bytes(); }

 private:
  HostBuffer memory_;
};

int thread_count(int asked) {
  if (asked < 0 || asked > 1024)
    throw InvalidArgument(fmt::format("threads: {} is not in [0, 1024]; 0 means one per core", asked));
  return asked > 0 ? asked : available_cpus();
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

  std::unique_ptr<Buffer> alloc(std::size_t bytes) override { return std::make_unique<HostBuffer>(bytes, buffer_bytes_); }
  void upload(void* device, const void* host, std::size_t bytes) override {
    if (bytes > 0) std::memcpy(device, host, bytes);  // memcpy takes no null pointers, not even for 0 bytes
  }
  void download(void* host, const void* device, std::size_t bytes) override {
    if (bytes > 0) std::memcpy(host, device, bytes);
  }
  void synchronise() override {}
  std::uint64_t free_bytes() const override {
    // Buffers take memory when they are first written.
    const std::uint64_t available = available_memory();
    return available - std::min<std::uint64_t>(available, *buffer_bytes_);
  }
  double kv_cache_share() const override { return 0.25; }  // others use this memory too
  std::int64_t max_num_batched_tokens() const override {
    return 256;
  }  // larger steps are no faster, and others wait for them

  std::unique_ptr<Weight> load_weight(std::span<const WeightView> parts) override {
    return pack(parts, weight_memory_, pool_);
  }
  void check_kv_cache_shape(const KvCacheShape& shape) const override { cpu::check_kv_cache_shape(shape); }
  std::unique_ptr<KvCache> create_kv_cache(const KvCacheShape& shape) override {
    return std::make_unique<CpuKvCache>(shape);
  }

  std::unique_ptr<RopeTables> load_rope(const RopeParams& params, const float* factors) override {
    return std::make_unique<RopeTable>(params, factors);
  }
  std::unique_ptr<StagingBuffer> create_staging_buffer(std::size_t bytes) override {
    return std::make_unique<HostStagingBuffer>(bytes, buffer_bytes_);
  }
  void run_step(StagingBuffer&, std::size_t, StagingBuffer&, std::size_t, bool,
                const std::function<void()>& forward) override {
    if (!first_step_) weight_memory_.move_to_huge_pages(kMoving);  // for which a program's first token does not wait
    first_step_ = false;
    forward();
  }

  void embed(const EmbedArgs& args) override {
    const auto& table = static_cast<const PackedWeight&>(*args.table);
    pool_.parallel_for(args.tokens, kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t t = begin; t < end; ++t) unpack_row(table, args.ids[t], args.out + t * table.cols());
    });
  }

  void rms_norm(const RmsNormArgs& args) override {
    for_tokens(pool_, args.tokens, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t at = begin * args.hidden_size; at < end * args.hidden_size; at += args.hidden_size)
        kernels_.rms_norm_row(args.residual + at, args.delta ? args.delta + at : nullptr, args.weight, args.hidden_size,
                              args.epsilon, static_cast<float*>(args.out) + at);
    });
  }

  void gather_rows(const GatherRowsArgs& args) override {
    for_tokens(pool_, args.count, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        std::copy_n(args.in + args.rows[i] * args.stride, args.width, args.out + i * args.width);
    });
  }

  void matmul(const MatmulArgs& args) override { matmul_.run(args); }

  void rope_append(const RopeAppendArgs& args) override {
    if (args.metadata.num_tokens == 0) return;
    auto& rope = static_cast<RopeTable&>(*args.rope.tables);
    rope.extend(*std::max_element(args.metadata.positions, args.metadata.positions + args.metadata.num_tokens));
    // Keys of one block lie in the same cache lines, which threads should not share.
    const std::int64_t grain = args.metadata.num_tokens > 4 * kKvBlockSize ? kKvBlockSize : kRowGrain;
    for_tokens(pool_, args.metadata.num_tokens, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) rope_append_token(args, rope, t);
    });
  }

  void paged_attention(const PagedAttentionArgs& args) override { attention_.run(args); }

  void gated_matmul(const GatedMatmulArgs& args) override {
    matmul({args.weight, args.x, args.bias, args.tokens, args.gate_up});
    swiglu({args.gate_up, args.tokens, args.intermediate_size(), args.out});
  }

  void swiglu(const SwigluArgs& args) override {
    const auto part = [&](std::int64_t token, std::int64_t from, std::int64_t count) {
      const float* gate = args.gate_up + token * 2 * args.intermediate_size + from;
      kernels_.swiglu_row(gate, gate + args.intermediate_size, count,
                          static_cast<float*>(args.out) + token * args.intermediate_size + from);
    };
    if (args.tokens >= kRowGrain) {
      for_tokens(pool_, args.tokens, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t) part(t, 0, args.intermediate_size);
      });
      return;
    }
    // Rows are cut, so that a single token keeps every thread busy.
    constexpr std::int64_t kPart = 768;
    const std::int64_t parts = ceil_div(args.intermediate_size, kPart);
    pool_.parallel_for(args.tokens * parts, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i)
        part(i / parts, i % parts * kPart, std::min(kPart, args.intermediate_size - i % parts * kPart));
    });
  }

  void sample(const SampleArgs& args) override { sampler_.run(args); }

  void copy_block(const CopyBlockArgs& args) override { cpu::copy_block(args.cache, args.from, args.to); }

 private:
  static constexpr std::chrono::milliseconds kMoving{4};  // what a step may take longer while weights move
  static constexpr std::int64_t kRowGrain = 4;            // rows that are cheaper done at once than handed out

  void rope_append_token(const RopeAppendArgs& args, const RopeTable& rope, std::int64_t t) {
    const KvCacheView& kv = args.cache;
    const std::int64_t position = args.metadata.positions[t];
    if (position < 0) return;
    const std::int32_t block =
        args.metadata
            .block_tables[args.metadata.token_to_seq[t] * args.metadata.max_blocks_per_seq + position / kKvBlockSize];
    const std::size_t offset = static_cast<std::size_t>(block) * block_bytes(kv);
    const std::int64_t slot = position % kKvBlockSize;
    const float* table = rope.row(position);
    const auto row = [t](const TensorView& rows) { return static_cast<float*>(rows.data) + t * rows.stride; };

    const auto rotate = [&](float* head) {
      float rotated[kMaxHeadDim];
      kernels_.rotate_row(head, table, args.rope.dims, args.rope.interleaved, rotated);
      std::memcpy(head, rotated, static_cast<std::size_t>(args.rope.dims) * sizeof(float));
    };
    for (std::int64_t h = 0; h < args.num_heads; ++h) rotate(row(args.queries) + h * kv.head_dim);
    for (std::int64_t h = 0; h < kv.num_kv_heads; ++h) {
      float* key = row(args.keys) + h * kv.head_dim;
      const float* value = row(args.values) + h * kv.head_dim;
      rotate(key);
      std::byte* base = head_base(kv, args.layer, h) + offset;
      if (kv.type == DType::f16) {
        std::uint16_t narrow[kMaxHeadDim];
        kernels_.narrow_row(key, kv.head_dim, narrow);
        auto* keys = reinterpret_cast<std::uint16_t*>(base);
        for (std::int64_t d = 0; d < kv.head_dim; ++d) keys[d * kKvBlockSize + slot] = narrow[d];
        kernels_.narrow_row(value, kv.head_dim, keys + kv.head_dim * (kKvBlockSize + slot));
      } else if (kv.type == DType::bf16) {
        float rounded_key[kMaxHeadDim], rounded_value[kMaxHeadDim];
        kernels_.round_bf16_row(key, kv.head_dim, rounded_key);
        kernels_.round_bf16_row(value, kv.head_dim, rounded_value);
        store_bf16(rounded_key, rounded_value, kv.head_dim, slot, base);
      } else if (kv.type == DType::int8) {
        Int8Head whole_key, whole_value;
        kernels_.quantise_head(key, kv.head_dim, kInt8Group, &whole_key);
        kernels_.quantise_head(value, kv.head_dim, align_up(kv.head_dim, kKvBlockSize), &whole_value);
        store_int8(whole_key, whole_value, kv.head_dim, slot, base);
      } else {
        auto* keys = reinterpret_cast<float*>(base);
        for (std::int64_t d = 0; d < kv.head_dim; ++d) keys[d * kKvBlockSize + slot] = key[d];
        std::memcpy(keys + kv.head_dim * (kKvBlockSize + slot), value,
                    static_cast<std::size_t>(kv.head_dim) * sizeof(float));
      }
    }
  }

  CpuIsa isa_;
  const Kernels& kernels_;
  WeightMemory weight_memory_;
  bool first_step_ = true;
  ThreadPool pool_;
  Matmul matmul_;
  Attention attention_;
  BatchSampler sampler_;
  const Counter buffer_bytes_ = std::make_shared<std::atomic<std::uint64_t>>(0);
};

}  // namespace
}  // namespace cpu

std::unique_ptr<Backend> create_cpu_backend(const DeviceOptions& options) {
  return std::make_unique<cpu::CpuBackend>(options);
}

}  // namespace warploom
