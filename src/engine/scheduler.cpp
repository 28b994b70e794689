#include "engine/scheduler.h"

#include <algorithm>
#include <utility>

namespace warploom {

void Scheduler::add(std::shared_ptr<SequenceGroup> group) { waiting_.push_back(std::move(group)); }

const ScheduledBatch& Scheduler::schedule() {
  batch_.sequences.clear();
  batch_.copies.clear();
  batch_.exhausted.clear();
  finished_.clear();
  std::int64_t budget = options_.max_num_batched_tokens;
  const std::int64_t preemptions = num_preemptions_;
  schedule_running(budget);
  if (num_preemptions_ == preemptions) admit(budget);
  return batch_;
}

// Oldest first: they finish first and free their blocks. Blocks are taken from the youngest, which come later. Prompts leave one token
// of the budget to each sequence that decodes.
void Scheduler::schedule_running(std::int64_t& budget) {
  std::int64_t decoding = std::ranges::count_if(running_, [](const auto& s) { return s->num_new_tokens() == 1; });
  for (std::size_t i = 0; i < running_.size() && budget > 0; ++i) {
    Sequence& sequence = *running_[i];
    const std::int64_t pending = sequence.num_new_tokens();
    if (pending == 1) --decoding;
    const std::int64_t count = std::min(pending, budget - decoding);
    if (count <= 0) continue;
    if (reserve(sequence, count)) {
      push(sequence, count, budget);
    } else if (running_.size() == 1) {
      batch_.exhausted.push_back(&sequence);
      finish(sequence, FinishReason::context_full);
    } else {
      preempt_youngest();  // which is this one: the younger ones are gone
    }
  }
}

// First come, first served.
void Scheduler::admit(std::int64_t& budget) {
  while (budget > 0 && num_running() < options_.max_num_seqs) {
    std::unique_ptr<Sequence> sequence;
    const bool preempted = !preempted_.empty();
    if (preempted) {
      sequence = std::move(preempted_.front());
    } else if (!waiting_.empty()) {
      const auto& group = waiting_.front();
      sequence = std::make_unique<Sequence>(group, group->num_started, pool_);
    } else {
      return;
    }
    Sequence& candidate = *sequence;
    if (try_admit(sequence) == Admission::not_now) {
      candidate.free_blocks();
      if (preempted) preempted_.front() = std::move(sequence);
      return;
    }
    if (preempted)
      preempted_.pop_front();
    else if (++candidate.group->num_started == candidate.group->n)
      waiting_.pop_front();
    const std::int64_t count = std::min(candidate.num_new_tokens(), budget);
    if (!reserve(candidate, count)) {  // alone, and the pool is too small for it
      batch_.exhausted.push_back(&candidate);
      finish(candidate, FinishReason::context_full);
      return;
    }
    push(candidate, count, budget);
  }
}

// A sequence needs blocks for all its tokens and one more. If nothing runs, it is admitted without: then it runs until they end.
Scheduler::Admission Scheduler::try_admit(std::unique_ptr<Sequence>& sequence) {
  if (!running_.empty() && pool_.free_count() <= free_when_refused_) return Admission::not_now;  // nothing has changed
  if (options_.use_kv_cache && !reuse_prefix(*sequence)) return Admission::not_now;
  const std::int64_t whole_blocks = sequence->num_computed_tokens / pool_.block_size();  // a shared part of one is copied
  const std::int64_t needed = pool_.blocks_for(sequence->num_tokens() + 1) - whole_blocks;
  if (pool_.free_count() < needed && !running_.empty()) {
    sequence->free_blocks();
    free_when_refused_ = pool_.free_count();
    return Admission::not_now;
  }
  if (sequence->group->num_cached_tokens < 0) sequence->group->num_cached_tokens = sequence->num_computed_tokens;
  sequence->group->running.push_back(sequence.get());
  running_.push_back(std::move(sequence));
  return Admission::admitted;
}

// Begins with the blocks that hold its first tokens already. False if it is better to wait, since a sequence of this step is about to
// compute more of them. The last token is computed in any case, for its logits.
bool Scheduler::reuse_prefix(Sequence& sequence) {
  if (sequence.output_token_ids.empty() && !sequence.group->running.empty()) return fork_from_sibling(sequence);
  if (!options_.enable_prefix_caching) return true;
  const std::int64_t block_size = pool_.block_size(), limit = (sequence.num_tokens() - 1) / block_size;
  PrefixId prefix = 0;
  for (std::int64_t i = 0; i < limit; ++i) {
    block_tokens_.clear();
    sequence.copy_tokens(i * block_size, block_size, block_tokens_);
    const auto found = pool_.find(prefix, block_tokens_);
    if (!found) return !is_being_computed(sequence, block_tokens_);
    sequence.block_table.append(found->block);
    sequence.prefixes.push_back(prefix = found->prefix);
    sequence.num_computed_tokens += block_size;
  }
  return true;
}

// Whether a sequence of this step stands at the same prefix and computes a block with these tokens next.
bool Scheduler::is_being_computed(const Sequence& sequence, std::span<const TokenId> tokens) const {
  std::vector<TokenId> theirs;
  for (const ScheduledSequence& scheduled : batch_.sequences) {
    const Sequence& other = *scheduled.sequence;
    if (scheduled.num_tokens == 1 || other.prefixes.size() != sequence.prefixes.size()) continue;
    if (!other.prefixes.empty() && other.prefixes.back() != sequence.prefixes.back()) continue;
    const std::int64_t from = static_cast<std::int64_t>(other.prefixes.size()) * pool_.block_size();
    if (other.num_tokens() < from + pool_.block_size()) continue;
    theirs.clear();
    other.copy_tokens(from, pool_.block_size(), theirs);
    if (std::ranges::equal(theirs, tokens)) return true;
  }
  return false;
}

// Completions of one prompt share all of it but the last token, which each computes for its logits.
bool Scheduler::fork_from_sibling(Sequence& sequence) {
  const std::int64_t shared = sequence.group->prompt_size() - 1;
  for (const Sequence* sibling : sequence.group->running) {
    if (sibling->num_computed_tokens < shared) continue;
    sequence.block_table.fork(sibling->block_table, shared);
    const auto full = std::min(sibling->prefixes.size(), static_cast<std::size_t>(shared / pool_.block_size()));
    sequence.prefixes.assign(sibling->prefixes.begin(), sibling->prefixes.begin() + static_cast<std::ptrdiff_t>(full));
    sequence.num_computed_tokens = shared;
    return true;
  }
  return false;
}

void Scheduler::push(Sequence& sequence, std::int64_t count, std::int64_t& budget) {
  budget -= count;
  batch_.sequences.push_back({&sequence, count, count == sequence.num_new_tokens()});
}

// Makes room for the next `num_tokens` tokens, by preempting younger sequences if need be. False if only older ones are left.
bool Scheduler::reserve(Sequence& sequence, std::int64_t num_tokens) {
  const std::int64_t from = sequence.num_computed_tokens;
  while (!sequence.block_table.ensure_writable(from, from + num_tokens, batch_.copies)) {
    if (running_.back().get() == &sequence) return false;
    preempt_youngest();
  }
  return true;
}

void Scheduler::preempt_youngest() {
  std::unique_ptr<Sequence> victim = take(*running_.back());
  victim->free_blocks();
  preempted_.push_front(std::move(victim));
  ++num_preemptions_;
}

std::unique_ptr<Sequence> Scheduler::take(Sequence& sequence) {
  free_when_refused_ = 0;
  std::erase(sequence.group->running, &sequence);
  const auto at = std::ranges::find(running_, &sequence, &std::unique_ptr<Sequence>::get);
  std::unique_ptr<Sequence> taken = std::move(*at);
  running_.erase(at);
  return taken;
}

void Scheduler::commit(std::span<const SampleResult> results) {
  std::size_t next = 0;
  for (const ScheduledSequence& scheduled : batch_.sequences) {
    Sequence& sequence = *scheduled.sequence;
    sequence.num_computed_tokens += scheduled.num_tokens;
    const SampleResult* result = scheduled.samples ? &results[next++] : nullptr;
    if (result && result->status != SampleStatus::ok) {
      for (const std::int32_t block : sequence.block_table.blocks()) pool_.uncache(block);  // nobody should begin with these
      finish(sequence, FinishReason::invalid_logits);
      continue;
    }
    if (options_.enable_prefix_caching && options_.use_kv_cache) register_blocks(sequence);
    if (!result) continue;
    sequence.output_token_ids.push_back(result->token);
    if (const FinishReason reason = reason_after(sequence); reason != FinishReason::running)
      finish(sequence, reason);
    else if (!options_.use_kv_cache)
      sequence.num_computed_tokens = 0;
  }
}

void Scheduler::register_blocks(Sequence& sequence) {
  const std::int64_t block_size = pool_.block_size();
  while (static_cast<std::int64_t>(sequence.prefixes.size() + 1) * block_size <= sequence.num_computed_tokens) {
    const std::size_t i = sequence.prefixes.size();
    block_tokens_.clear();
    sequence.copy_tokens(static_cast<std::int64_t>(i) * block_size, block_size, block_tokens_);
    const PrefixId parent = i == 0 ? 0 : sequence.prefixes.back();
    sequence.prefixes.push_back(pool_.cache(sequence.block_table.blocks()[i], parent, block_tokens_));
  }
}

FinishReason Scheduler::reason_after(const Sequence& sequence) const {
  const SequenceGroup& group = *sequence.group;
  if (std::ranges::find(group.stop_token_ids, sequence.output_token_ids.back()) != group.stop_token_ids.end())
    return FinishReason::stop_token;
  if (static_cast<std::int64_t>(sequence.output_token_ids.size()) >= group.max_tokens) return FinishReason::length;
  return sequence.num_tokens() < options_.context_length ? FinishReason::running : FinishReason::context_full;
}

void Scheduler::finish(Sequence& sequence, FinishReason reason) {
  sequence.finish_reason = reason;
  finished_.push_back(take(sequence));
  sequence.block_table.clear();
}

void Scheduler::abort(const SequenceGroup& group) {
  const std::vector<Sequence*> running = group.running;
  for (Sequence* sequence : running) finish(*sequence, FinishReason::cancelled);
  free_when_refused_ = 0;
  if (group.num_started < group.n) waiting_.erase(std::ranges::find(waiting_, &group, &std::shared_ptr<SequenceGroup>::get));
  std::erase_if(preempted_, [&](const auto& sequence) { return sequence->group.get() == &group; });
}

}  // namespace warploom
