#include "checkpoint/gguf.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "warploom/error.h"

namespace warploom {

namespace {

constexpr std::uint64_t kDefaultAlignment = 32;

template <typename T>
std::string_view kind_name(const T&) {
  if constexpr (std::is_same_v<T, std::uint64_t> || std::is_same_v<T, std::int64_t>) return "an integer";
  if constexpr (std::is_same_v<T, double>) return "a number with a fraction";
  if constexpr (std::is_same_v<T, bool>) return "a truth value";
  if constexpr (std::is_same_v<T, std::string_view>) return "a string";
  return "an array";
}

}  // namespace

GgufFile::GgufFile(const std::filesystem::path& path)
    : path_(path),
      file_(path_),
      header_(parse_gguf_header(file_.bytes(), path_, [this](std::uint64_t end) { return file_.read_to(end); })) {
  for (std::size_t i = 0; i < header_.metadata.size(); ++i) keys_.emplace(header_.metadata[i].first, i);
  for (std::size_t i = 0; i < header_.tensors.size(); ++i) names_.emplace(header_.tensors[i].name, i);
  place_tensors();
}

void GgufFile::fail(const std::string& what) const { throw ModelError(fmt::format("{}: {}", path_.string(), what)); }

template <typename T>
const T& GgufFile::get(std::string_view key, const GgufValue& value, const char* wanted) const {
  if (const T* found = std::get_if<T>(&value)) return *found;
  fail(fmt::format("{} is {}, not {}", key, std::visit([](const auto& v) { return kind_name(v); }, value), wanted));
}

template <typename T>
T GgufFile::need(std::string_view key, const std::optional<T>& value) const {
  if (!value) fail(fmt::format("the file says nothing of {}", key));
  return *value;
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto it = keys_.find(key);
  return it == keys_.end() ? nullptr : &header_.metadata[it->second].second;
}
const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto it = names_.find(name);
  return it == names_.end() ? nullptr : &header_.tensors[it->second];
}

std::optional<std::int64_t> GgufFile::get_int(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* number = std::get_if<std::int64_t>(value)) return *number;
  const auto& number = get<std::uint64_t>(key, *value, "an integer");
  if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    fail(fmt::format("{} is {}, which is out of range", key, number));
  return static_cast<std::int64_t>(number);
}
std::vector<std::int64_t> GgufFile::get_ints(std::string_view key) const {
  const GgufValue* value = find(key);
  const auto* array = value ? std::get_if<GgufArray>(value) : nullptr;
  if (!array) {
    const auto one = get_int(key);
    return one ? std::vector{*one} : std::vector<std::int64_t>();
  }
  if (const auto* numbers = std::get_if<std::vector<std::int64_t>>(array)) return *numbers;
  const auto* numbers = std::get_if<std::vector<std::uint64_t>>(array);
  if (!numbers) fail(fmt::format("{} is an array, but not of integers", key));
  std::vector<std::int64_t> all;
  for (const std::uint64_t number : *numbers) {
    if (!std::in_range<std::int64_t>(number)) fail(fmt::format("{} holds {}, which is out of range", key, number));
    all.push_back(static_cast<std::int64_t>(number));
  }
  return all;
}
std::optional<double> GgufFile::get_float(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* number = std::get_if<double>(value)) return *number;
  return static_cast<double>(*get_int(key));
}
std::optional<bool> GgufFile::get_bool(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  return get<bool>(key, *value, "a truth value");
}
std::optional<std::string_view> GgufFile::get_string(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  return get<std::string_view>(key, *value, "a string");
}
std::int64_t GgufFile::need_int(std::string_view key) const { return need(key, get_int(key)); }
std::string_view GgufFile::need_string(std::string_view key) const { return need(key, get_string(key)); }
const std::vector<std::string_view>* GgufFile::get_strings(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return nullptr;
  const auto* strings = std::get_if<std::vector<std::string_view>>(&get<GgufArray>(key, *value, "an array of strings"));
  if (!strings) fail(fmt::format("{} is not an array of strings", key));
  return strings;
}

WeightView GgufFile::matrix(std::string_view name, std::int64_t rows, std::int64_t cols) const {
  const GgufTensor* tensor = find_tensor(name);
  if (!tensor) fail(fmt::format("tensor \"{}\" is missing", name));
  if (!tensor->type)
    fail(fmt::format(
        "tensor \"{}\" is of element type {} (number {}), which is not supported; supported are F32, F16, BF16, Q4_0, "
        "Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K",
        name, tensor->type_name, tensor->raw_type));
  WeightView view;
  view.type = *tensor->type;
  view.rows = tensor->shape.size() == 2 ? tensor->shape[0] : 1;
  view.cols = tensor->shape.back();
  view.name = tensor->name;
  if (tensor->shape.size() > 2 || (rows >= 0 && view.rows != rows) || (cols >= 0 && view.cols != cols))
    fail(fmt::format("tensor \"{}\" is [{}], not [{}, {}]", name, fmt::join(tensor->shape, ", "),
                     rows >= 0 ? std::to_string(rows) : "any", cols >= 0 ? std::to_string(cols) : "any"));
  return view;
}

void GgufFile::read(const WeightView& view, std::int64_t first, std::int64_t count, std::byte* out) const {
  const GgufTensor* tensor = find_tensor(view.name);
  if (!tensor) fail(fmt::format("tensor \"{}\" is missing", view.name));
  const std::size_t row = view.row_bytes();
  file_.read(tensor->offset + static_cast<std::size_t>(first) * row, {out, static_cast<std::size_t>(count) * row});
}

// Offsets count from the first aligned byte after the header.
void GgufFile::place_tensors() {
  const std::int64_t asked = get_int("general.alignment").value_or(static_cast<std::int64_t>(kDefaultAlignment));
  if (asked < 1 || asked > 65536 || (asked & (asked - 1)) != 0)
    fail(fmt::format("general.alignment is {}, not a power of two up to 65536", asked));
  const auto alignment = static_cast<std::uint64_t>(asked);
  const std::uint64_t start = (header_.bytes + alignment - 1) / alignment * alignment;
  std::vector<const GgufTensor*> by_offset;
  for (GgufTensor& tensor : header_.tensors) {
    const auto wrong = [&](const std::string& what) { fail(fmt::format("tensor \"{}\": {}", tensor.name, what)); };
    if (tensor.offset % alignment != 0) wrong(fmt::format("offset {} is not a multiple of {}", tensor.offset, alignment));
    const std::uint64_t room = bytes() > start ? bytes() - start : 0;
    if (tensor.offset > room || tensor.bytes > room - tensor.offset)
      wrong(
          fmt::format("{} bytes at offset {} do not fit the file's {} bytes of tensors", tensor.bytes, tensor.offset, room));
    tensor.offset += start;
    by_offset.push_back(&tensor);
  }
  std::sort(by_offset.begin(), by_offset.end(),
            [](const GgufTensor* a, const GgufTensor* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < by_offset.size(); ++i) {
    const GgufTensor &before = *by_offset[i - 1], &after = *by_offset[i];
    if (before.offset + before.bytes > after.offset)
      fail(fmt::format("tensors \"{}\" and \"{}\" overlap at byte {}", before.name, after.name, after.offset));
  }
}

}  // namespace warploom
