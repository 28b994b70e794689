#include "checkpoint/checkpoint.h"

#include <fmt/format.h>

#include "checkpoint/gguf_checkpoint.h"
#include "checkpoint/mapped_file.h"
#include "warploom/error.h"

namespace warploom {

void Checkpoint::fail(const std::string& what) const { throw ModelError(fmt::format("{}: {}", path().string(), what)); }

std::shared_ptr<const Checkpoint> open_checkpoint(const std::filesystem::path& path) {
  if (is_gguf(MappedFile(path).bytes())) return open_gguf_checkpoint(path);
  throw ModelError(fmt::format("{}: is not a GGUF file: it does not start with \"GGUF\"", path.string()));
}

}  // namespace warploom
