// Tensors of other packages in a GPU's memory, by DLPack: no copy, and no wait but for what their producers order on the
// stream.
#pragma once

#include <cuda_runtime_api.h>

#include <string>
#include <vector>

#include "native/array_checks.h"

namespace warploom::python {

/// Where a call works: the GPU of its first tensor, and a stream. Reads and makes tensors there.
class Tensors {
 public:
  /// stream: None for the current one of the tensor's package (PyTorch, CuPy; of others the legacy default stream), or a
  /// stream: its number as DLPack has it (1: legacy, 2: per thread, else the address), or an object of PyTorch's, CuPy's or
  /// any other package that tells it. Throws InvalidArgument on any other.
  Tensors(nb::handle tensor, const char* name, nb::handle stream);

  int device() const { return device_; }
  cudaStream_t stream() const { return stream_; }

  /// To read. Throws InvalidArgument if it is not a tensor on this GPU.
  Array read(nb::handle tensor, const char* name) const;
  /// To write: [length] or, if `width` >= 0, [length, width], contiguous.
  template <typename T>
  T* write(nb::handle tensor, const char* name, std::int64_t length, std::int64_t width = -1) const {
    return static_cast<T*>(write(tensor, nb::dtype<T>(), name, length, width));
  }
  /// A new tensor, and its memory: PyTorch's if the first one is, else a DeviceArray.
  template <typename T>
  nb::object make(const std::vector<std::int64_t>& shape, T*& data) const {
    void* memory = nullptr;
    nb::object made = make(shape, nb::dtype<T>(), memory);
    data = static_cast<T*>(memory);
    return made;
  }

 private:
  nb::object capsule(nb::handle tensor, const char* name) const;
  void* write(nb::handle tensor, nb::dlpack::dtype type, const char* name, std::int64_t length, std::int64_t width) const;
  nb::object make(const std::vector<std::int64_t>& shape, nb::dlpack::dtype type, void*& data) const;

  nb::handle first_;
  std::string first_name_;
  int device_ = 0;
  cudaStream_t stream_ = nullptr;
  nb::object torch_;  // the package, if the first tensor is its
};

/// The stream that a Python object means. Throws InvalidArgument if it means none.
cudaStream_t read_stream(nb::handle stream);

}  // namespace warploom::python
