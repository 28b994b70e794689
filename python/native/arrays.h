// Arrays of other packages, by DLPack or the buffer protocol, without a copy.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "warploom/types.h"

namespace warploom::python {

namespace nb = nanobind;

/// Rows of numbers to read: what the caller passed, kept while this lives.
struct Rows {
  nb::ndarray<nb::ro> array;
  const void* data = nullptr;
  DType type = DType::f32;
  bool single = false;  // one row, without a dimension for rows
  std::int64_t rows = 0, width = 0, stride = 0;
};

enum class RowTypes : std::uint8_t { floats, float32 };  // f32, f16 and bf16, or f32 alone

/// Numbers [width] or [rows, width] in host memory, each row contiguous; a stride of 0 repeats the first. Throws
/// InvalidArgument with `name`.
Rows read_rows(nb::handle object, const char* name, RowTypes taken = RowTypes::floats);

/// An array to write, [length] or, if `width` >= 0, [length, width], contiguous. Throws InvalidArgument.
template <typename T>
T* output_of(nb::handle object, const char* name, std::int64_t length, std::int64_t width = -1);

/// A parameter for each row: one number for all, or an array or sequence of `rows` numbers, converted if need be.
template <typename T>
struct Column {
  nb::ndarray<nb::ro> array;  // where `data` is the caller's
  std::vector<T> own;
  const T* data = nullptr;  // [rows]; null: not given

  void read(nb::handle value, const char* name, std::int64_t rows);
};

/// A Python number, or one of NumPy's. Throws InvalidArgument if it is none or does not fit.
template <typename T>
T read_number(nb::handle value, const char* name);

/// Integers of any kind of array or sequence, one after the other. Throws InvalidArgument if one is no token id.
std::vector<TokenId> read_tokens(nb::handle object, const char* name);

/// Bits of allowed tokens: 32 to a word, as uint32 or int32, or one bool for each token; for one row or for each.
struct Mask {
  nb::ndarray<nb::ro> array;
  std::vector<std::uint32_t> own;
  const std::uint32_t* data = nullptr;
  std::int64_t stride = 0;  // words between rows

  void read(nb::handle object, const char* name, std::int64_t rows, std::int64_t vocab_size);

 private:
  void repeat(std::int64_t rows, std::int64_t words);
};

/// A new NumPy array that owns `values`.
template <typename T>
nb::object to_numpy(std::vector<T>&& values, std::vector<std::size_t> shape) {
  auto* own = new std::vector<T>(std::move(values));
  nb::capsule owner(own, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, T>(own->data(), shape.size(), shape.data(), owner));
}

}  // namespace warploom::python
