// Parameters of a call on a GPU: tensors there are read where they are; what is on the host travels with the launch.
#pragma once

#include <functional>
#include <vector>

#include "native/cuda/tensors.h"
#include "native/draw_parameters.h"

namespace warploom::python {

/// How to draw from rows on a GPU. `tensors` and `rows` must outlive it.
class DeviceParameters {
 public:
  DeviceParameters(const Tensors& tensors, const Rows& rows)
      : tensors_(tensors), rows_(rows), on_host_(rows.rows, rows.width, rows.single) {}
  /// Reads the option of that name; false if it is none. Throws InvalidArgument on a value that fits no row.
  bool read(std::string_view name, nb::handle value);

  /// Points `args` to what was given. What is on the host has no valid address before place(), and counts in bytes(). Throws
  /// InvalidArgument on such a value that is out of range.
  void give(SampleArgs& args);
  std::size_t bytes() const { return upload_.size(); }
  /// Writes what is on the host to `memory`, bytes() of the GPU's, and points the `args` of give() there.
  void place(std::byte* memory) const;

 private:
  bool read_tensor(std::string_view name, nb::handle value);
  template <typename T>
  void read_column(nb::handle value, const char* name, const T*& pointer);
  void read_history(nb::handle value);
  void read_mask(nb::handle value);
  template <typename T>
  void upload(const T*& pointer, std::int64_t count);

  const Tensors& tensors_;
  const Rows& rows_;
  DrawParameters on_host_;
  SampleArgs on_gpu_;
  std::vector<Array> held_;  // the caller's tensors
  std::vector<std::byte> upload_;
  std::vector<std::function<void(std::byte*)>> moves_;
};

}  // namespace warploom::python
