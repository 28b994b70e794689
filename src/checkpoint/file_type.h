// Which tensor of a quantised model has which type: the mixes that llama.cpp's `quantize` makes, by its names.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "checkpoint/checkpoint.h"
#include "core/dtype.h"

namespace warploom {

struct FileType {
  std::string_view name;  // e.g. "Q4_K_M"
  WeightType base;        // of most matrices
};

/// All that are known.
std::span<const FileType> file_types();

/// The type of a matrix. `tied`: the output matrix is the embedding.
WeightType matrix_type(const FileType& file_type, const TensorName& name, std::int64_t cols, std::int64_t num_layers,
                       bool tied);

}  // namespace warploom
