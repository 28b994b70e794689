// Results in a GPU's memory, for whoever takes DLPack.
#pragma once

#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "native/cuda/memory.h"

namespace warploom::python {

namespace nb = nanobind;

/// A contiguous array in a GPU's memory that is written on a stream.
class DeviceArray {
 public:
  DeviceArray(int device, cudaStream_t stream, nb::dlpack::dtype type, std::vector<std::int64_t> shape);
  ~DeviceArray();

  void* data() const { return memory_.data(); }
  int device() const { return device_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  nb::dlpack::dtype type() const { return type_; }
  /// Has `consumer` wait for what its own stream holds by now.
  void order(cudaStream_t consumer) const;

 private:
  int device_;
  cudaStream_t stream_;
  nb::dlpack::dtype type_;
  std::vector<std::int64_t> shape_;
  StreamMemory memory_;
};

nb::object make_device_array(int device, cudaStream_t stream, nb::dlpack::dtype type, std::vector<std::int64_t> shape);
void bind_device_array(nb::module_& m);

}  // namespace warploom::python
