#include "native/cuda/parameters.h"

#include <cstring>
#include <string>
#include <type_traits>

#include "warploom/cuda/parameters.h"

namespace warploom::python {

bool DeviceParameters::read(std::string_view name, nb::handle value) {
  const std::string own(name);
  if (!place_of(value, own.c_str()).on_gpu()) return on_host_.read(name, value);
  if (name == "bias" || name == "threads") refuse(own.c_str(), "is on a GPU; it must be on the host");
  return read_tensor(name, value);
}

bool DeviceParameters::read_tensor(std::string_view name, nb::handle value) {
  const bool column = any_column([&](const char* own, auto member) {
    if (name != own) return false;
    read_column(value, own, on_gpu_.*member);
    return true;
  });
  if (column) return true;
  if (name == "history") {
    read_history(value);
  } else if (name == "allowed") {
    read_mask(value);
  } else {
    return false;
  }
  return true;
}

template <typename T>
void DeviceParameters::read_column(nb::handle value, const char* name, const T*& pointer) {
  const Array& array = held_.emplace_back(tensors_.read(value, name));
  const int bits = 8 * sizeof(T);
  const bool fitting = std::is_floating_point_v<T>
                           ? is(array.dtype(), Code::Float, bits)
                           : is(array.dtype(), Code::Int, bits) || is(array.dtype(), Code::UInt, bits);
  if (!fitting)
    refuse(name,
           "has elements of type " + type_name(array.dtype()) + "; on a GPU they must be " + type_name(nb::dtype<T>()));
  const bool one = array.ndim() == 0 && rows_.rows == 1;
  if (!one && (array.ndim() != 1 || static_cast<std::int64_t>(array.shape(0)) != rows_.rows))
    refuse(name, "has the shape " + shape_text(array) + "; on a GPU it must be (" + std::to_string(rows_.rows) + ",)");
  if (!one && rows_.rows > 1 && array.stride(0) != 1) refuse(name, "is not contiguous");
  pointer = static_cast<const T*>(array.data());
}

void DeviceParameters::read_history(nb::handle value) {
  const Array& array = held_.emplace_back(tensors_.read(value, "history"));
  const std::size_t ndim = rows_.single ? 1 : 2;
  if (array.ndim() != ndim || (!rows_.single && static_cast<std::int64_t>(array.shape(0)) != rows_.rows))
    refuse("history", "has the shape " + shape_text(array) + "; on a GPU it must be " +
                          (rows_.single ? "(tokens,)" : "(" + std::to_string(rows_.rows) + ", tokens)"));
  const auto length = static_cast<std::int64_t>(array.shape(ndim - 1));
  check_output(array, nb::dtype<TokenId>(), "history", rows_.single ? length : rows_.rows, rows_.single ? -1 : length);
  on_gpu_.history = static_cast<const TokenId*>(array.data());
  on_host_.history_is_elsewhere(length);
}

void DeviceParameters::read_mask(nb::handle value) {
  const Array& array = held_.emplace_back(tensors_.read(value, "allowed"));
  if (check_mask(array, "allowed", rows_.rows, rows_.width))
    refuse("allowed", "has elements of type bool; on a GPU it must be uint32 or int32, a bit for each token");
  if (array.ndim() == 1 && rows_.rows > 1)
    refuse("allowed", "has the shape " + shape_text(array) + "; on a GPU each of the " + std::to_string(rows_.rows) +
                          " rows needs its own");
  const std::int64_t words = (rows_.width + 31) / 32;
  on_gpu_.allowed = static_cast<const std::uint32_t*>(array.data());
  on_gpu_.allowed_stride = array.ndim() == 2 && rows_.rows > 1 ? array.stride(0) : words;
  if (on_gpu_.allowed_stride < words) refuse("allowed", "is not contiguous");
}

template <typename T>
void DeviceParameters::upload(const T*& pointer, std::int64_t count) {
  if (!pointer) return;
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T), at = upload_.size();
  upload_.resize((at + bytes + 15) / 16 * 16);
  std::memcpy(upload_.data() + at, pointer, bytes);
  moves_.emplace_back([&pointer, at](std::byte* memory) { pointer = reinterpret_cast<const T*>(memory + at); });
}

void DeviceParameters::give(SampleArgs& args) {
  if (rows_.rows == 0) return;
  for (std::int64_t r = 0; r < rows_.rows; ++r) on_host_.check_row(r);
  on_host_.give(args);
  any_column([&](const char*, auto member) {
    upload(args.*member, rows_.rows);
    if (on_gpu_.*member) args.*member = on_gpu_.*member;
    return false;
  });
  upload(args.history, on_host_.history_size());
  upload(args.history_offsets, rows_.rows + 1);
  upload(args.bias, on_host_.bias_size());
  upload(args.bias_offsets, rows_.rows + 1);
  upload(args.allowed, (rows_.rows - 1) * args.allowed_stride + (rows_.width + 31) / 32);
  if (on_gpu_.history) args.history = on_gpu_.history;
  if (on_gpu_.allowed) {
    args.allowed = on_gpu_.allowed;
    args.allowed_stride = on_gpu_.allowed_stride;
  }
}

void DeviceParameters::place(std::byte* memory) const {
  cuda::write_parameters(memory, upload_.data(), upload_.size(), tensors_.stream());
  for (const auto& move : moves_) move(memory);
}

}  // namespace warploom::python
