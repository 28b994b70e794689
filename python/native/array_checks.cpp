#include "native/array_checks.h"

#include "warploom/error.h"

namespace warploom::python {

void refuse(const char* name, const std::string& what) { throw InvalidArgument(std::string(name) + " " + what); }

std::string python_type(nb::handle object) { return nb::type_name(object.type()).c_str(); }

std::string type_name(nb::dlpack::dtype type) {
  static const char* const kinds[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
  const std::string kind = type.code < std::size(kinds) ? kinds[type.code] : "a type ";
  return kind == "bool" ? kind : kind + std::to_string(type.bits);
}

std::string shape_text(const Array& array) {
  std::string text = "(";
  for (std::size_t i = 0; i < array.ndim(); ++i) text += (i ? ", " : "") + std::to_string(array.shape(i));
  return text + (array.ndim() == 1 ? ",)" : ")");
}

Place place_of(nb::handle object, const char* name) {
  if (!nb::hasattr(object, "__dlpack_device__")) return {};
  try {
    const nb::object said = object.attr("__dlpack_device__")();
    return {nb::cast<int>(said[0]), nb::cast<int>(said[1])};
  } catch (const std::exception& error) {
    refuse(name, std::string("does not say where it is: ") + error.what());
  }
}

void refuse_device(const char* name, int device_type) {
  refuse(name, "is on a device that Warploom cannot read (DLPack device type " + std::to_string(device_type) +
                   "): move it to the CPU");
}

std::string type_names(RowTypes types) { return types == RowTypes::floats ? "float32, float16 or bfloat16" : "float32"; }

Rows rows_of(Array array, bool bfloat, const char* name, RowTypes taken) {
  Rows rows;
  rows.array = std::move(array);
  const nb::dlpack::dtype type = rows.array.dtype();
  if (is(type, Code::Float, 32)) {
    rows.type = DType::f32;
  } else if (taken == RowTypes::floats && is(type, Code::Float, 16)) {
    rows.type = DType::f16;
  } else if (taken == RowTypes::floats && (bfloat || is(type, Code::Bfloat, 16))) {
    rows.type = DType::bf16;
  } else {
    refuse(name, "has elements of type " + (bfloat ? "bfloat16" : type_name(type)) + "; they must be " + type_names(taken));
  }
  const std::size_t ndim = rows.array.ndim();
  if (ndim != 1 && ndim != 2)
    refuse(name, "has the shape " + shape_text(rows.array) + "; it must be (vocabulary,) or (rows, vocabulary)");
  rows.single = ndim == 1;
  rows.rows = rows.single ? 1 : static_cast<std::int64_t>(rows.array.shape(0));
  rows.width = static_cast<std::int64_t>(rows.array.shape(ndim - 1));
  rows.data = rows.array.data();
  if (rows.rows > 0 && rows.width > 1 && rows.array.stride(ndim - 1) != 1)
    refuse(name, "has a stride of " + std::to_string(rows.array.stride(ndim - 1)) +
                     " elements between the logits of a row; it must be 1: make a contiguous copy");
  rows.stride = rows.single || rows.rows <= 1 ? rows.width : rows.array.stride(0);
  if (rows.stride != 0 && rows.stride < rows.width)
    refuse(name, "has a stride of " + std::to_string(rows.stride) + " elements between rows; it must be 0 or at least " +
                     std::to_string(rows.width) + ": make a contiguous copy");
  return rows;
}

void check_output(const Array& array, nb::dlpack::dtype type, const char* name, std::int64_t length, std::int64_t width) {
  if (array.dtype() != type)
    refuse(name, "has elements of type " + type_name(array.dtype()) + "; they must be " + type_name(type));
  const bool matrix = width >= 0;
  const bool fitting = array.ndim() == (matrix ? 2u : 1u) && static_cast<std::int64_t>(array.shape(0)) == length &&
                       (!matrix || static_cast<std::int64_t>(array.shape(1)) == width);
  if (!fitting)
    refuse(name, "has the shape " + shape_text(array) + "; it must be (" + std::to_string(length) +
                     (matrix ? ", " + std::to_string(width) + ")" : ",)"));
  std::int64_t expected = 1;
  for (std::size_t i = array.ndim(); i-- > 0;) {
    if (array.shape(i) > 1 && array.stride(i) != expected) refuse(name, "is not contiguous");
    expected *= static_cast<std::int64_t>(array.shape(i));
  }
}

bool check_mask(const Array& array, const char* name, std::int64_t rows, std::int64_t vocab_size) {
  const std::size_t ndim = array.ndim();
  const nb::dlpack::dtype type = array.dtype();
  const bool bools = is(type, Code::Bool, 8);
  if (!bools && !is(type, Code::UInt, 32) && !is(type, Code::Int, 32))
    refuse(name,
           "has elements of type " + type_name(type) + "; they must be uint32 or int32 (a bit for each token) or bool");
  const std::int64_t least = bools ? vocab_size : (vocab_size + 31) / 32;
  const bool fitting = (ndim == 1 || (ndim == 2 && static_cast<std::int64_t>(array.shape(0)) == rows)) &&
                       (bools ? static_cast<std::int64_t>(array.shape(ndim - 1)) == least
                              : static_cast<std::int64_t>(array.shape(ndim - 1)) >= least);
  if (!fitting)
    refuse(name, "has the shape " + shape_text(array) + "; it must be (" + std::to_string(least) + ",) or (" +
                     std::to_string(rows) + ", " + std::to_string(least) + ")" + (bools ? "" : ", or wider"));
  if (!bools && array.shape(ndim - 1) > 1 && array.stride(ndim - 1) != 1) refuse(name, "is not contiguous");
  return bools;
}

}  // namespace warploom::python
