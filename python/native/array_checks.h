// What every reader of arrays asks of one, and how it refuses.
#pragma once

#include <cstdint>
#include <string>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "native/arrays.h"

namespace warploom::python {

using Array = nb::ndarray<nb::ro>;
using Code = nb::dlpack::dtype_code;

/// Throws InvalidArgument: "`name` `what`".
[[noreturn]] void refuse(const char* name, const std::string& what);

std::string python_type(nb::handle object);
std::string type_name(nb::dlpack::dtype type);
std::string type_names(RowTypes types);
std::string shape_text(const Array& array);

inline bool is(nb::dlpack::dtype type, Code code, int bits) {
  return type.code == static_cast<std::uint8_t>(code) && type.bits == bits && type.lanes == 1;
}
inline bool is_on_host(int device_type) {
  return device_type == nb::device::cpu::value || device_type == nb::device::cuda_host::value;
}
/// Where an array says that it is: DLPack's device type and number; on the host if it says nothing. Throws InvalidArgument if
/// it fails to say.
struct Place {
  int type = nb::device::cpu::value, number = 0;

  bool on_host() const { return is_on_host(type); }
  bool on_gpu() const { return type == nb::device::cuda::value || type == nb::device::cuda_managed::value; }
};
Place place_of(nb::handle object, const char* name);
[[noreturn]] void refuse_device(const char* name, int device_type);

/// Rows of logits or probabilities, wherever they are. `bfloat`: its 16-bit integers are the bits of bfloat16.
Rows rows_of(Array array, bool bfloat, const char* name, RowTypes taken = RowTypes::floats);
/// That `array` has elements of this type, the shape [length] or, if `width` >= 0, [length, width], and is contiguous.
void check_output(const Array& array, nb::dlpack::dtype type, const char* name, std::int64_t length, std::int64_t width);
/// Refuses the type and shape of a mask of allowed tokens; `array` may be anywhere. Returns whether it holds bools.
bool check_mask(const Array& array, const char* name, std::int64_t rows, std::int64_t vocab_size);

}  // namespace warploom::python
