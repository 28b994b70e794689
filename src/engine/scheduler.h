// Decides what each step computes: which sequences run, how many of their tokens, in which blocks. It knows no device, no
// callback and no text. What it decides never changes a token, since a sequence's results do not depend on what shares its
// steps (on CUDA, with CudaOptions::deterministic).
#pragma once

#include <cstdint>
#include <map>
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
  bool use_kv_cache = true;               // false: every step computes whole sequences
  std::int64_t max_num_logits = 1 << 20;  // maximum number of rows of logits in a step
  std::int64_t priority_window = 256;     // as in EngineOptions
};

struct ScheduledSequence {
  Sequence* sequence = nullptr;
  std::int64_t num_tokens = 0;  // [num_computed_tokens, num_computed_tokens + num_tokens) of the sequence
  std::int64_t num_logits = 0;  // of its last tokens: all of them if they are scored, else one if it samples
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

  /// Queues a group behind those that came before it, and behind or before others by their priorities.
  void add(std::shared_ptr<SequenceGroup> group);

  /// The next step. Every schedule() but an empty one is followed by commit(), or by abort() of every group in it. Sequences
  /// that have finished are valid until the next schedule(). The cost grows with the logarithm of the number of sequences that
  /// wait.
  const ScheduledBatch& schedule();
  /// The last one that schedule() gave.
  const ScheduledBatch& batch() const { return batch_; }

  /// Takes the step's results, one for each sequence that samples, in order: appends tokens, and finishes sequences that came
  /// to their end by a token, by length, or by bad logits.
  void commit(std::span<const SampleResult> results);

  /// Ends a running sequence for a reason that lies outside the scheduler. Its blocks go back to the pool.
  void finish(Sequence& sequence, FinishReason reason);

  /// Ends all of a group's sequences, waiting ones too.
  void abort(SequenceGroup& group, FinishReason reason);

  bool has_unfinished() const { return !waiting_.empty() || !preempted_.empty() || !running_.empty(); }
  std::int64_t num_running() const { return static_cast<std::int64_t>(running_.size()); }
  /// Groups of which no sequence was admitted.
  std::int64_t num_waiting() const { return static_cast<std::int64_t>(waiting_.size()) - num_partly_started_; }
  std::int64_t num_preempted() const { return static_cast<std::int64_t>(preempted_.size()); }
  std::int64_t num_preemptions() const { return num_preemptions_; }

  /// Throws std::logic_error unless the blocks' references are those of the running sequences.
  void check_blocks() const;

 private:
  /// What a step may still take.
  struct Budget {
    std::int64_t tokens, logits;
  };

  void schedule_running(Budget& budget);
  void admit(Budget& budget);
  std::unique_ptr<Sequence> take_next();
  void put_back(std::unique_ptr<Sequence> sequence);
  bool fits(Sequence& sequence);
  bool reuse_prefix(Sequence& sequence);
  bool fork_from_sibling(Sequence& sequence);
  bool is_being_computed(const Sequence& sequence, std::span<const TokenId> tokens) const;
  ScheduledSequence next_part(Sequence& sequence, Budget budget) const;
  void push(const ScheduledSequence& part, Budget& budget);
  bool reserve(Sequence& sequence, std::int64_t num_tokens);
  void preempt_last();
  void register_blocks(Sequence& sequence);
  FinishReason reason_after(const Sequence& sequence) const;
  std::unique_ptr<Sequence> take(Sequence& sequence);

  BlockPool& pool_;
  SchedulerOptions options_;
  std::int64_t num_added_ = 0;
  std::map<Turn, std::shared_ptr<SequenceGroup>> waiting_;  // by their next sequence; the first ones may have started others
  std::int64_t num_partly_started_ = 0;                     // of these
  std::map<Turn, std::unique_ptr<Sequence>> preempted_;
  std::vector<std::unique_ptr<Sequence>> running_;   // by turn: the last is preempted first
  std::vector<std::unique_ptr<Sequence>> finished_;  // since the last schedule()
  ScheduledBatch batch_;
  std::int64_t free_when_refused_ = 0;  // blocks, when the next in turn last found too few; 0 since anything changed
  std::vector<TokenId> block_tokens_;   // scratch
  std::int64_t num_preemptions_ = 0;
};

}  // namespace warploom
