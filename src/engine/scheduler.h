// Decides what each step computes: which sequences run, how many of their tokens, in which blocks. It knows no device, no callback
// and no text. What it decides never changes a token, since a sequence's results do not depend on what shares its steps (on CUDA, with
// CudaOptions::deterministic).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "engine/sequence.h"
#include "warploom/block_pool.h"

namespace warploom {

struct SchedulerOptions {
  std::int64_t max_num_seqs = 64;             // maximum number of sequences admitted at a time
  std::int64_t max_num_batched_tokens = 512;  // maximum number of tokens in a step
  std::int64_t context_length = 0;            // maximum number of tokens of a sequence
  bool enable_prefix_caching = true;
  bool use_kv_cache = true;  // false: every step computes whole sequences
};

struct ScheduledSequence {
  Sequence* sequence = nullptr;
  std::int64_t num_tokens = 0;  // [num_computed_tokens, num_computed_tokens + num_tokens) of the sequence
  bool samples = false;         // its last token is among them, so it draws the next one
};

struct ScheduledBatch {
  std::vector<ScheduledSequence> sequences;
  std::vector<BlockCopy> copies;     // to do in this order before anything is computed
  std::vector<Sequence*> exhausted;  // finished as context_full for want of blocks
};

class Scheduler {
 public:
  Scheduler(BlockPool& pool, const SchedulerOptions& options) : pool_(pool), options_(options) {}

  /// Queues a group behind all others.
  void add(std::shared_ptr<SequenceGroup> group);

  /// The next step. Every schedule() but an empty one is followed by commit(). Sequences that have finished are valid until the
  /// next schedule(). The cost does not depend on how many sequences wait.
  const ScheduledBatch& schedule();

  /// Takes the step's results, one for each sequence that samples, in order: appends tokens, and finishes sequences that came to their
  /// end by a token, by length, or by bad logits.
  void commit(std::span<const SampleResult> results);

  /// Ends a running sequence for a reason that lies outside the scheduler. Its blocks go back to the pool.
  void finish(Sequence& sequence, FinishReason reason);

  /// Ends all of a group's sequences, waiting ones too, as `cancelled`. The cost is linear in the number of groups that wait before it.
  void abort(const SequenceGroup& group);

  bool has_unfinished() const { return !waiting_.empty() || !preempted_.empty() || !running_.empty(); }
  std::int64_t num_running() const { return static_cast<std::int64_t>(running_.size()); }
  std::int64_t num_preemptions() const { return num_preemptions_; }

 private:
  enum class Admission : std::uint8_t { admitted, not_now };

  void schedule_running(std::int64_t& budget);
  void admit(std::int64_t& budget);
  Admission try_admit(std::unique_ptr<Sequence>& sequence);
  bool reuse_prefix(Sequence& sequence);
  bool fork_from_sibling(Sequence& sequence);
  bool is_being_computed(const Sequence& sequence, std::span<const TokenId> tokens) const;
  void push(Sequence& sequence, std::int64_t count, std::int64_t& budget);
  bool reserve(Sequence& sequence, std::int64_t num_tokens);
  void preempt_youngest();
  void register_blocks(Sequence& sequence);
  FinishReason reason_after(const Sequence& sequence) const;
  std::unique_ptr<Sequence> take(Sequence& sequence);

  BlockPool& pool_;
  SchedulerOptions options_;
  std::deque<std::shared_ptr<SequenceGroup>>
      waiting_;                                      // in order of arrival; the front may have started some of its sequences
  std::deque<std::unique_ptr<Sequence>> preempted_;  // come before those that wait
  std::vector<std::unique_ptr<Sequence>> running_;   // in order of admission: the youngest is preempted first
  std::vector<std::unique_ptr<Sequence>> finished_;  // since the last schedule()
  ScheduledBatch batch_;
  std::int64_t free_when_refused_ = 0;  // blocks, when the first that waits last found too few; 0 since a sequence left
  std::vector<TokenId> block_tokens_;   // scratch
  std::int64_t num_preemptions_ = 0;
};

}  // namespace warploom
