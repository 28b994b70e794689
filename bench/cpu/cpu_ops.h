// The ops of a model's layer on the CPU, one by one, beside what the machine can do at most.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "warploom/device.h"
#include "warploom/model.h"

namespace warploom::bench {

struct CpuOpsOptions {
  DeviceOptions device;
  ModelShape shape;  ///< gives the sizes
  int repeats = 5;   ///< runs of each op, of a tenth of a second
  /// Bytes that an op goes round in, as a model's steps do in its weights and caches. What fits a shared cache is read from there.
  std::size_t working_set = std::size_t{64} << 20;
};

/// One op at one size.
struct CpuOp {
  std::string name;                ///< e.g. "product Q4_1 3072x576, 8 tokens"
  double seconds = 0;              ///< the best of some runs
  std::int64_t bytes = 0;          ///< that it has to read or write once
  std::int64_t multiply_adds = 0;  ///< 0: no products
  bool int8 = false;               ///< of 8-bit integers, else of f32
  double read_ceiling = 0;         ///< bytes a second that the threads read from a working set of this op's size
  double arithmetic_ceiling = 0;   ///< multiply-adds a second

  /// Seconds that the tighter ceiling takes.
  double bound() const;
  bool bound_by_memory() const;
  /// bound() / seconds: 1 is the ceiling.
  double share() const { return bound() / seconds; }
};

using CpuOpsProgress = std::function<void(const CpuOp&)>;

struct CpuOps {
  std::string device;  ///< e.g. "cpu: avx512_vnni, 2 threads"
  std::vector<CpuOp> ops;
};

/// Throws as create_backend() does.
CpuOps measure_cpu_ops(const CpuOpsOptions& options, const CpuOpsProgress& progress);

/// A table, markdown, JSON or CSV, under `heading` where there is room for one.
std::string render(const std::vector<CpuOp>& ops, const std::string& heading, const std::string& format);

}  // namespace warploom::bench
