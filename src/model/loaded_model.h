// What is behind a public Model.
#pragma once

#include "model/decoder_model.h"
#include "warploom/model.h"

namespace warploom {

/// Lives as long as the model.
const DecoderModel& decoder_of(const Model& model);

}  // namespace warploom
