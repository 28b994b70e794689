#include "latency.h"

#include <algorithm>

namespace emulator {
namespace {

constexpr uint64_t kIssueSlots = 4;    // warp instructions a clock and multiprocessor
constexpr uint64_t kLoopOfLooks = 64;  // instructions between two looks of a loop that waits

void set_begin(WarpClock& t, uint64_t begin) {
  t.passed += t.issued;
  t.issued = 0;
  t.begin = t.last = begin;
}

// Calls f with the word, if it is kept; a look keeps it from then on.
template <class F>
void with_word(Warp& w, uint64_t address, bool looks, F f) {
  Block& block = *w.block;
  if (address >= w.shared_begin && address < w.shared_end) return f(block.words[address]);
  Launch& l = *block.launch;
  if (!looks && !l.has_words) return;
  const std::lock_guard lock(l.words_mutex);
  if (looks) l.has_words = true;
  if (const auto found = looks ? l.words.try_emplace(address).first : l.words.find(address); found != l.words.end())
    f(found->second);
}

}  // namespace

void start_clock(Warp& w) {
  w.time = {};
  w.frames.front()->ready.assign(w.frames.front()->code->place_count, 0);
}

void end_basic_block(Warp& w) {
  WarpClock& t = w.time;
  if (t.issued > 0) set_begin(t, std::max(t.last + 1, t.begin + t.issued));
}

uint64_t issue(Warp& w, const InstructionCost& cost, uint32_t latency) {
  WarpClock& t = w.time;
  std::vector<uint64_t>& ready = w.frame->ready;
  const uint16_t* place = w.frame->code->places.data() + cost.places;
  uint64_t time = t.begin;
  for (uint32_t k = 0; k < cost.reads; ++k) time = std::max(time, ready[place[k]]);
  if (cost.stores != 0) {
    uint64_t& stored = t.stored[cost.stores - 1];
    time = std::max(time, stored);
    if (cost.is_store) stored = time;
  }
  const uint64_t done = time + latency;
  for (uint32_t k = cost.reads; k < uint32_t{cost.reads} + cost.writes; ++k) ready[place[k]] = done;
  t.last = std::max(t.last, time);
  if (cost.counted) {
    ++t.issued;
    ++w.block->phase_issued;
  }
  if (cost.access == InstructionCost::Access::kCopy) t.copied = std::max(t.copied, done);
  if (cost.sync == InstructionCost::Sync::kNone) return time;
  switch (cost.sync) {
    case InstructionCost::Sync::kCommit:
      t.groups.push_back(t.copied);
      t.copied = 0;
      break;
    case InstructionCost::Sync::kWait:
    case InstructionCost::Sync::kWaitAll: {
      const bool all = cost.sync == InstructionCost::Sync::kWaitAll;
      const size_t left = all ? 0 : std::min<size_t>(cost.groups, t.groups.size());
      uint64_t there = all ? t.copied : 0;
      for (size_t k = 0; k + left < t.groups.size(); ++k) there = std::max(there, t.groups[k]);
      t.groups.erase(t.groups.begin(), t.groups.end() - static_cast<ptrdiff_t>(left));
      t.last = std::max(t.last, there);
      break;
    }
    case InstructionCost::Sync::kFence: t.last = std::max(t.last, done); break;
    default: break;
  }
  return time;
}

// Looks that are repeated are the host's doing: the warp goes on from the first one, when the word has changed. Others may be
// ahead and have changed it again: what counts is when the first of all that waited was released.
void look(Warp& w, const Inst& in, uint64_t address) {
  WarpClock& t = w.time;
  end_basic_block(w);
  const bool again = t.look == &in && t.look_address == address && t.passed - t.look_passed < kLoopOfLooks;
  with_word(w, address, true, [&](const WordTime& word) {
    if (again)
      t.begin = t.last = t.look_time;
    else
      t.look = &in, t.look_address = address, t.look_time = t.begin, t.look_release = word.releases.size();
    t.look_saw = t.look_release < word.releases.size() ? word.releases[t.look_release] : word.time;
  });
  t.look_passed = t.passed;
  t.begin = t.last = std::max(t.begin, t.look_saw);
}

void change(Warp& w, uint64_t address, uint64_t time) {
  WarpClock& t = w.time;
  if (t.look != nullptr)
    with_word(w, t.look_address, false, [&](WordTime& word) {
      if (word.releases.empty() || word.releases.back() < t.look_saw) word.releases.push_back(t.look_saw);
    });
  t.look = nullptr;
  with_word(w, address, false, [&](WordTime& word) { word.time = std::max(word.time, time); });
}

uint64_t copies_end(const WarpClock& t) {
  return t.groups.empty() ? t.copied : std::max(t.copied, *std::max_element(t.groups.begin(), t.groups.end()));
}

void arrive_at(Warp& w, Barrier& b) {
  end_basic_block(w);
  b.first_arrival = b.warps == 0 ? w.time.begin : std::min(b.first_arrival, w.time.begin);
  b.last_arrival = std::max(b.last_arrival, w.time.begin);
  ++b.warps;
}

uint64_t opening(Block& block, const Barrier& b) {
  uint64_t time =
      std::max(b.last_arrival, b.first_arrival + static_cast<uint64_t>(kBarrierWarpClocks * static_cast<double>(b.warps)));
  const bool all = b.expected == 0 || b.expected >= block.live_threads;
  if (all) time = std::max(time, block.phase_begin + block.phase_issued / kIssueSlots);
  time += kBarrierClocks;
  if (all) block.phase_begin = time, block.phase_issued = 0;
  return time;
}

void go_on_at(Warp& w, uint64_t time) {
  end_basic_block(w);
  w.time.begin = w.time.last = std::max(w.time.begin, time);
}

uint64_t end_block(Block& block) {
  uint64_t clocks = block.phase_begin + block.phase_issued / kIssueSlots;
  for (Warp& w : block.warps) {
    end_basic_block(w);
    clocks = std::max(clocks, w.time.begin);
  }
  block.phase_begin = block.phase_issued = 0;
  block.words.clear();
  return clocks;
}

}  // namespace emulator
