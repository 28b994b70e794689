// What is behind a public Model.
#pragma once

#include <cstdint>
#include <memory>

#include "model/decoder_model.h"
#include "warploom/model.h"

namespace warploom {

/// They live as long as the model.
const DecoderModel& decoder_of(const Model& model);
/// What its KV caches store, and in blocks of how many tokens.
DType kv_type_of(const Model& model);
std::int64_t kv_block_size_of(const Model& model);

}  // namespace warploom
