#include "native/cuda/device_array.h"

#include <functional>
#include <numeric>
#include <string>

#include <nanobind/stl/string.h>

#include "cuda/runtime/check.h"
#include "native/cuda/tensors.h"
#include "warploom/error.h"

namespace warploom::python {

using cuda::check;

namespace {

// The consumer's stream as DLPack numbers it.
cudaStream_t consumer_of(nb::handle stream) {
  if (stream.is_none()) return cudaStreamLegacy;
  const auto number = read_number<std::int64_t>(stream, "stream");
  if (number == -1) return nullptr;
  if (number <= 0)
    refuse("stream",
           "is " + std::to_string(number) + "; it must be -1, 1, 2 or a stream's address: 0 could mean two streams");
  return reinterpret_cast<cudaStream_t>(number);  // NOLINT(performance-no-int-to-ptr)
}

nb::object export_array(nb::handle self, nb::handle stream, nb::handle max_version, nb::handle dl_device, nb::handle copy) {
  const auto& array = nb::cast<const DeviceArray&>(self);
  if (!dl_device.is_none() &&
      (nb::cast<int>(dl_device[0]) != nb::device::cuda::value || nb::cast<int>(dl_device[1]) != array.device()))
    throw nb::buffer_error("a DeviceArray is exported only to the GPU that it is on");
  if (!copy.is_none() && nb::cast<bool>(copy)) throw nb::buffer_error("a DeviceArray is exported only without a copy");
  if (const cudaStream_t consumer = consumer_of(stream)) array.order(consumer);
  const std::vector<std::size_t> shape(array.shape().begin(), array.shape().end());
  const nb::ndarray<nb::array_api> view(array.data(), shape.size(), shape.data(), self, nullptr, array.type(),
                                        nb::device::cuda::value, array.device());
  return nb::cast(view).attr("__dlpack__")(nb::arg("max_version") = max_version);
}

}  // namespace

DeviceArray::DeviceArray(int device, cudaStream_t stream, nb::dlpack::dtype type, std::vector<std::int64_t> shape)
    : device_(device), stream_(stream), type_(type), shape_(std::move(shape)) {
  const OnDevice here(device_);
  const auto count = std::accumulate(shape_.begin(), shape_.end(), std::int64_t{1}, std::multiplies<>());
  memory_ = StreamMemory(static_cast<std::size_t>(count) * type_.bits / 8, stream_);
}

// The default streams are those of the current device.
DeviceArray::~DeviceArray() {
  try {
    const OnDevice here(device_);
    memory_ = {};
  } catch (const Error&) {  // the device failed: its memory is gone
  }
}

void DeviceArray::order(cudaStream_t consumer) const {
  if (consumer == stream_) return;
  const OnDevice here(device_);
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
  cudaError_t error = cudaEventRecord(event, stream_);
  if (error == cudaSuccess) error = cudaStreamWaitEvent(consumer, event, 0);
  static_cast<void>(cudaEventDestroy(event));
  check(error, "ordering a result before its reader");
}

nb::object make_device_array(int device, cudaStream_t stream, nb::dlpack::dtype type, std::vector<std::int64_t> shape) {
  return nb::cast(new DeviceArray(device, stream, type, std::move(shape)), nb::rv_policy::take_ownership);
}

void bind_device_array(nb::module_& m) {
  nb::class_<DeviceArray>(
      m, "DeviceArray",
      "An array in a GPU's memory: a result of logits that are not PyTorch's. It is written on the stream of "
      "the call that returned it, which has to be there as long as the array; from_dlpack() of any package "
      "takes it.")
      .def_prop_ro("shape",
                   [](const DeviceArray& array) {
                     nb::list sizes;
                     for (const std::int64_t size : array.shape()) sizes.append(size);
                     return nb::tuple(sizes);
                   })
      .def_prop_ro("dtype", [](const DeviceArray& array) { return type_name(array.type()); })
      .def("__dlpack_device__",
           [](const DeviceArray& array) { return nb::make_tuple(int{nb::device::cuda::value}, array.device()); })
      .def("__dlpack__", &export_array, nb::kw_only(), nb::arg("stream").none() = nb::none(),
           nb::arg("max_version").none() = nb::none(), nb::arg("dl_device").none() = nb::none(),
           nb::arg("copy").none() = nb::none(),
           "stream: the consumer's, as DLPack numbers it. It waits for the array's own; -1: it does not.");
}

}  // namespace warploom::python
