// Models without files: weights drawn from a seed, in the shape of a known model or in any other. They run at the speed of the
// real ones; their text is noise. For benchmarks, for tests, and to see what fits.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "warploom/export.h"
#include "warploom/model.h"

namespace warploom {

/// Names that model_shape() knows, e.g. "llama-3.2-1b".
[[nodiscard]] WARPLOOM_EXPORT std::vector<std::string> model_shape_names();

/// The shape of a published model. Throws InvalidArgument on any other name.
[[nodiscard]] WARPLOOM_EXPORT ModelShape model_shape(std::string_view name);

/// The types that synthetic_model() knows: F32, F16, BF16, and llama.cpp's Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K_S, Q4_K_M,
/// Q5_K_S, Q5_K_M and Q6_K, in which some matrices have more bits than the name says.
[[nodiscard]] WARPLOOM_EXPORT std::vector<std::string> weight_type_names();

/// A model of this shape, whose architecture is "llama" or "qwen2". Equal shapes, types and seeds give equal weights. Each
/// matrix is drawn when it is loaded, by DeviceOptions::threads threads, so that memory holds hardly more than the loaded
/// model. Every byte is a token; the rest of the vocabulary, which takes at least 258 tokens, is made-up words. Throws
/// InvalidArgument on an unknown type or a vocabulary or number of layers out of range, ModelError on any other shape that no
/// model can have, OutOfMemory or BackendError.
[[nodiscard]] WARPLOOM_EXPORT std::shared_ptr<const Model> synthetic_model(const ModelShape& shape, std::string_view type,
                                                                           std::uint64_t seed = 1,
                                                                           const ModelOptions& options = {});

}  // namespace warploom
