#include "native/cuda/tensors.h"

#include <nanobind/stl/string.h>

#include "native/cuda/device_array.h"

namespace warploom::python {

namespace {

constexpr int kNoWait = -1;  // DLPack: the producer orders nothing, since its work is on the consumer's stream

// A package that has been imported, if `object` is of its class; else nothing. One that was never imported has made no tensor.
nb::object package_of(nb::handle object, const char* package, const char* type) {
  nb::object module = nb::steal(PyImport_GetModule(nb::str(package).ptr()));
  PyErr_Clear();
  if (module.is_valid() && nb::hasattr(module, type) && nb::isinstance(object, module.attr(type))) return module;
  return {};
}

// As DLPack numbers streams: null stands for the legacy default stream, which has a number.
std::intptr_t number_of(cudaStream_t stream) {
  return stream ? reinterpret_cast<std::intptr_t>(stream) : reinterpret_cast<std::intptr_t>(cudaStreamLegacy);
}

cudaStream_t stream_at(std::uintptr_t address) {
  return address == 0 ? cudaStreamLegacy : reinterpret_cast<cudaStream_t>(address);  // NOLINT(performance-no-int-to-ptr)
}

}  // namespace

cudaStream_t read_stream(nb::handle stream) {
  if (nb::hasattr(stream, "__cuda_stream__"))
    return stream_at(read_number<std::uint64_t>(nb::object(stream.attr("__cuda_stream__")())[1], "stream"));
  for (const char* address : {"cuda_stream", "ptr"})
    if (nb::hasattr(stream, address)) return stream_at(read_number<std::uint64_t>(stream.attr(address), "stream"));
  const auto number = read_number<std::int64_t>(stream, "stream");
  if (number <= 0)
    refuse("stream",
           "is " + std::to_string(number) +
               "; it must be 1 (the legacy default stream), 2 (the default stream of the thread) or a stream's address");
  return stream_at(static_cast<std::uintptr_t>(number));
}

Tensors::Tensors(nb::handle tensor, const char* name, nb::handle stream) : first_(tensor), first_name_(name) {
  device_ = place_of(tensor, name).number;
  torch_ = package_of(tensor, "torch", "Tensor");
  if (torch_.is_valid()) {
    if (!stream.is_none())
      refuse("stream", "is given with tensors of PyTorch, whose current stream is taken: use `with torch.cuda.stream(...)`");
    stream_ = read_stream(torch_.attr("cuda").attr("current_stream")(device_));
  } else if (!stream.is_none()) {
    stream_ = read_stream(stream);
  } else if (const nb::object cupy = package_of(tensor, "cupy", "ndarray"); cupy.is_valid()) {
    stream_ = read_stream(cupy.attr("cuda").attr("get_current_stream")());
  } else {
    stream_ = cudaStreamLegacy;
  }
}

// What a tensor exports for use on the stream.
nb::object Tensors::capsule(nb::handle tensor, const char* name) const {
  if (!nb::hasattr(tensor, "__dlpack__"))
    refuse(name, "is a " + python_type(tensor) + ", not a tensor that DLPack can export");
  const Place place = place_of(tensor, name);
  if (!place.on_gpu()) refuse(name, "is not on a GPU, as " + first_name_ + " is");
  if (place.number != device_)
    refuse(name, "is on GPU " + std::to_string(place.number) + "; it must be on GPU " + std::to_string(device_) + ", as " +
                     first_name_ + " is");
  // The stream is PyTorch's current one, so its tensors are ready there.
  const bool ready = torch_.is_valid() && nb::isinstance(tensor, torch_.attr("Tensor"));
  const nb::int_ stream(ready ? kNoWait : number_of(stream_));
  const nb::object dlpack = tensor.attr("__dlpack__");
  try {
    try {
      return dlpack(nb::arg("stream") = stream, nb::arg("max_version") = nb::make_tuple(1, 0));
    } catch (const nb::python_error& error) {
      if (!error.matches(PyExc_TypeError)) throw;
      return dlpack(nb::arg("stream") = stream);  // a producer older than DLPack 1.0
    }
  } catch (const nb::python_error& error) {
    if (!error.matches(PyExc_Exception)) throw;
    refuse(name, std::string("cannot be exported by DLPack: ") + nb::str(error.value()).c_str());
  }
}

Array Tensors::read(nb::handle tensor, const char* name) const {
  Array array;
  if (!nb::try_cast(capsule(tensor, name), array) || !array.is_valid())
    refuse(name, "is a " + python_type(tensor) + " whose export is no DLPack tensor");
  return array;
}

void* Tensors::write(nb::handle tensor, nb::dlpack::dtype type, const char* name, std::int64_t length,
                     std::int64_t width) const {
  nb::ndarray<> array;
  if (!nb::try_cast(capsule(tensor, name), array) || !array.is_valid())
    refuse(name, "is a " + python_type(tensor) + " that cannot be written: it must be a writable tensor");
  if (nb::cast<std::string>(nb::str(tensor.type().attr("__module__"))).starts_with("jax"))
    refuse(name, "is an array of JAX, which nothing may write: it must be a writable tensor");
  check_output(Array(array), type, name, length, width);
  return array.data();
}

nb::object Tensors::make(const std::vector<std::int64_t>& shape, nb::dlpack::dtype type, void*& data) const {
  if (!torch_.is_valid()) {
    nb::object made = make_device_array(device_, stream_, type, shape);
    data = nb::cast<DeviceArray&>(made).data();
    return made;
  }
  nb::list sizes;
  for (const std::int64_t size : shape) sizes.append(size);
  const nb::object dtype = torch_.attr(type_name(type).c_str());
  nb::object made = first_.attr("new_empty")(sizes, nb::arg("dtype") = dtype);
  nb::ndarray<> array;
  if (!nb::try_cast(capsule(made, "the result"), array) || !array.is_valid()) refuse("the result", "cannot be written");
  data = array.data();
  return made;
}

}  // namespace warploom::python
