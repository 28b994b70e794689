#include "backend/backend.h"

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom {

namespace {

// Null with the reason in `missing` if there is no GPU to be used, which is an error if it is needed.
std::unique_ptr<Backend> find_gpu(const DeviceOptions& options, bool needed, std::string& missing) {
  try {
    if (auto backend = create_cuda_backend(options, missing)) return backend;
  } catch (const InvalidArgument&) {
    throw;
  } catch (const Error& error) {  // a GPU that is full, or another's alone
    if (needed) throw;
    missing = error.what();
  }
  if (needed) throw BackendError(fmt::format("device cuda: {}", missing));
  return nullptr;
}

}  // namespace

std::unique_ptr<Backend> create_backend(const DeviceOptions& options, DeviceInfo* info) {
  const bool needed = options.kind == DeviceKind::cuda;
  std::unique_ptr<Backend> backend;
  DeviceInfo found;
  if (needed || (options.kind == DeviceKind::automatic && has_cuda_driver()))
    backend = find_gpu(options, needed, found.cuda_unavailable);
  if (backend) {
    found.kind = DeviceKind::cuda;
    found.cuda_unavailable.clear();
  } else {
    backend = create_cpu_backend(options);
  }
  found.description = backend->description();
  if (info) *info = std::move(found);
  return backend;
}

DeviceInfo find_device(const DeviceOptions& options) {
  DeviceInfo info;
  create_backend(options, &info);
  return info;
}

}  // namespace warploom
