// GGUF as its specification in the ggml repository (docs/gguf.md) describes it.
#include "checkpoint/gguf_parser.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <unordered_set>

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom {

namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read as it lies in memory");

enum class Kind : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 40;  // in a tensor; keeps every product inside 64 bits

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

/// Element types that this library cannot compute with: ggml's number, and as WeightTypeTraits.
struct OtherType {
  std::uint32_t raw;
  WeightTypeTraits traits;
};

constexpr auto kOtherTypes = std::to_array<OtherType>({{9, {"Q8_1", 32, 36}},
                                                       {10, {"Q2_K", 256, 84}},
                                                       {11, {"Q3_K", 256, 110}},
                                                       {15, {"Q8_K", 256, 292}},
                                                       {16, {"IQ2_XXS", 256, 66}},
                                                       {17, {"IQ2_XS", 256, 74}},
                                                       {18, {"IQ3_XXS", 256, 98}},
                                                       {19, {"IQ1_S", 256, 50}},
                                                       {20, {"IQ4_NL", 32, 18}},
                                                       {21, {"IQ3_S", 256, 110}},
                                                       {22, {"IQ2_S", 256, 82}},
                                                       {23, {"IQ4_XS", 256, 136}},
                                                       {24, {"I8", 1, 1}},
                                                       {25, {"I16", 1, 2}},
                                                       {26, {"I32", 1, 4}},
                                                       {27, {"I64", 1, 8}},
                                                       {28, {"F64", 1, 8}},
                                                       {29, {"IQ1_M", 256, 56}},
                                                       {34, {"TQ1_0", 256, 54}},
                                                       {35, {"TQ2_0", 256, 66}},
                                                       // Rows of Q4_0 and IQ4_NL woven together, as files of 2024 have them.
                                                       {31, {"Q4_0_4_4", 32, 18}},
                                                       {32, {"Q4_0_4_8", 32, 18}},
                                                       {33, {"Q4_0_8_8", 32, 18}},
                                                       {36, {"IQ4_NL_4_4", 32, 18}},
                                                       {37, {"IQ4_NL_4_8", 32, 18}},
                                                       {38, {"IQ4_NL_8_8", 32, 18}},
                                                       {39, {"MXFP4", 32, 17}},
                                                       {40, {"NVFP4", 64, 36}},
                                                       {41, {"Q1_0", 128, 18}}});

/// Empty for a number that no type had when this was written.
std::optional<WeightTypeTraits> traits_of(std::uint32_t raw) {
  if (const auto type = weight_type(raw)) return traits(*type);
  const auto* other = std::ranges::find(kOtherTypes, raw, &OtherType::raw);
  return other == kOtherTypes.end() ? std::nullopt : std::optional(other->traits);
}

/// Reads front to back and never past the end.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::filesystem::path& path,
         const std::function<std::uint64_t(std::uint64_t)>& read)
      : bytes_(bytes), path_(path), read_(read) {}

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
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }
  std::string_view string(const char* what) {
    const std::uint64_t start = at_;
    const auto length = read<std::uint64_t>(what);
    if (length > left()) fail_at(start, fmt::format("{} claims {} bytes, {} are left", what, length, left()));
    return {reinterpret_cast<const char*>(take(length)), static_cast<std::size_t>(length)};
  }

 private:
  /// The next bytes, which are there.
  const std::byte* take(std::uint64_t bytes) {
    const std::uint64_t from = at_;
    at_ += bytes;
    if (at_ > readable_) readable_ = read_(at_);
    return bytes_.data() + from;
  }

  std::span<const std::byte> bytes_;
  const std::filesystem::path& path_;
  const std::function<std::uint64_t(std::uint64_t)>& read_;
  std::uint64_t at_ = 0, readable_ = 0;
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
  tensor.offset = cursor.read<std::uint64_t>("a tensor's offset");
  const auto type = traits_of(tensor.raw_type);
  tensor.type_name = type ? type->name : "unknown";
  if (!type) return tensor;
  if (tensor.shape.back() % type->block != 0)
    fail(fmt::format("rows of {} elements are no whole number of {} blocks of {}", tensor.shape.back(), type->name,
                     type->block));
  tensor.bytes = elements / static_cast<std::uint64_t>(type->block) * type->block_bytes;
  return tensor;
}

void parse_metadata(Cursor& cursor, std::uint64_t count, GgufHeader& header) {
  std::unordered_set<std::string_view> keys;
  header.metadata.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t at = cursor.offset();
    const std::string_view key = cursor.string("a key");
    header.metadata.emplace_back(key, read_value(cursor));
    if (!keys.insert(key).second) cursor.fail_at(at, fmt::format("key \"{}\" appears twice", key));
  }
}

void parse_tensors(Cursor& cursor, std::uint64_t count, GgufHeader& header) {
  std::unordered_set<std::string_view> names;
  header.tensors.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t at = cursor.offset();
    header.tensors.push_back(read_tensor(cursor));
    const std::string_view name = header.tensors.back().name;
    if (!names.insert(name).second) cursor.fail_at(at, fmt::format("tensor \"{}\" appears twice", name));
  }
}

}  // namespace

GgufHeader parse_gguf_header(std::span<const std::byte> file, const std::filesystem::path& path,
                             const std::function<std::uint64_t(std::uint64_t)>& read) {
  constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
  const auto fail = [&](const std::string& what) { throw ModelError(fmt::format("{}: {}", path.string(), what)); };
  Cursor cursor(file, path, read);
  if (file.size() < 4 || cursor.read<std::uint32_t>("the magic number") != kMagic)
    fail("is not a GGUF file: it does not start with \"GGUF\"");
  GgufHeader header;
  header.version = cursor.read<std::uint32_t>("the version");
  const std::uint32_t version = header.version;
  if ((version & 0xffffu) == 0 && version != 0) fail("is a big-endian GGUF file; only little-endian ones are supported");
  if (version != 2 && version != 3) fail(fmt::format("is GGUF version {}; supported are 2 and 3", version));
  const auto tensor_count = cursor.read<std::uint64_t>("the number of tensors");
  const auto key_count = cursor.read<std::uint64_t>("the number of keys");
  // The smallest tensor entry takes 32 bytes, the smallest key 13.
  if (tensor_count > cursor.left() / 32) cursor.fail(fmt::format("{} tensors do not fit the file", tensor_count));
  if (key_count > cursor.left() / 13) cursor.fail(fmt::format("{} keys do not fit the file", key_count));
  parse_metadata(cursor, key_count, header);
  parse_tensors(cursor, tensor_count, header);
  header.bytes = cursor.offset();
  return header;
}

}  // namespace warploom
