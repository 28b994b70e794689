#include "engine/scheduler.h"

#include <algorithm>

namespace warploom {

Scheduler::Scheduler(RunMemory& memory, const Limits& limits)
    : session_(memory.session()),
      cache_(memory.cache()),
      pool_(memory.pool()),
      texts_(memory.texts()),
      limits_(limits),
      copy_([this](std::int32_t from, std::int32_t to) { session_.copy_block(cache_, from, to); }) {}

void Scheduler::run(std::vector<Sequence>& sequences, const TokenCallback& callback) {
  struct GiveBack {
    std::vector<Sequence>& sequences;
    ~GiveBack() {
      for (Sequence& sequence : sequences) sequence.table.clear();
    }
  } give_back{sequences};

  const Clock::time_point start = Clock::now();
  for (Sequence& sequence : sequences) waiting_.push_back(&sequence);
  while (!waiting_.empty() || !running_.empty()) {
    if (limits_.abort_requested && limits_.abort_requested()) return cancel(callback);
    admit();
    plan_step(callback);
    if (step_.empty()) continue;  // a sequence ended for want of blocks
    build_input();
    run_step();
    finish_step(start, callback);
  }
}

// First come, first served. The first is admitted even where its blocks will not suffice: then it runs until they end.
void Scheduler::admit() {
  while (!waiting_.empty() && static_cast<std::int64_t>(running_.size()) < limits_.max_num_seqs) {
    Sequence& next = *waiting_.front();
    if (limits_.kv_cache && !share_prefix(next)) return;
    const std::int64_t whole_blocks = next.cached / pool_.block_size();  // a shared part of one is copied
    const std::int64_t blocks = pool_.blocks_for(static_cast<std::int64_t>(next.tokens.size()) + 1) - whole_blocks;
    if (!make_free(blocks) && !running_.empty()) return next.forget();
    waiting_.erase(waiting_.begin());
    if (!next.started) next.generation.timings.cached_tokens = next.cached;
    next.started = true;
    running_.push_back(&next);
  }
}

// Begins with what a kept text or a running sequence has computed. False where it is better to wait: a running one is about to.
bool Scheduler::share_prefix(Sequence& sequence) {
  std::int64_t most = 0;
  if (texts_) most = texts_->share(sequence.all_but_last(), sequence.table);
  sequence.cached = most;
  const Sequence* best = nullptr;
  for (const Sequence* other : running_) {
    const std::int64_t tokens = shareable(sequence, *other);
    const bool sooner = best && tokens == most && best->cached < most && other->cached >= most;
    if (tokens <= most && !sooner) continue;
    most = tokens;
    best = other;
  }
  if (!best) return true;
  sequence.forget();
  if (best->cached < most) return false;
  sequence.table.fork(best->table, most);
  sequence.cached = most;
  return true;
}

// Continuations of one prompt share all of it but the last token, which each computes for its logits. Others share whole blocks.
std::int64_t Scheduler::shareable(const Sequence& sequence, const Sequence& other) const {
  if (sequence.generation.prompt == other.generation.prompt) return sequence.prompt_size() - 1;
  return common_blocks(sequence.all_but_last(), other.tokens, pool_.block_size());
}

// Lets go of kept texts, where that gives enough; else they stay.
bool Scheduler::make_free(std::int64_t blocks) {
  if (pool_.free_count() >= blocks) return true;
  if (!texts_ || pool_.free_count() + texts_->reclaimable(pool_) < blocks) return false;
  while (pool_.free_count() < blocks) texts_->evict();
  return true;
}

void Scheduler::plan_step(const TokenCallback& callback) {
  step_.clear();
  std::int64_t chunk = limits_.max_num_batched_tokens;
  // Oldest first: they finish first and give their blocks back. Preemption takes from the youngest, which come later.
  for (std::size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    const std::int64_t pending = sequence.pending();
    std::int64_t count = pending;
    if (pending > 1) {
      count = std::min(pending, chunk);
      chunk -= count;
    }
    if (count == 0) continue;
    if (!make_room(sequence, sequence.cached + count)) {
      if (running_.size() == 1) {
        sequence.end(FinishReason::context_full, callback);
        keep_text(sequence);
        leave(sequence);
      } else {
        preempt(sequence);
      }
      --i;
      continue;
    }
    step_.push_back({&sequence, count, count == pending});
  }
}

// Takes blocks from kept texts, then from the youngest sequences, until positions up to `tokens` are writable; false where only
// older ones are left.
bool Scheduler::make_room(Sequence& sequence, std::int64_t tokens) {
  while (!sequence.table.ensure_writable(sequence.cached, tokens, copy_)) {
    if (make_free(pool_.free_count() + 1)) continue;
    if (running_.back() == &sequence) return false;
    preempt(*running_.back());
  }
  return true;
}

void Scheduler::preempt(Sequence& victim) {
  leave(victim);
  victim.forget();
  waiting_.insert(waiting_.begin(), &victim);
}

void Scheduler::leave(Sequence& sequence) {
  sequence.table.clear();
  std::erase(running_, &sequence);
}

// Bad logits come from keys and values that nobody should begin with.
void Scheduler::keep_text(Sequence& sequence) {
  if (!texts_ || sequence.generation.finish_reason == FinishReason::invalid_logits) return;
  texts_->keep(std::span(sequence.tokens).first(static_cast<std::size_t>(sequence.cached)), std::move(sequence.table));
}

void Scheduler::cancel(const TokenCallback& callback) {
  for (const auto* list : {&running_, &waiting_})
    for (Sequence* sequence : *list) {
      sequence->end(FinishReason::cancelled, callback);
      keep_text(*sequence);
    }
  running_.clear();
  waiting_.clear();
}

void Scheduler::build_input() {
  input_.clear();
  for (const Part& part : step_)
    input_.max_blocks_per_seq =
        std::max(input_.max_blocks_per_seq, static_cast<std::int64_t>(part.sequence->table.blocks().size()));
  for (std::size_t s = 0; s < step_.size(); ++s) {
    const Sequence& sequence = *step_[s].sequence;
    for (std::int64_t p = sequence.cached; p < sequence.cached + step_[s].count; ++p) {
      input_.ids.push_back(sequence.tokens[static_cast<std::size_t>(p)]);
      input_.positions.push_back(static_cast<std::int32_t>(p));
      input_.sequences.push_back(static_cast<std::int32_t>(s));
    }
    const auto blocks = sequence.table.blocks();
    input_.block_tables.insert(input_.block_tables.end(), blocks.begin(), blocks.end());
    input_.block_tables.resize((s + 1) * static_cast<std::size_t>(input_.max_blocks_per_seq), 0);
    if (step_[s].sampled) input_.outputs.push_back(static_cast<std::int32_t>(input_.ids.size()) - 1);
  }
}

void Scheduler::run_step() {
  rows_.clear();
  for (const Part& part : step_)
    if (part.sampled) rows_.push_back(part.sequence->sample_row());
  results_.resize(rows_.size());
  session_.run(input_, cache_, rows_, limits_.logprobs, results_);
}

void Scheduler::finish_step(Clock::time_point start, const TokenCallback& callback) {
  for (const Part& part : step_) part.sequence->cached += part.count;
  std::size_t next = 0;
  for (const Part& part : step_) {
    if (!part.sampled) continue;
    Sequence& sequence = *part.sequence;
    const bool room = static_cast<std::int64_t>(sequence.tokens.size()) + 1 < limits_.context_length;
    sequence.take(results_[next++], room, start, callback);
    if (sequence.finished()) {
      keep_text(sequence);
      leave(sequence);
    } else if (!limits_.kv_cache) {
      sequence.cached = 0;
    }
  }
}

}  // namespace warploom
