// GGUF as its specification in the ggml repository (docs/gguf.md) describes it.
#include "formats/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "formats/mapped_file.h"
#include "warploom/error.h"

namespace warploom {

namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read as it lies in memory");

enum class Kind : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 40;  // in a tensor; keeps every product inside 64 bits
constexpr std::uint64_t kDefaultAlignment = 32;

std::optional<WeightType> weight_type(std::uint32_t raw) {
  switch (raw) {
    case 0: return WeightType::f32;
    case 1: return WeightType::f16;
    case 2: return WeightType::q4_0;
    case 3: return WeightType::q4_1;
    case 6: return WeightType::q5_0;
    case 7: return WeightType::q5_1;
    case 8: return WeightType::q8_0;
    case 12: return WeightType::q4_k;
    case 13: return WeightType::q5_k;
    case 14: return WeightType::q6_k;
    case 30: return WeightType::bf16;
    default: return std::nullopt;
  }
}

std::string_view unknown_type_name(std::uint32_t raw) {
  switch (raw) {
    case 9: return "Q8_1";
    case 10: return "Q2_K";
    case 11: return "Q3_K";
    case 15: return "Q8_K";
    case 24: return "I8";
    case 25: return "I16";
    case 26: return "I32";
    case 27: return "I64";
    case 28: return "F64";
    default: return "unknown";
  }
}

/// Reads front to back and never past the end.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::filesystem::path& path) : bytes_(bytes), path_(path) {}

  std::uint64_t offset() const { return at_; }
  std::uint64_t left() const { return bytes_.size() - at_; }

  [[noreturn]] void fail(const std::string& what) const { fail_at(at_, what); }
  [[noreturn]] void fail_at(std::uint64_t offset, const std::string& what) const {
    throw ModelError(fmt::format("{}: damaged GGUF file at byte {}: {}", path_.string(), offset, what));
  }

  template <typename T>
  T read(const char* what) {
    if (left() < sizeof(T)) fail(fmt::format("the file ends inside {}", what));
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::string_view string(const char* what) {
    const std::uint64_t start = at_;
    const auto length = read<std::uint64_t>(what);
    if (length > left()) fail_at(start, fmt::format("{} claims {} bytes, {} are left", what, length, left()));
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data() + at_), static_cast<std::size_t>(length));
    at_ += length;
    return text;
  }

 private:
  std::span<const std::byte> bytes_;
  const std::filesystem::path& path_;
  std::uint64_t at_ = 0;
};

std::size_t least_bytes(Kind kind) {
  switch (kind) {
    case Kind::u8:
    case Kind::i8:
    case Kind::boolean: return 1;
    case Kind::u16:
    case Kind::i16: return 2;
    case Kind::u32:
    case Kind::i32:
    case Kind::f32: return 4;
    default: return 8;
  }
}

Kind read_kind(Cursor& cursor) {
  const std::uint64_t at = cursor.offset();
  const auto raw = cursor.read<std::uint32_t>("a value's kind");
  if (raw > static_cast<std::uint32_t>(Kind::f64)) cursor.fail_at(at, fmt::format("value kind {} does not exist", raw));
  return static_cast<Kind>(raw);
}

std::uint64_t read_unsigned(Cursor& cursor, Kind kind) {
  switch (kind) {
    case Kind::u8: return cursor.read<std::uint8_t>("a value");
    case Kind::u16: return cursor.read<std::uint16_t>("a value");
    case Kind::u32: return cursor.read<std::uint32_t>("a value");
    default: return cursor.read<std::uint64_t>("a value");
  }
}
std::int64_t read_signed(Cursor& cursor, Kind kind) {
  switch (kind) {
    case Kind::i8: return cursor.read<std::int8_t>("a value");
    case Kind::i16: return cursor.read<std::int16_t>("a value");
    case Kind::i32: return cursor.read<std::int32_t>("a value");
    default: return cursor.read<std::int64_t>("a value");
  }
}
double read_floating(Cursor& cursor, Kind kind) {
  return kind == Kind::f32 ? static_cast<double>(cursor.read<float>("a value")) : cursor.read<double>("a value");
}
bool read_boolean(Cursor& cursor) {
  const std::uint64_t at = cursor.offset();
  const auto raw = cursor.read<std::uint8_t>("a value");
  if (raw > 1) cursor.fail_at(at, fmt::format("{} is neither false nor true", raw));
  return raw == 1;
}

template <typename T, typename Read>
GgufArray read_elements(std::uint64_t count, const Read& read) {
  std::vector<T> values;
  values.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) values.push_back(read());
  return values;
}

GgufArray read_array(Cursor& cursor) {
  const std::uint64_t at = cursor.offset();
  const Kind kind = read_kind(cursor);
  const auto count = cursor.read<std::uint64_t>("an array's length");
  if (kind == Kind::array) cursor.fail_at(at, "arrays of arrays are not supported");
  if (count > cursor.left() / least_bytes(kind))
    cursor.fail_at(at, fmt::format("an array claims {} elements, {} bytes are left", count, cursor.left()));
  switch (kind) {
    case Kind::u8:
    case Kind::u16:
    case Kind::u32:
    case Kind::u64: return read_elements<std::uint64_t>(count, [&] { return read_unsigned(cursor, kind); });
    case Kind::i8:
    case Kind::i16:
    case Kind::i32:
    case Kind::i64: return read_elements<std::int64_t>(count, [&] { return read_signed(cursor, kind); });
    case Kind::f32:
    case Kind::f64: return read_elements<double>(count, [&] { return read_floating(cursor, kind); });
    case Kind::boolean: return read_elements<bool>(count, [&] { return read_boolean(cursor); });
    default: return read_elements<std::string_view>(count, [&] { return cursor.string("a string"); });
  }
}

GgufValue read_value(Cursor& cursor) {
  const Kind kind = read_kind(cursor);
  switch (kind) {
    case Kind::u8:
    case Kind::u16:
    case Kind::u32:
    case Kind::u64: return read_unsigned(cursor, kind);
    case Kind::i8:
    case Kind::i16:
    case Kind::i32:
    case Kind::i64: return read_signed(cursor, kind);
    case Kind::f32:
    case Kind::f64: return read_floating(cursor, kind);
    case Kind::boolean: return read_boolean(cursor);
    case Kind::string: return cursor.string("a string");
    case Kind::array: return read_array(cursor);
  }
  cursor.fail("unreachable value kind");
}

GgufTensor read_tensor(Cursor& cursor) {
  const std::uint64_t at = cursor.offset();
  GgufTensor tensor;
  tensor.name = cursor.string("a tensor's name");
  const auto fail = [&](const std::string& what) {
    cursor.fail_at(at, fmt::format("tensor \"{}\": {}", tensor.name, what));
  };
  const auto dimensions = cursor.read<std::uint32_t>("a tensor's dimensions");
  if (dimensions < 1 || dimensions > 4) fail(fmt::format("{} dimensions, outside [1, 4]", dimensions));
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    const auto size = cursor.read<std::uint64_t>("a tensor's dimensions");
    if (size < 1 || size > kMaxElements / elements) fail(fmt::format("dimension {} is {}: empty, or too large", i, size));
    elements *= size;
    tensor.shape.insert(tensor.shape.begin(), static_cast<std::int64_t>(size));
  }
  tensor.raw_type = cursor.read<std::uint32_t>("a tensor's type");
  tensor.type = weight_type(tensor.raw_type);
  tensor.type_name = unknown_type_name(tensor.raw_type);
  tensor.offset = cursor.read<std::uint64_t>("a tensor's offset");
  if (!tensor.type) return tensor;
  const WeightTypeTraits type = traits(*tensor.type);
  tensor.type_name = type.name;
  if (tensor.shape.back() % type.block != 0)
    fail(fmt::format("rows of {} elements are no whole number of {} blocks of {}", tensor.shape.back(), type.name,
                     type.block));
  tensor.bytes = elements / static_cast<std::uint64_t>(type.block) * type.block_bytes;
  return tensor;
}

template <typename T>
std::string_view kind_name(const T&) {
  if constexpr (std::is_same_v<T, std::uint64_t> || std::is_same_v<T, std::int64_t>) return "an integer";
  if constexpr (std::is_same_v<T, double>) return "a number with a fraction";
  if constexpr (std::is_same_v<T, bool>) return "a truth value";
  if constexpr (std::is_same_v<T, std::string_view>) return "a string";
  return "an array";
}

class MappedGguf final : public GgufFile {
 public:
  explicit MappedGguf(const std::filesystem::path& path) : path_(path), file_(path_) { parse(); }

  const std::filesystem::path& path() const override { return path_; }
  std::uint32_t version() const override { return version_; }
  std::uint64_t bytes() const override { return file_.bytes().size(); }
  std::span<const std::pair<std::string_view, GgufValue>> metadata() const override { return metadata_; }
  std::span<const GgufTensor> tensors() const override { return tensors_; }

  const GgufValue* find(std::string_view key) const override {
    const auto it = keys_.find(key);
    return it == keys_.end() ? nullptr : &metadata_[it->second].second;
  }
  const GgufTensor* find_tensor(std::string_view name) const override {
    const auto it = names_.find(name);
    return it == names_.end() ? nullptr : &tensors_[it->second];
  }

  std::optional<std::int64_t> get_int(std::string_view key) const override {
    const GgufValue* value = find(key);
    if (!value) return std::nullopt;
    if (const auto* number = std::get_if<std::int64_t>(value)) return *number;
    const auto& number = get<std::uint64_t>(key, *value, "an integer");
    if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      fail(fmt::format("{} is {}, which is out of range", key, number));
    return static_cast<std::int64_t>(number);
  }
  std::optional<double> get_float(std::string_view key) const override {
    const GgufValue* value = find(key);
    if (!value) return std::nullopt;
    if (const auto* number = std::get_if<double>(value)) return *number;
    return static_cast<double>(*get_int(key));
  }
  std::optional<bool> get_bool(std::string_view key) const override {
    const GgufValue* value = find(key);
    if (!value) return std::nullopt;
    return get<bool>(key, *value, "a truth value");
  }
  std::optional<std::string_view> get_string(std::string_view key) const override {
    const GgufValue* value = find(key);
    if (!value) return std::nullopt;
    return get<std::string_view>(key, *value, "a string");
  }
  std::int64_t need_int(std::string_view key) const override { return need(key, get_int(key)); }
  std::string_view need_string(std::string_view key) const override { return need(key, get_string(key)); }
  const std::vector<std::string_view>* get_strings(std::string_view key) const override {
    const GgufValue* value = find(key);
    if (!value) return nullptr;
    const auto* strings = std::get_if<std::vector<std::string_view>>(&get<GgufArray>(key, *value, "an array of strings"));
    if (!strings) fail(fmt::format("{} is not an array of strings", key));
    return strings;
  }

  WeightView matrix(std::string_view name, std::int64_t rows, std::int64_t cols) const override {
    const GgufTensor* tensor = find_tensor(name);
    if (!tensor) fail(fmt::format("tensor \"{}\" is missing", name));
    if (!tensor->type)
      fail(fmt::format("tensor \"{}\" is of type {} ({}), which is not supported", name, tensor->type_name,
                       tensor->raw_type));
    WeightView view;
    view.type = *tensor->type;
    view.rows = tensor->shape.size() == 2 ? tensor->shape[0] : 1;
    view.cols = tensor->shape.back();
    view.name = tensor->name;
    view.data = file_.bytes().data() + tensor->offset;
    if (tensor->shape.size() > 2 || (rows >= 0 && view.rows != rows) || (cols >= 0 && view.cols != cols))
      fail(fmt::format("tensor \"{}\" is [{}], not [{}, {}]", name, fmt::join(tensor->shape, ", "),
                       rows >= 0 ? std::to_string(rows) : "any", cols >= 0 ? std::to_string(cols) : "any"));
    return view;
  }

  void release(const WeightView& view) const override {
    file_.release(static_cast<std::size_t>(view.data - file_.bytes().data()), view.bytes());
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw ModelError(fmt::format("{}: {}", path_.string(), what)); }

  template <typename T>
  const T& get(std::string_view key, const GgufValue& value, const char* wanted) const {
    if (const T* found = std::get_if<T>(&value)) return *found;
    fail(fmt::format("{} is {}, not {}", key, std::visit([](const auto& v) { return kind_name(v); }, value), wanted));
  }
  template <typename T>
  T need(std::string_view key, const std::optional<T>& value) const {
    if (!value) fail(fmt::format("the file says nothing of {}", key));
    return *value;
  }

  void parse() {
    Cursor cursor(file_.bytes(), path_);
    if (bytes() < 4 || std::memcmp(file_.bytes().data(), "GGUF", 4) != 0)
      fail("is not a GGUF file: it does not start with \"GGUF\"");
    cursor.read<std::uint32_t>("the magic number");
    version_ = cursor.read<std::uint32_t>("the version");
    if ((version_ & 0xffffu) == 0 && version_ != 0) fail("is a big-endian GGUF file; only little-endian ones are supported");
    if (version_ != 2 && version_ != 3) fail(fmt::format("is GGUF version {}; supported are 2 and 3", version_));
    const auto tensor_count = cursor.read<std::uint64_t>("the number of tensors");
    const auto key_count = cursor.read<std::uint64_t>("the number of keys");
    // The smallest tensor entry takes 32 bytes, the smallest key 13.
    if (tensor_count > cursor.left() / 32) cursor.fail(fmt::format("{} tensors do not fit the file", tensor_count));
    if (key_count > cursor.left() / 13) cursor.fail(fmt::format("{} keys do not fit the file", key_count));
    parse_metadata(cursor, key_count);
    tensors_.reserve(static_cast<std::size_t>(tensor_count));
    for (std::uint64_t i = 0; i < tensor_count; ++i) {
      const std::uint64_t at = cursor.offset();
      tensors_.push_back(read_tensor(cursor));
      if (!names_.emplace(tensors_.back().name, tensors_.size() - 1).second)
        cursor.fail_at(at, fmt::format("tensor \"{}\" stands there twice", tensors_.back().name));
    }
    place_tensors(cursor);
  }

  void parse_metadata(Cursor& cursor, std::uint64_t count) {
    metadata_.reserve(static_cast<std::size_t>(count));
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t at = cursor.offset();
      const std::string_view key = cursor.string("a key");
      metadata_.emplace_back(key, read_value(cursor));
      if (!keys_.emplace(key, metadata_.size() - 1).second)
        cursor.fail_at(at, fmt::format("key \"{}\" stands there twice", key));
    }
  }

  // Offsets count from the first aligned byte after the header.
  void place_tensors(const Cursor& cursor) {
    const std::int64_t asked = get_int("general.alignment").value_or(static_cast<std::int64_t>(kDefaultAlignment));
    if (asked < 1 || asked > 65536 || (asked & (asked - 1)) != 0)
      fail(fmt::format("general.alignment is {}, not a power of two up to 65536", asked));
    const auto alignment = static_cast<std::uint64_t>(asked);
    const std::uint64_t start = (cursor.offset() + alignment - 1) / alignment * alignment;
    std::vector<const GgufTensor*> by_offset;
    for (GgufTensor& tensor : tensors_) {
      const auto wrong = [&](const std::string& what) { fail(fmt::format("tensor \"{}\": {}", tensor.name, what)); };
      if (tensor.offset % alignment != 0) wrong(fmt::format("offset {} is not a multiple of {}", tensor.offset, alignment));
      const std::uint64_t room = bytes() > start ? bytes() - start : 0;
      if (tensor.offset > room || tensor.bytes > room - tensor.offset)
        wrong(fmt::format("{} bytes at offset {} do not fit the file's {} bytes of tensors", tensor.bytes, tensor.offset,
                          room));
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

  std::filesystem::path path_;
  MappedFile file_;
  std::uint32_t version_ = 0;
  std::vector<std::pair<std::string_view, GgufValue>> metadata_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string_view, std::size_t> keys_, names_;
};

}  // namespace

std::shared_ptr<const GgufFile> GgufFile::open(const std::filesystem::path& path) {
  return std::make_shared<MappedGguf>(path);
}

}  // namespace warploom
