// Runs sequences to their ends: admits them, packs each step with decodes and pieces of prompts, and makes room where the KV
// pool runs short. Which sequences share a step never shows in their tokens.
#pragma once

#include <memory>
#include <vector>

#include "engine/run_memory.h"
#include "engine/sequence.h"

namespace warploom {

class Scheduler {
 public:
  struct Limits {
    std::int64_t max_num_batched_tokens = 512;  // most tokens of unfinished prompts in a step
    std::int64_t max_num_seqs = 64;             // most sequences admitted at a time
    std::int64_t context_length = 0;
    bool kv_cache = true;
    bool logprobs = false;
    std::function<bool()> abort_requested;  // asked before each step; may be null
  };

  Scheduler(RunMemory& memory, const Limits& limits);

  /// Returns when every sequence has finished; their blocks are back in the pool then, or with the texts that are kept, and also
  /// when something throws.
  void run(std::vector<Sequence>& sequences, const TokenCallback& callback);

 private:
  struct Part {  // of a step: pending tokens [cached, cached + count) of a sequence
    Sequence* sequence;
    std::int64_t count;
    bool sampled;  // its last pending token is among them
  };

  void admit();
  bool share_prefix(Sequence& sequence);
  std::int64_t shareable(const Sequence& sequence, const Sequence& other) const;
  bool make_free(std::int64_t blocks);
  void plan_step(const TokenCallback& callback);
  bool make_room(Sequence& sequence, std::int64_t tokens);
  void preempt(Sequence& victim);
  void build_input();
  void run_step();
  void finish_step(Clock::time_point start, const TokenCallback& callback);
  void leave(Sequence& sequence);
  void keep_text(Sequence& sequence);
  void cancel(const TokenCallback& callback);

  ModelRunner& session_;
  KvCache& cache_;
  BlockPool& pool_;
  PrefixIndex* texts_;  // null: none are kept
  Limits limits_;
  CopyBlock copy_;
  std::vector<Sequence*> waiting_;  // in order of arrival; preempted ones in front
  std::vector<Sequence*> running_;  // in order of admission: the youngest is preempted first
  std::vector<Part> step_;
  ModelInput input_;
  std::vector<SamplingInput> rows_;
  std::vector<SampleResult> results_;
};

}  // namespace warploom
