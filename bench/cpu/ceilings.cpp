#include "ceilings.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "cpu/isa.h"
#include "cpu/memory.h"

namespace warploom::bench {

namespace {

using Clock = std::chrono::steady_clock;

const Peaks& peaks_of(CpuIsa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case CpuIsa::avx2: return avx2::kPeaks;
    case CpuIsa::avx2_vnni: return avx2_vnni::kPeaks;
    case CpuIsa::avx512: return avx512::kPeaks;
    case CpuIsa::avx512_vnni: return avx512_vnni::kPeaks;
    case CpuIsa::avx512_bf16: return avx512_bf16::kPeaks;
    case CpuIsa::avx512_amx: return avx512_amx::kPeaks;
#endif
    default: return generic::kPeaks;
  }
}

/// The best of some short runs: what work(thread) returns, added up over all threads, a second. Others disturb a run, and nothing
/// makes it faster than it can be.
template <typename Work>
double best_rate(int threads, const Work& work) {
  double best = 0;
  for (int run = 0; run < 5; ++run) {
    std::atomic<int> ready = 0;
    std::atomic<bool> stop = false;
    std::vector<double> rates(static_cast<std::size_t>(threads));
    const auto body = [&](int thread) {
      ++ready;
      while (ready < threads) {
      }
      const auto start = Clock::now();
      double done = 0, seconds = 0;
      while (!stop) {
        done += static_cast<double>(work(thread));
        seconds = std::chrono::duration<double>(Clock::now() - start).count();
        if (seconds > 0.03) stop = true;
      }
      rates[static_cast<std::size_t>(thread)] = done / seconds;
    };
    {
      std::vector<std::jthread> others;
      for (int t = 1; t < threads; ++t) others.emplace_back(body, t);
      body(0);
    }
    double sum = 0;
    for (const double rate : rates) sum += rate;
    best = std::max(best, sum);
  }
  return best;
}

}  // namespace

Ceilings::Ceilings(int threads, CpuIsa isa)
    : peaks_(peaks_of(isa == CpuIsa::automatic ? cpu::best_isa() : isa)), threads_(threads) {}

double Ceilings::once(double& rate, std::int64_t (*multiply_adds)(std::int64_t)) {
  if (rate == 0) rate = best_rate(threads_, [&](int) { return multiply_adds(1000); });
  return rate;
}

double Ceilings::read(std::size_t bytes) {
  constexpr std::size_t kUnit = 1024, kPiece = 64 * kUnit;
  const std::size_t each = std::max(kUnit, bytes / static_cast<std::size_t>(threads_) / kUnit * kUnit);
  double& rate = read_[each];
  if (rate > 0) return rate;
  struct Part {
    cpu::AlignedBytes data;  // as weights and caches lie
    std::size_t at = 0;
    std::uint64_t seen = 0;
  };
  std::vector<Part> parts(static_cast<std::size_t>(threads_));
  {
    std::vector<std::jthread> owners;  // memory is that of the thread that touches it first
    for (Part& part : parts)
      owners.emplace_back([&part, each] {
        part.data = cpu::allocate_bytes(each, "what is read");
        std::memset(part.data.get(), 1, each);
      });
  }
  rate = best_rate(threads_, [&](int thread) {
    Part& part = parts[static_cast<std::size_t>(thread)];
    const std::size_t size = std::min(kPiece, each - part.at);
    part.seen ^= peaks_.read(part.data.get() + part.at, size);
    part.at = part.at + size == each ? 0 : part.at + size;
    return size;
  });
  volatile std::uint64_t sink = 0;  // what was read has to be wanted
  for (const Part& part : parts) sink = sink ^ part.seen;
  return rate;
}

}  // namespace warploom::bench
