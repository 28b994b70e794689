#include "native/arrays.h"

#include <cmath>
#include <limits>

#include <nanobind/stl/string.h>

#include "warploom/error.h"

namespace warploom::python {

namespace {

using Array = nb::ndarray<nb::ro>;
using Code = nb::dlpack::dtype_code;

std::string type_name(nb::dlpack::dtype type) {
  static const char* const kinds[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
  const std::string kind = type.code < std::size(kinds) ? kinds[type.code] : "a type ";
  return kind == "bool" ? kind : kind + std::to_string(type.bits);
}

std::string shape_of(const nb::ndarray<nb::ro>& array) {
  std::string text = "(";
  for (std::size_t i = 0; i < array.ndim(); ++i) text += (i ? ", " : "") + std::to_string(array.shape(i));
  return text + (array.ndim() == 1 ? ",)" : ")");
}

bool is(nb::dlpack::dtype type, Code code, int bits) {
  return type.code == static_cast<std::uint8_t>(code) && type.bits == bits && type.lanes == 1;
}

std::string python_type(nb::handle object) { return nb::type_name(object.type()).c_str(); }

[[noreturn]] void refuse(const char* name, const std::string& what) {
  throw InvalidArgument(std::string(name) + " " + what);
}

// NumPy has no bfloat16 of its own, so it exports none: the bits of ml_dtypes' go as integers.
bool is_numpy_bfloat16(nb::handle object) {
  return nb::hasattr(object, "dtype") && nb::hasattr(object, "view") && nb::hasattr(object.attr("dtype"), "name") &&
         nb::cast<std::string>(nb::str(object.attr("dtype").attr("name"))) == "bfloat16";
}

[[noreturn]] void refuse_device(const char* name, int kind) {
  refuse(name, "is on a device that this build of Warploom cannot read (DLPack device type " + std::to_string(kind) +
                   "): move it to the CPU");
}

void check_device(nb::handle object, const char* name) {
  if (!nb::hasattr(object, "__dlpack_device__")) return;
  int kind = 0;
  try {
    kind = nb::cast<int>(object.attr("__dlpack_device__")()[0]);
  } catch (const std::exception& error) {
    refuse(name, std::string("does not say where it is: ") + error.what());
  }
  if (kind != nb::device::cpu::value && kind != nb::device::cuda_host::value) refuse_device(name, kind);
}

Array import(nb::handle object, const char* name) {
  Array array;
  if (!nb::try_cast(object, array) || !array.is_valid()) {
    check_device(object, name);
    refuse(name, "is a " + python_type(object) + ", not an array that DLPack or the buffer protocol can export");
  }
  if (array.device_type() != nb::device::cpu::value && array.device_type() != nb::device::cuda_host::value)
    refuse_device(name, array.device_type());
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

Rows read_rows(nb::handle object, const char* name) {
  Rows rows;
  bool bfloat = false;
  if (!nb::ndarray_check(object))
    refuse(name, "is a " + python_type(object) + "; it must be an array of float32, float16 or bfloat16");
  check_device(object, name);
  if (!nb::try_cast(object, rows.array) || !rows.array.is_valid()) {
    bfloat = is_numpy_bfloat16(object);
    rows.array = import(bfloat ? nb::object(object.attr("view")("uint16")) : nb::borrow(object), name);
  }
  const nb::dlpack::dtype type = rows.array.dtype();
  if (is(type, Code::Float, 32)) {
    rows.type = DType::f32;
  } else if (is(type, Code::Float, 16)) {
    rows.type = DType::f16;
  } else if (bfloat || is(type, Code::Bfloat, 16)) {
    rows.type = DType::bf16;
  } else {
    refuse(name, "has elements of type " + type_name(type) + "; they must be float32, float16 or bfloat16");
  }
  const std::size_t ndim = rows.array.ndim();
  if (ndim != 1 && ndim != 2)
    refuse(name, "has the shape " + shape_of(rows.array) + "; it must be (vocabulary,) or (rows, vocabulary)");
  rows.single = ndim == 1;
  rows.rows = rows.single ? 1 : static_cast<std::int64_t>(rows.array.shape(0));
  rows.width = static_cast<std::int64_t>(rows.array.shape(ndim - 1));
  rows.data = rows.array.data();
  if (rows.rows > 0 && rows.width > 1 && rows.array.stride(ndim - 1) != 1)
    refuse(name, "has a stride of " + std::to_string(rows.array.stride(ndim - 1)) +
                     " elements between the logits of a row; it must be 1: make a contiguous copy");
  rows.stride = rows.single || rows.rows <= 1 ? rows.width : rows.array.stride(0);
  if (rows.stride < rows.width)
    refuse(name, "has a stride of " + std::to_string(rows.stride) + " elements between rows; it must be at least " +
                     std::to_string(rows.width) + ": make a contiguous copy");
  return rows;
}

template <typename T>
T* output_of(nb::handle object, const char* name, std::int64_t length, std::int64_t width) {
  nb::ndarray<> array;
  if (!nb::try_cast(object, array) || !array.is_valid())
    refuse(name, "is a " + python_type(object) + " that cannot be written: it must be a writable array");
  // JAX exports its immutable arrays as if they could be written.
  if (nb::cast<std::string>(nb::str(object.type().attr("__module__"))).starts_with("jax"))
    refuse(name, "is an array of JAX, which nothing may write: it must be a writable array");
  const Array shown(array);
  if (array.device_type() != nb::device::cpu::value && array.device_type() != nb::device::cuda_host::value)
    refuse(name, "is not in host memory, as the logits are");
  if (array.dtype() != nb::dtype<T>())
    refuse(name, "has elements of type " + type_name(array.dtype()) + "; they must be " + type_name(nb::dtype<T>()));
  const bool matrix = width >= 0;
  const bool fitting = array.ndim() == (matrix ? 2u : 1u) && static_cast<std::int64_t>(array.shape(0)) == length &&
                       (!matrix || static_cast<std::int64_t>(array.shape(1)) == width);
  if (!fitting)
    refuse(name, "has the shape " + shape_of(shown) + "; it must be (" + std::to_string(length) +
                     (matrix ? ", " + std::to_string(width) + ")" : ",)"));
  std::int64_t expected = 1;
  for (std::size_t i = array.ndim(); i-- > 0;) {
    if (array.shape(i) > 1 && array.stride(i) != expected) refuse(name, "is not contiguous");
    expected *= static_cast<std::int64_t>(array.shape(i));
  }
  return static_cast<T*>(array.data());
}

template std::int32_t* output_of(nb::handle, const char*, std::int64_t, std::int64_t);
template std::int64_t* output_of(nb::handle, const char*, std::int64_t, std::int64_t);
template std::uint64_t* output_of(nb::handle, const char*, std::int64_t, std::int64_t);
template std::uint8_t* output_of(nb::handle, const char*, std::int64_t, std::int64_t);
template float* output_of(nb::handle, const char*, std::int64_t, std::int64_t);
template double* output_of(nb::handle, const char*, std::int64_t, std::int64_t);

template <typename T>
void Column<T>::read(nb::handle value, const char* name, std::int64_t rows) {
  if (value.is_none()) return;
  const auto count = static_cast<std::size_t>(rows);
  if (is_number(value)) {
    own.assign(count, read_number<T>(value, name));
  } else if (nb::ndarray_check(value)) {
    array = import(value, name);
    if (array.ndim() > 1 || (array.ndim() == 1 && array.shape(0) != count))
      refuse(name,
             "has the shape " + shape_of(array) + "; it must be a number or have the shape (" + std::to_string(rows) + ",)");
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
  if (nb::ndarray_check(object)) {
    const Array array = import(object, name);
    if (array.ndim() != 1) refuse(name, "has the shape " + shape_of(array) + "; token ids have one dimension");
    for (std::size_t i = 0; i < array.shape(0); ++i)
      tokens.push_back(checked_element<TokenId>(array, static_cast<std::int64_t>(i) * array.stride(0), name));
    return tokens;
  }
  if (!PySequence_Check(object.ptr()) || nb::isinstance<nb::str>(object) || nb::isinstance<nb::bytes>(object))
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
  const std::size_t ndim = array.ndim();
  const nb::dlpack::dtype type = array.dtype();
  const bool bools = is(type, Code::Bool, 8);
  if (!bools && !is(type, Code::UInt, 32) && !is(type, Code::Int, 32))
    refuse(name,
           "has elements of type " + type_name(type) + "; they must be uint32 or int32 (a bit for each token) or bool");
  const std::int64_t words = (vocab_size + 31) / 32, least = bools ? vocab_size : words;
  const bool fitting = (ndim == 1 || (ndim == 2 && static_cast<std::int64_t>(array.shape(0)) == rows)) &&
                       (bools ? static_cast<std::int64_t>(array.shape(ndim - 1)) == least
                              : static_cast<std::int64_t>(array.shape(ndim - 1)) >= least);
  if (!fitting)
    refuse(name, "has the shape " + shape_of(array) + "; it must be (" + std::to_string(least) + ",) or (" +
                     std::to_string(rows) + ", " + std::to_string(least) + ")" + (bools ? "" : ", or wider"));
  if (bools) {
    pack(array, vocab_size, own);
    stride = words;
  } else {
    if (array.shape(ndim - 1) > 1 && array.stride(ndim - 1) != 1) refuse(name, "is not contiguous");
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
