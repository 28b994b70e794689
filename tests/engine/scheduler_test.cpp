// The scheduler alone: no model, no device. A fake device draws tokens and remembers what each block holds, so that every step can be
// checked: what a sequence has computed must be what its blocks hold.
#include "engine/scheduler.h"

#include <map>
#include <numeric>
#include <random>
#include <set>

#include <gtest/gtest.h>

namespace warploom {
namespace {

using Tokens = std::vector<TokenId>;

std::shared_ptr<SequenceGroup> group_of(std::uint64_t id, Tokens prompt, std::int64_t max_tokens, std::uint32_t n = 1) {
  auto group = std::make_shared<SequenceGroup>();
  group->request_id = id;
  group->prompt = std::move(prompt);
  group->max_tokens = max_tokens;
  group->n = n;
  return group;
}

Tokens tokens_of(const Sequence& sequence, std::int64_t count) {
  Tokens all;
  sequence.copy_tokens(0, count, all);
  return all;
}

/// Stands for the device: a slot of the cache holds the token that was computed there, and everything that it attended to.
class FakeDevice {
 public:
  FakeDevice(std::int64_t num_blocks, std::int64_t block_size)
      : block_size_(block_size), slots_(static_cast<std::size_t>(num_blocks * block_size)) {}

  /// Runs a step, and fails the test if a sequence would read keys that are not its own.
  std::vector<SampleResult> run(const ScheduledBatch& batch) {
    for (const BlockCopy& copy : batch.copies)
      for (std::int64_t i = 0; i < block_size_; ++i) slot(copy.to, i) = slot(copy.from, i);
    std::set<const std::uint64_t*> written;
    for (const ScheduledSequence& s : batch.sequences) {
      const Tokens all = tokens_of(*s.sequence, s.sequence->num_computed_tokens + s.num_tokens);
      std::uint64_t hash = 1;
      for (std::int64_t p = 0; p < static_cast<std::int64_t>(all.size()); ++p) {
        hash = hash * 6364136223846793005u + static_cast<std::uint64_t>(all[static_cast<std::size_t>(p)]) + 1;
        std::uint64_t& held =
            slot(s.sequence->block_table.blocks()[static_cast<std::size_t>(p / block_size_)], p % block_size_);
        if (p < s.sequence->num_computed_tokens) {
          EXPECT_EQ(held, hash) << "position " << p << " of request " << s.sequence->group->request_id;
        } else {
          EXPECT_TRUE(written.insert(&held).second) << "two sequences write to one slot";
          held = hash;
        }
      }
      last_[s.sequence] = hash;
    }
    std::vector<SampleResult> results;
    for (const ScheduledSequence& s : batch.sequences)
      if (s.samples) {
        // The token depends on the sequence's content and on which of the group's it is.
        results.emplace_back().token = static_cast<TokenId>((last_[s.sequence] >> 33) % 50 + s.sequence->index);
        tokens_computed += s.num_tokens;
      }
    return results;
  }

  std::int64_t tokens_computed = 0;

 private:
  std::uint64_t& slot(std::int32_t block, std::int64_t i) {
    return slots_[static_cast<std::size_t>(block * block_size_ + i)];
  }
  std::int64_t block_size_;
  std::vector<std::uint64_t> slots_;
  std::map<const Sequence*, std::uint64_t> last_;
};

/// Outputs by request and index.
using Outputs = std::map<std::pair<std::uint64_t, std::uint32_t>, std::pair<Tokens, FinishReason>>;

Outputs run_to_the_end(Scheduler& scheduler, BlockPool& pool, FakeDevice& device, std::int64_t max_tokens_a_step) {
  Outputs outputs;
  const auto note = [&](const Sequence& s) {
    if (s.finished()) outputs[{s.group->request_id, s.index}] = {s.output_token_ids, s.finish_reason};
  };
  for (int step = 0; scheduler.has_unfinished(); ++step) {
    EXPECT_LT(step, 200000) << "it never ends";
    const ScheduledBatch& batch = scheduler.schedule();
    std::int64_t tokens = 0;
    for (const ScheduledSequence& s : batch.sequences) tokens += s.num_tokens;
    EXPECT_LE(tokens, max_tokens_a_step);
    for (const Sequence* s : batch.exhausted) note(*s);
    if (batch.sequences.empty()) continue;
    const std::vector<Sequence*> sequences = [&] {
      std::vector<Sequence*> all;
      for (const ScheduledSequence& s : batch.sequences) all.push_back(s.sequence);
      return all;
    }();
    const auto results = device.run(batch);
    scheduler.commit(results);
    for (const Sequence* s : sequences) note(*s);
    if (step % 16 == 0) pool.check();
  }
  pool.check();
  EXPECT_EQ(pool.free_count(), pool.size());
  return outputs;
}

Outputs run_all(const std::vector<std::shared_ptr<SequenceGroup>>& groups, const SchedulerOptions& options,
                std::int64_t num_blocks, std::int64_t block_size, std::int64_t* preemptions = nullptr) {
  BlockPool pool(num_blocks, block_size);
  Scheduler scheduler(pool, options);
  FakeDevice device(num_blocks, block_size);
  for (const auto& group : groups) scheduler.add(std::make_shared<SequenceGroup>(*group));
  Outputs outputs = run_to_the_end(scheduler, pool, device, options.max_num_batched_tokens);
  if (preemptions) *preemptions = scheduler.num_preemptions();
  return outputs;
}

// Random groups with common beginnings, in pools from scarcely enough to plenty: everyone gets what it gets alone.
TEST(Scheduler, RandomGroupsGetWhatTheyGetAlone) {
  std::int64_t preemptions = 0;
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    std::mt19937 rng(seed);
    const std::int64_t block_size = std::int64_t{1} << rng() % 5;
    std::vector<Tokens> beginnings(3);
    for (Tokens& beginning : beginnings)
      for (std::uint32_t i = rng() % 60; i > 0; --i) beginning.push_back(static_cast<TokenId>(rng() % 50));
    std::vector<std::shared_ptr<SequenceGroup>> groups;
    std::int64_t longest = 0;
    for (std::uint64_t id = 1; id <= 25; ++id) {
      Tokens prompt = rng() % 3 ? beginnings[rng() % 3] : Tokens();
      for (std::uint32_t i = 1 + rng() % 40; i > 0; --i) prompt.push_back(static_cast<TokenId>(rng() % 50));
      groups.push_back(group_of(id, prompt, 1 + rng() % 30, rng() % 4 == 0 ? 1 + rng() % 6 : 1));
      if (rng() % 3 == 0) groups.back()->stop_token_ids = {7, 33};
      longest = std::max(longest, groups.back()->prompt_size() + groups.back()->max_tokens);
    }
    Outputs alone;
    SchedulerOptions roomy{.max_num_seqs = 8, .max_num_batched_tokens = 4096, .context_length = 1000};
    for (const auto& group : groups) alone.merge(run_all({group}, roomy, 4000 / block_size + 50, block_size));
    for (const std::int64_t spare : {1, 30, 1000}) {
      SchedulerOptions options;
      options.max_num_seqs = 1 + rng() % 20;
      options.max_num_batched_tokens = 1 + rng() % 100;
      options.context_length = 1000;
      options.enable_prefix_caching = rng() % 4 != 0;
      std::int64_t count = 0;
      const Outputs got = run_all(groups, options, blocks_for(longest, block_size) + spare, block_size, &count);
      preemptions += count;
      EXPECT_EQ(got, alone) << "seed " << seed << " spare " << spare;
    }
  }
  EXPECT_GT(preemptions, 100);
}

TEST(Scheduler, ASequenceThatOutgrowsThePoolEndsAsContextFull) {
  const auto outputs =
      run_all({group_of(1, Tokens(20, 1), 100), group_of(2, Tokens(70, 2), 5), group_of(3, Tokens(5, 3), 5)},
              {.max_num_seqs = 4, .max_num_batched_tokens = 16, .context_length = 1000}, 4, 16);
  EXPECT_EQ(outputs.at({1, 0}).second, FinishReason::context_full);
  EXPECT_EQ(outputs.at({1, 0}).first.size(), 45u);  // 64 positions hold 20 + 44 tokens; the last one needs no place
  EXPECT_EQ(outputs.at({2, 0}).second, FinishReason::context_full);
  EXPECT_TRUE(outputs.at({2, 0}).first.empty());
  EXPECT_EQ(outputs.at({3, 0}).second, FinishReason::length);
}

// A prompt's completions compute it once, whether they start together or as others end.
TEST(Scheduler, CompletionsShareTheirPrompt) {
  BlockPool pool(200);
  Scheduler scheduler(pool, {.max_num_seqs = 4, .max_num_batched_tokens = 512, .context_length = 1000});
  FakeDevice device(200, 16);
  Tokens prompt(100);
  std::iota(prompt.begin(), prompt.end(), 0);
  scheduler.add(group_of(1, prompt, 3, 10));
  EXPECT_EQ(run_to_the_end(scheduler, pool, device, 512).size(), 10u);
  // 100 for the first; each other one computes at most what does not fill a block, and its own tokens.
  EXPECT_LE(device.tokens_computed, 100 + 9 * 4 + 10 * 2);
}

TEST(Scheduler, PromptsThatBeginAlikeAreComputedOnce) {
  BlockPool pool(400);
  Scheduler scheduler(pool, {.max_num_seqs = 16, .max_num_batched_tokens = 64, .context_length = 1000});
  FakeDevice device(400, 16);
  Tokens system(160);
  std::iota(system.begin(), system.end(), 0);
  for (std::uint64_t id = 1; id <= 8; ++id) {
    Tokens prompt = system;
    prompt.push_back(static_cast<TokenId>(id));
    scheduler.add(group_of(id, prompt, 1));
  }
  run_to_the_end(scheduler, pool, device, 64);
  EXPECT_EQ(device.tokens_computed,
            33 + 7 * 1);  // of the first, what its last step computed: the others only their last token
}

TEST(Scheduler, DecodingGoesOnBesideALongPrompt) {
  BlockPool pool(400);
  Scheduler scheduler(pool, {.max_num_seqs = 16, .max_num_batched_tokens = 8, .context_length = 5000});
  FakeDevice device(400, 16);
  for (std::uint64_t id = 1; id <= 3; ++id) scheduler.add(group_of(id, {static_cast<TokenId>(id)}, 100));
  scheduler.commit(device.run(scheduler.schedule()));
  scheduler.add(group_of(9, Tokens(1000, 9), 1));
  for (int step = 0; step < 50; ++step) {
    const ScheduledBatch& batch = scheduler.schedule();
    ASSERT_EQ(batch.sequences.size(), 4u);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(batch.sequences[static_cast<std::size_t>(i)].samples);
    EXPECT_EQ(batch.sequences[3].num_tokens, 5);
    scheduler.commit(device.run(batch));
  }
}

TEST(Scheduler, AbortsWhatRunsWaitsAndWasPreempted) {
  BlockPool pool(12);
  Scheduler scheduler(pool, {.max_num_seqs = 3, .max_num_batched_tokens = 512, .context_length = 1000});
  FakeDevice device(12, 16);
  std::vector<std::shared_ptr<SequenceGroup>> groups;
  for (std::uint64_t id = 1; id <= 5; ++id) {
    groups.push_back(group_of(id, Tokens(40, static_cast<TokenId>(id)), 60, 2));
    scheduler.add(groups.back());
  }
  for (int step = 0; step < 30; ++step) scheduler.commit(device.run(scheduler.schedule()));
  EXPECT_GT(scheduler.num_preemptions(), 0);
  for (const auto& group : groups) {
    scheduler.abort(*group, FinishReason::cancelled);
    pool.check();
  }
  EXPECT_FALSE(scheduler.has_unfinished());
  EXPECT_EQ(pool.free_count(), pool.size());
  EXPECT_TRUE(scheduler.schedule().sequences.empty());
}

// Bad logits come from keys and values that nobody should begin with.
TEST(Scheduler, BadLogitsEndASequenceAndLeaveNoPrefix) {
  BlockPool pool(20);
  Scheduler scheduler(pool, {.max_num_seqs = 3, .max_num_batched_tokens = 512, .context_length = 1000});
  FakeDevice device(20, 16);
  scheduler.add(group_of(1, Tokens(40, 1), 10));
  const ScheduledBatch& batch = scheduler.schedule();
  const Sequence* sequence = batch.sequences[0].sequence;
  std::vector<SampleResult> results = device.run(batch);
  results[0].status = SampleStatus::invalid_logits;
  scheduler.commit(results);
  EXPECT_EQ(sequence->finish_reason, FinishReason::invalid_logits);
  EXPECT_TRUE(sequence->output_token_ids.empty());
  EXPECT_EQ(pool.cached_count(), 0);
  EXPECT_EQ(pool.free_count(), pool.size());
}

}  // namespace
}  // namespace warploom
