#include "engine/scheduler.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace warploom {

namespace {

// Whether logits of its prompt are still wanted, for their log-probabilities.
bool is_scored(const Sequence& sequence) {
  const SequenceGroup& group = *sequence.group;
  return group.prompt_logprobs && sequence.index == 0 && group.num_scored < group.prompt_size();
}

}  // namespace

void Scheduler::add(std::shared_ptr<SequenceGroup> group) {
  group->order = ++num_added_ + options_.priority_window * group->priority;
  if (waiting_.empty() || group->next_turn() < waiting_.begin()->first) free_when_refused_ = 0;
  const Turn turn = group->next_turn();
  waiting_.emplace_hint(waiting_.end(), turn, std::move(group));
}

const ScheduledBatch& Scheduler::schedule() {
  batch_.sequences.clear();
  batch_.copies.clear();
  batch_.exhausted.clear();
  finished_.clear();
  Budget budget{options_.max_num_batched_tokens, options_.max_num_logits};
  const std::int64_t preemptions = num_preemptions_;
  schedule_running(budget);
  if (num_preemptions_ == preemptions) admit(budget);
  return batch_;
}

// First in turn first: they finish first and free their blocks. Blocks are taken from the last, which come later. Prompts leave
// one token and one row of logits of the budget to each sequence that decodes.
void Scheduler::schedule_running(Budget& budget) {
  std::int64_t decoding = std::ranges::count_if(running_, [](const auto& s) { return s->num_new_tokens() == 1; });
  for (std::size_t i = 0; i < running_.size() && budget.tokens > 0; ++i) {
    Sequence& sequence = *running_[i];
    if (sequence.num_new_tokens() == 1) --decoding;
    const ScheduledSequence part = next_part(sequence, {budget.tokens - decoding, budget.logits - decoding});
    if (part.num_tokens <= 0) continue;
    if (reserve(sequence, part.num_tokens)) {
      push(part, budget);
    } else if (running_.size() == 1) {
      batch_.exhausted.push_back(&sequence);
      finish(sequence, FinishReason::context_full);
    } else {
      preempt_last();  // which is this one: the later ones are gone
    }
  }
}

void Scheduler::admit(Budget& budget) {
  while (budget.tokens > 0 && num_running() < options_.max_num_seqs) {
    if (!running_.empty() && pool_.free_count() <= free_when_refused_) return;  // nothing has changed since
    std::unique_ptr<Sequence> next = take_next();
    if (!next) return;
    if (!fits(*next)) return put_back(std::move(next));
    const ScheduledSequence part = next_part(*next, budget);
    if (part.num_tokens <= 0) return put_back(std::move(next));
    Sequence& sequence = *next;
    if (sequence.group->num_cached_tokens < 0) sequence.group->num_cached_tokens = sequence.num_computed_tokens;
    sequence.group->running.push_back(&sequence);
    sequence.was_admitted = true;
    const auto place = std::ranges::upper_bound(running_, sequence.turn(), {}, [](const auto& s) { return s->turn(); });
    running_.insert(place, std::move(next));
    if (!reserve(sequence, part.num_tokens)) {  // alone, and the pool is too small for it
      batch_.exhausted.push_back(&sequence);
      finish(sequence, FinishReason::context_full);
      return;
    }
    push(part, budget);
  }
}

// The first in turn of those that are preempted or wait; null if there are none.
std::unique_ptr<Sequence> Scheduler::take_next() {
  if (preempted_.empty() && waiting_.empty()) return nullptr;
  if (waiting_.empty() || (!preempted_.empty() && preempted_.begin()->first < waiting_.begin()->first))
    return std::move(preempted_.extract(preempted_.begin()).mapped());
  auto node = waiting_.extract(waiting_.begin());
  SequenceGroup& group = *node.mapped();
  if (group.num_started > 0) --num_partly_started_;
  auto sequence = std::make_unique<Sequence>(node.mapped(), group.num_started++, pool_);
  if (group.num_started < group.n) {
    ++num_partly_started_;
    node.key() = group.next_turn();
    waiting_.insert(std::move(node));
  }
  return sequence;
}

void Scheduler::put_back(std::unique_ptr<Sequence> sequence) {
  sequence->free_blocks();
  const Turn turn = sequence->turn();
  const std::shared_ptr<SequenceGroup>& group = sequence->group;
  if (sequence->was_admitted) {
    preempted_.emplace(turn, std::move(sequence));
  } else {
    if (waiting_.erase(group->next_turn()) > 0) --num_partly_started_;
    if (--group->num_started > 0) ++num_partly_started_;
    waiting_.emplace(turn, group);
  }
}

// Takes the blocks that hold its prefix. A sequence needs blocks for all its tokens and one more. If nothing runs, it is admitted
// without: then it runs until they end.
bool Scheduler::fits(Sequence& sequence) {
  if (options_.use_kv_cache && !reuse_prefix(sequence)) return false;
  const std::int64_t whole_blocks = sequence.num_computed_tokens / pool_.block_size();  // a shared part of one is copied
  const std::int64_t needed = pool_.blocks_for(sequence.num_tokens() + 1) - whole_blocks;
  if (pool_.free_count() >= needed || running_.empty()) return true;
  sequence.free_blocks();
  free_when_refused_ = pool_.free_count();
  return false;
}

// Begins with the blocks that hold its first tokens already. False if it is better to wait, since a sequence of this step is
// about to compute more of them. The last token is computed in any case, for its logits.
bool Scheduler::reuse_prefix(Sequence& sequence) {
  if (sequence.output_token_ids.empty() && !sequence.group->running.empty()) return fork_from_sibling(sequence);
  if (!options_.enable_prefix_caching) return true;
  const std::int64_t block_size = pool_.block_size();
  std::int64_t limit = (sequence.num_tokens() - 1) / block_size;
  if (is_scored(sequence)) limit = std::min(limit, sequence.group->num_scored / block_size);
  Prefix prefix;
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

// As much as the budget allows.
ScheduledSequence Scheduler::next_part(Sequence& sequence, Budget budget) const {
  std::int64_t count = std::min(sequence.num_new_tokens(), budget.tokens);
  const bool draws = sequence.group->max_tokens > 0;
  if (is_scored(sequence)) {
    const std::int64_t again = sequence.group->num_scored - sequence.num_computed_tokens;  // after a preemption
    if (again > 0) return {&sequence, std::min(count, again), 0, false};
    count = std::min(count, budget.logits);
    return {&sequence, count, count, draws && count == sequence.num_new_tokens()};
  }
  const bool samples = draws && count == sequence.num_new_tokens();
  if (samples && budget.logits < 1) return {&sequence, count - 1, 0, false};
  return {&sequence, count, samples ? 1 : 0, samples};
}

void Scheduler::push(const ScheduledSequence& part, Budget& budget) {
  budget.tokens -= part.num_tokens;
  budget.logits -= part.num_logits;
  batch_.sequences.push_back(part);
}

// Makes room for the next `num_tokens` tokens, by preempting later sequences if need be. False if only earlier ones are left.
bool Scheduler::reserve(Sequence& sequence, std::int64_t num_tokens) {
  const std::int64_t from = sequence.num_computed_tokens;
  while (!sequence.block_table.ensure_writable(from, from + num_tokens, batch_.copies)) {
    if (running_.back().get() == &sequence) return false;
    preempt_last();
  }
  return true;
}

void Scheduler::preempt_last() {
  std::unique_ptr<Sequence> victim = take(*running_.back());
  victim->free_blocks();
  const Turn turn = victim->turn();
  preempted_.emplace(turn, std::move(victim));
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
    if (scheduled.num_logits > 0 && is_scored(sequence)) sequence.group->num_scored = sequence.num_computed_tokens;
    if (!result) {
      if (sequence.group->max_tokens == 0 && sequence.num_new_tokens() == 0) finish(sequence, FinishReason::length);
      continue;
    }
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
    const Prefix parent = i == 0 ? Prefix() : sequence.prefixes.back();
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

void Scheduler::abort(SequenceGroup& group, FinishReason reason) {
  const std::vector<Sequence*> running = group.running;
  for (Sequence* sequence : running) finish(*sequence, reason);
  free_when_refused_ = 0;
  if (waiting_.erase(group.next_turn()) > 0 && group.num_started > 0) --num_partly_started_;
  const auto first = preempted_.lower_bound({group.order, group.request_id, 0});
  const auto last = preempted_.upper_bound({group.order, group.request_id, group.n});
  preempted_.erase(first, last);
}

void Scheduler::check_blocks() const {
  pool_.check();
  std::vector<int> owners(static_cast<std::size_t>(pool_.size()));
  for (const auto& sequence : running_)
    for (const std::int32_t block : sequence->block_table.blocks()) ++owners[static_cast<std::size_t>(block)];
  for (std::int32_t block = 0; block < pool_.size(); ++block)
    if (owners[static_cast<std::size_t>(block)] != pool_.ref_count(block))
      throw std::logic_error(fmt::format("block {} has {} references, but {} running sequences hold it", block,
                                         pool_.ref_count(block), owners[static_cast<std::size_t>(block)]));
}

}  // namespace warploom
