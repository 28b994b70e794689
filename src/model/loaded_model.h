// What is behind a public Model, and how one is made.
#pragma once

#include "checkpoint/checkpoint.h"
#include "model/decoder_model.h"
#include "warploom/model.h"

namespace warploom {

/// Lives as long as the model.
const DecoderModel& decoder_of(const Model& model);

/// As Model::load.
std::shared_ptr<const Model> load_model(const Checkpoint& checkpoint, const ModelOptions& options);
/// On a backend of one's own.
std::shared_ptr<const Model> load_model(const Checkpoint& checkpoint, std::unique_ptr<Backend> backend);

}  // namespace warploom
