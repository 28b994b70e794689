// Places for virtual registers: those whose live ranges don't meet share one, which keeps a warp's registers in the host's
// first and second level caches. Lanes are independent, so liveness in the control flow graph holds for each of them.
#include <algorithm>
#include <map>
#include <queue>

#include "decoder.h"

namespace emulator {
namespace {

struct BasicBlock {
  uint32_t begin = 0, end = 0;
  std::vector<uint32_t> successors;
  std::vector<uint64_t> use, def, in, out;
};

bool is_register(uint32_t code) { return code != kNoOperand && (code & 1) == 0; }

std::vector<BasicBlock> split(const std::vector<Encoder::Pending>& code) {
  const uint32_t n = static_cast<uint32_t>(code.size());
  std::vector<bool> leads(n + 1, false);
  leads[0] = true;
  for (uint32_t i = 0; i < n; ++i) {
    if (code[i].branches) leads[code[i].inst.target] = true;
    for (const uint32_t target : code[i].targets) leads[target] = true;
    if (code[i].branches || code[i].ends || !code[i].targets.empty()) leads[i + 1] = true;
  }
  std::vector<BasicBlock> blocks;
  std::vector<uint32_t> block_of(n + 1, 0);
  for (uint32_t i = 0; i < n; ++i) {
    if (leads[i]) blocks.push_back({i, i, {}, {}, {}, {}, {}});
    block_of[i] = static_cast<uint32_t>(blocks.size()) - 1;
    blocks.back().end = i + 1;
  }
  for (BasicBlock& b : blocks) {
    const Encoder::Pending& last = code[b.end - 1];
    if (last.branches) b.successors.push_back(block_of[last.inst.target]);
    for (const uint32_t target : last.targets) b.successors.push_back(block_of[target]);
    if (!last.ends && b.end < n) b.successors.push_back(block_of[b.end]);
  }
  return blocks;
}

void live_sets(const std::vector<Encoder::Pending>& code, size_t words, std::vector<BasicBlock>& blocks) {
  auto test = [](const std::vector<uint64_t>& set, uint32_t v) { return ((set[v / 64] >> (v % 64)) & 1) != 0; };
  auto set_bit = [](std::vector<uint64_t>& set, uint32_t v) { set[v / 64] |= uint64_t{1} << (v % 64); };
  for (BasicBlock& b : blocks) {
    b.use.assign(words, 0);
    b.def = b.in = b.out = b.use;
    for (uint32_t i = b.begin; i < b.end; ++i) {
      const auto& p = code[i];
      auto use = [&](uint32_t operand) {
        if (is_register(operand) && !test(b.def, operand >> 2)) set_bit(b.use, operand >> 2);
      };
      for (size_t k = p.destinations; k < p.operands.size(); ++k) use(p.operands[k]);
      use(p.inst.guard);
      if (is_register(p.inst.guard)) continue;  // a guarded write keeps the old value in some lanes
      for (size_t k = 0; k < p.destinations; ++k)
        if (is_register(p.operands[k])) set_bit(b.def, p.operands[k] >> 2);
    }
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t n = blocks.size(); n-- > 0;) {
      BasicBlock& b = blocks[n];
      for (const uint32_t s : b.successors)
        for (size_t w = 0; w < words; ++w) b.out[w] |= blocks[s].in[w];
      for (size_t w = 0; w < words; ++w) {
        const uint64_t in = b.use[w] | (b.out[w] & ~b.def[w]);
        changed = changed || in != b.in[w];
        b.in[w] = in;
      }
    }
  }
}

// Registers of 32 bits: a predicate is none, one of 16 bits counts as one.
uint32_t most_live(const std::vector<Encoder::Pending>& code, const std::vector<BasicBlock>& blocks,
                   const std::vector<uint32_t>& sizes) {
  auto words_of = [&](uint32_t v) { return sizes[v] == 4 ? 0 : (sizes[v] + 4 * kLanes - 1) / (4 * kLanes); };
  uint32_t most = 0;
  for (const BasicBlock& b : blocks) {
    std::vector<uint64_t> alive = b.out;
    uint32_t now = 0;
    for (uint32_t v = 0; v < sizes.size(); ++v)
      if (((alive[v / 64] >> (v % 64)) & 1) != 0) now += words_of(v);
    most = std::max(most, now);
    for (uint32_t i = b.end; i-- > b.begin;) {
      const Encoder::Pending& p = code[i];
      auto set = [&](uint32_t operand, bool value) {
        if (!is_register(operand)) return;
        const uint32_t v = operand >> 2;
        uint64_t& word = alive[v / 64];
        const uint64_t bit = uint64_t{1} << (v % 64);
        if (((word & bit) != 0) == value) return;
        word ^= bit;
        now = value ? now + words_of(v) : now - words_of(v);
      };
      if (!is_register(p.inst.guard))
        for (size_t k = 0; k < p.destinations; ++k) set(p.operands[k], false);
      for (size_t k = p.destinations; k < p.operands.size(); ++k) set(p.operands[k], true);
      set(p.inst.guard, true);
      most = std::max(most, now);
    }
  }
  return most;
}

}  // namespace

uint32_t allocate_registers(const std::vector<Encoder::Pending>& code, const std::vector<uint32_t>& sizes,
                            const std::vector<bool>& pinned, std::vector<uint32_t>& offsets, uint32_t& live) {
  const size_t registers = sizes.size(), words = registers / 64 + 1;
  std::vector<BasicBlock> blocks = split(code);
  live_sets(code, words, blocks);
  live = most_live(code, blocks, sizes);
  std::vector<uint32_t> first(registers, UINT32_MAX), last(registers, 0);
  auto touch = [&](uint32_t v, uint32_t at) {
    first[v] = std::min(first[v], at);
    last[v] = std::max(last[v], at);
  };
  for (const BasicBlock& b : blocks) {
    for (uint32_t i = b.begin; i < b.end; ++i) {
      for (const uint32_t operand : code[i].operands)
        if (is_register(operand)) touch(operand >> 2, i);
      if (is_register(code[i].inst.guard)) touch(code[i].inst.guard >> 2, i);
    }
    for (uint32_t v = 0; v < registers; ++v) {
      if (((b.in[v / 64] >> (v % 64)) & 1) != 0) touch(v, b.begin);
      if (((b.out[v / 64] >> (v % 64)) & 1) != 0) touch(v, b.end - 1);
    }
  }
  std::vector<uint32_t> order;
  for (uint32_t v = 0; v < registers; ++v) {
    if (pinned[v]) first[v] = 0, last[v] = UINT32_MAX;
    if (first[v] != UINT32_MAX) order.push_back(v);
  }
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return first[a] < first[b]; });
  offsets.assign(registers, 0);
  std::map<uint32_t, std::vector<uint32_t>> unused;  // by size
  using End = std::pair<uint32_t, uint32_t>;         // last use, register
  std::priority_queue<End, std::vector<End>, std::greater<>> alive;
  uint32_t top = 0;
  for (const uint32_t v : order) {
    while (!alive.empty() && alive.top().first < first[v]) {
      const uint32_t done = alive.top().second;
      alive.pop();
      unused[sizes[done]].push_back(offsets[done]);
    }
    auto& places = unused[sizes[v]];
    if (places.empty()) {
      if (sizes[v] == 4) {  // sixteen predicates to a line
        for (uint32_t k = 16; k-- > 0;) places.push_back(top + 4 * k);
        top += 64;
      } else {
        places.push_back(top);
        top += (sizes[v] + 63) / 64 * 64;
      }
    }
    offsets[v] = places.back();
    places.pop_back();
    alive.emplace(last[v], v);
  }
  return top;
}

}  // namespace emulator
