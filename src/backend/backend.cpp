#include "backend/backend.h"

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom {

std::unique_ptr<Backend> create_backend(const DeviceOptions& options, std::string* cuda_unavailable) {
  const bool needed = options.kind == DeviceKind::cuda;
  if (!needed && (options.kind == DeviceKind::cpu || !has_cuda_driver())) return create_cpu_backend(options);
  std::string missing;
  try {
    if (auto backend = create_cuda_backend(options, missing)) return backend;
  } catch (const InvalidArgument&) {
    throw;
  } catch (const Error& error) {  // a GPU that is full, or another's alone
    if (needed) throw;
    missing = error.what();
  }
  if (needed) throw BackendError(fmt::format("device cuda: {}", missing));
  if (cuda_unavailable) *cuda_unavailable = missing;
  return create_cpu_backend(options);
}

}  // namespace warploom
