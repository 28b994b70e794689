#include "native/arrays.h"

#include <cmath>
#include <limits>

#include <nanobind/stl/string.h>

#include "native/array_checks.h"
#include "warploom/error.h"

namespace warploom::python {

namespace {

// NumPy has no bfloat16 of its own, so it exports none: the bits of ml_dtypes' go as integers.
bool is_numpy_bfloat16(nb::handle object) {
  return nb::hasattr(object, "dtype") && nb::hasattr(object, "view") && nb::hasattr(object.attr("dtype"), "name") &&
         nb::cast<std::string>(nb::str(object.attr("dtype").attr("name"))) == "bfloat16";
}

Array import(nb::handle object, const char* name) {
  Array array;
  if (!nb::try_cast(object, array) || !array.is_valid()) {
    if (const Place place = place_of(object, name); !place.on_host()) refuse_device(name, place.type);
    if (nb::hasattr(object, "dtype"))
      refuse(name, "has elements of type " + nb::cast<std::string>(nb::str(nb::object(object.attr("dtype")))) +
                       ", which neither DLPack nor the buffer protocol can export");
    refuse(name, "is a " + python_type(object) + ", not an array that DLPack or the buffer protocol can export");
  }
  if (!is_on_host(array.device_type())) refuse_device(name, array.device_type());
  return array;
}

template <typename From, typename To>
To element(const Array& array, std::int64_t offset) {
  return static_cast<To>(static_cast<const From*>(array.data())[offset]);
}

template <typename To>
To element(const Array& array, std::int64_t offset, const char* name) {
  const nb::dlpack::dtype type = array.dtype();
  if (is(type, Code::Int, 64)) return element<std::int64_t, To>(array, offset);
  if (is(type, Code::Int, 32)) return element<std::int32_t, To>(array, offset);
  if (is(type, Code::UInt, 64)) return element<std::uint64_t, To>(array, offset);
  if (is(type, Code::UInt, 32)) return element<std::uint32_t, To>(array, offset);
  if (is(type, Code::Int, 16)) return element<std::int16_t, To>(array, offset);
  if (is(type, Code::UInt, 16)) return element<std::uint16_t, To>(array, offset);
  if (is(type, Code::Int, 8)) return element<std::int8_t, To>(array, offset);
  if (is(type, Code::UInt, 8)) return element<std::uint8_t, To>(array, offset);
  if constexpr (std::is_floating_point_v<To>) {
    if (is(type, Code::Float, 64)) return element<double, To>(array, offset);
    if (is(type, Code::Float, 32)) return element<float, To>(array, offset);
  }
  refuse(name, "has elements of type " + type_name(type) + (std::is_floating_point_v<To> ? "" : "; they must be integers"));
}

[[noreturn]] void refuse_value(const char* name, nb::handle value, const std::string& bound) {
  refuse(name, "is " + std::string(nb::str(value).c_str()) + "; it must be " + bound);
}

template <typename T>
std::string bounds() {
  return "an integer in [" + std::to_string(std::numeric_limits<T>::min()) + ", " +
         std::to_string(std::numeric_limits<T>::max()) + "]";
}

}  // namespace

template <typename T>
T read_number(nb::handle value, const char* name) {
  if constexpr (std::is_floating_point_v<T>) {
    const double wide = PyFloat_AsDouble(value.ptr());
    if (PyErr_Occurred()) {
      PyErr_Clear();
      refuse(name, "is a " + python_type(value) + "; it must be a number");
    }
    return static_cast<T>(wide);
  } else {
    const nb::object integer = nb::steal(PyNumber_Index(value.ptr()));
    if (!integer.is_valid()) {
      PyErr_Clear();
      refuse(name, "is a " + python_type(value) + "; it must be an integer");
    }
    if constexpr (std::is_unsigned_v<T>) {
      const std::uint64_t wide = PyLong_AsUnsignedLongLong(integer.ptr());
      if (PyErr_Occurred() || wide > std::numeric_limits<T>::max()) {
        PyErr_Clear();
        refuse_value(name, integer, bounds<T>());
      }
      return static_cast<T>(wide);
    } else {
      const std::int64_t wide = PyLong_AsLongLong(integer.ptr());
      if (PyErr_Occurred() || wide > std::numeric_limits<T>::max() || wide < std::numeric_limits<T>::min()) {
        PyErr_Clear();
        refuse_value(name, integer, bounds<T>());
      }
      return static_cast<T>(wide);
    }
  }
}

template float read_number(nb::handle, const char*);
template double read_number(nb::handle, const char*);
template std::int32_t read_number(nb::handle, const char*);
template std::int64_t read_number(nb::handle, const char*);
template std::uint32_t read_number(nb::handle, const char*);
template std::uint64_t read_number(nb::handle, const char*);

namespace {

bool is_text(nb::handle object) {
  return nb::isinstance<nb::str>(object) || nb::isinstance<nb::bytes>(object) || PyByteArray_Check(object.ptr());
}

bool is_number(nb::handle value) {
  return PyFloat_Check(value.ptr()) || PyLong_Check(value.ptr()) ||
         (!PySequence_Check(value.ptr()) && !nb::hasattr(value, "__dlpack__"));
}

template <typename T>
bool fits(const Array& array, std::int64_t offset, const char* name) {
  if constexpr (std::is_floating_point_v<T>) return true;
  if (is(array.dtype(), Code::UInt, 64))
    return element<std::uint64_t>(array, offset, name) <= std::uint64_t(std::numeric_limits<T>::max());
  const auto wide = element<std::int64_t>(array, offset, name);
  if constexpr (std::is_unsigned_v<T>) return wide >= 0 && std::uint64_t(wide) <= std::numeric_limits<T>::max();
  return wide >= std::int64_t(std::numeric_limits<T>::min()) && wide <= std::int64_t(std::numeric_limits<T>::max());
}

template <typename T>
T checked_element(const Array& array, std::int64_t offset, const char* name) {
  if constexpr (!std::is_floating_point_v<T>)
    if (!fits<T>(array, offset, name)) refuse(name, "holds a value that is not " + bounds<T>());
  return element<T>(array, offset, name);
}

}  // namespace

Rows read_rows(nb::handle object, const char* name, RowTypes taken) {
  if (!nb::ndarray_check(object))
    refuse(name, "is a " + python_type(object) + "; it must be an array of " + type_names(taken));
  Array array;
  const bool bfloat = (!nb::try_cast(object, array) || !array.is_valid()) && is_numpy_bfloat16(object);
  if (!array.is_valid()) array = import(bfloat ? nb::object(object.attr("view")("uint16")) : nb::borrow(object), name);
  if (!is_on_host(array.device_type())) refuse_device(name, array.device_type());
  return rows_of(std::move(array), bfloat, name, taken);
}

template <typename T>
T* output_of(nb::handle object, const char* name, std::int64_t length, std::int64_t width) {
  nb::ndarray<> array;
  if (!nb::try_cast(object, array) || !array.is_valid())
    refuse(name, "is a " + python_type(object) + " that cannot be written: it must be a writable array");
  // JAX exports its immutable arrays as if they could be written.
  if (nb::cast<std::string>(nb::str(object.type().attr("__module__"))).starts_with("jax"))
    refuse(name, "is an array of JAX, which nothing may write: it must be a writable array");
  if (!is_on_host(array.device_type())) refuse(name, "is not in host memory, as the logits are");
  check_output(Array(array), nb::dtype<T>(), name, length, width);
  return static_cast<T*>(array.data());
}

template std::int32_t* output_of(nb::handle, const char*, std::int64_t, std::int64_t);
template std::int64_t* output_of(nb::handle, const char*, std::int64_t, std::int64_t);
template std::uint64_t* output_of(nb::handle, const char*, std::int64_t, std::int64_t);
template std::uint8_t* output_of(nb::handle, const char*, std::int64_t, std::int64_t);
template bool* output_of(nb::handle, const char*, std::int64_t, std::int64_t);
template float* output_of(nb::handle, const char*, std::int64_t, std::int64_t);
template double* output_of(nb::handle, const char*, std::int64_t, std::int64_t);

template <typename T>
void Column<T>::read(nb::handle value, const char* name, std::int64_t rows) {
  if (value.is_none()) return;
  if (is_text(value)) refuse(name, "is a " + python_type(value) + "; it must be a number or one for each row");
  const auto count = static_cast<std::size_t>(rows);
  if (is_number(value)) {
    own.assign(count, read_number<T>(value, name));
  } else if (nb::ndarray_check(value)) {
    array = import(value, name);
    if (array.ndim() > 1 || (array.ndim() == 1 && array.shape(0) != count))
      refuse(name, "has the shape " + shape_text(array) + "; it must be a number or have the shape (" +
                       std::to_string(rows) + ",)");
    if (array.ndim() == 1 && array.dtype() == nb::dtype<T>() && (count <= 1 || array.stride(0) == 1)) {
      data = static_cast<const T*>(array.data());
      return;
    }
    own.resize(count);
    for (std::size_t i = 0; i < count; ++i)
      own[i] = checked_element<T>(array, array.ndim() == 0 ? 0 : static_cast<std::int64_t>(i) * array.stride(0), name);
  } else {
    const auto length = PySequence_Size(value.ptr());
    if (length < 0) throw nb::python_error();
    if (static_cast<std::size_t>(length) != count)
      refuse(name, "has " + std::to_string(length) + " elements for " + std::to_string(rows) + " rows");
    for (std::size_t i = 0; i < count; ++i) own.push_back(read_number<T>(value[i], name));
  }
  data = own.data();
}

template struct Column<float>;
template struct Column<std::int32_t>;
template struct Column<std::int64_t>;
template struct Column<std::uint64_t>;
template struct Column<std::uint32_t>;

std::vector<TokenId> read_tokens(nb::handle object, const char* name) {
  std::vector<TokenId> tokens;
  if (!is_text(object) && nb::ndarray_check(object)) {
    const Array array = import(object, name);
    if (array.ndim() != 1) refuse(name, "has the shape " + shape_text(array) + "; token ids have one dimension");
    for (std::size_t i = 0; i < array.shape(0); ++i)
      tokens.push_back(checked_element<TokenId>(array, static_cast<std::int64_t>(i) * array.stride(0), name));
    return tokens;
  }
  if (!PySequence_Check(object.ptr()) || is_text(object))
    refuse(name, "is a " + python_type(object) + "; it must be a sequence or an array of token ids");
  for (nb::handle token : nb::borrow<nb::sequence>(object)) tokens.push_back(read_number<TokenId>(token, name));
  return tokens;
}

namespace {

// Packs one bool for each token.
void pack(const Array& array, std::int64_t vocab_size, std::vector<std::uint32_t>& words) {
  const bool matrix = array.ndim() == 2;
  const std::int64_t rows = matrix ? static_cast<std::int64_t>(array.shape(0)) : 1, stride = (vocab_size + 31) / 32;
  words.assign(static_cast<std::size_t>(rows * stride), 0);
  const auto* data = static_cast<const std::uint8_t*>(array.data());
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t t = 0; t < vocab_size; ++t)
      if (data[(matrix ? r * array.stride(0) : 0) + t * array.stride(array.ndim() - 1)])
        words[static_cast<std::size_t>(r * stride + t / 32)] |= std::uint32_t{1} << t % 32;
}

}  // namespace

void Mask::read(nb::handle object, const char* name, std::int64_t rows, std::int64_t vocab_size) {
  if (object.is_none()) return;
  array = import(object, name);
  const bool bools = check_mask(array, name, rows, vocab_size);
  const std::size_t ndim = array.ndim();
  const std::int64_t words = (vocab_size + 31) / 32;
  if (bools) {
    pack(array, vocab_size, own);
    stride = words;
  } else {
    data = static_cast<const std::uint32_t*>(array.data());
    stride = ndim == 2 && rows > 1 ? array.stride(0) : static_cast<std::int64_t>(array.shape(ndim - 1));
    if (stride < words) refuse(name, "is not contiguous");
  }
  if (ndim == 1 && rows > 1) repeat(rows, words);
  if (!own.empty()) data = own.data();
}

// One row's bits for each of `rows`.
void Mask::repeat(std::int64_t rows, std::int64_t words) {
  const std::vector<std::uint32_t> one(own.empty() ? data : own.data(), (own.empty() ? data : own.data()) + words);
  own.clear();
  for (std::int64_t r = 0; r < rows; ++r) own.insert(own.end(), one.begin(), one.end());
  stride = words;
}

}  // namespace warploom::python
