#include "backend/backend.h"

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom {

DeviceKind parse_device_kind(std::string_view text) {
  if (text == "auto") return DeviceKind::automatic;
  if (text == "cpu") return DeviceKind::cpu;
  if (text == "cuda") return DeviceKind::cuda;
  throw InvalidArgument(fmt::format("device: \"{}\" is not one of auto, cpu, cuda", text));
}

std::unique_ptr<Backend> create_backend(const DeviceOptions& options) {
  if (options.kind == DeviceKind::cuda || (options.kind == DeviceKind::automatic && has_cuda_driver())) {
    std::string missing;
    try {
      if (auto backend = create_cuda_backend(options, missing)) return backend;
    } catch (const InvalidArgument&) {
      throw;
    } catch (const Error&) {  // a GPU that is full, or another's alone
      if (options.kind == DeviceKind::cuda) throw;
    }
    if (options.kind == DeviceKind::cuda) throw BackendError(fmt::format("device cuda: {}", missing));
  }
  return create_cpu_backend(options);
}

}  // namespace warploom
