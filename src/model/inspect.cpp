#include "warploom/inspect.h"

#include "checkpoint/checkpoint.h"
#include "model/config.h"
#include "warploom/error.h"

namespace warploom {

CheckpointInfo inspect(const std::filesystem::path& path) {
  const std::shared_ptr<const Checkpoint> checkpoint = open_checkpoint(path);
  CheckpointInfo info = checkpoint->info();
  try {
    info.shape = read_config(*checkpoint).shape;
  } catch (const ModelError& error) {
    info.refusal = error.what();
  }
  return info;
}

}  // namespace warploom
