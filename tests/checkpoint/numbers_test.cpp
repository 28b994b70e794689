// Weights that are NaN or infinite are found when they are read, whatever their type.
#include <cmath>
#include <cstring>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/quants.h"
#include "core/half.h"
#include "support/tiny_model.h"
#include "warploom/error.h"
#include "warploom/inspect.h"
#include "warploom/model.h"

namespace warploom {
namespace {

constexpr WeightType kTypes[] = {WeightType::f32,  WeightType::f16,  WeightType::bf16, WeightType::q4_0,
                                 WeightType::q4_1, WeightType::q5_0, WeightType::q5_1, WeightType::q8_0,
                                 WeightType::q4_k, WeightType::q5_k, WeightType::q6_k};

std::string bits_of(WeightType type, float value) {
  char text[4];
  if (type == WeightType::f32) {
    std::memcpy(text, &value, 4);
    return {text, 4};
  }
  const auto wide = std::bit_cast<std::uint32_t>(value);
  const std::uint16_t narrow = type == WeightType::bf16 ? static_cast<std::uint16_t>(wide >> 16) : float_to_half(value);
  std::memcpy(text, &narrow, 2);
  return {text, 2};
}

/// Where a block holds its scale, its minimum (if it has one), or its element.
std::vector<std::size_t> numbers_of(WeightType type) {
  switch (type) {
    case WeightType::q4_1:
    case WeightType::q5_1:
    case WeightType::q4_k:
    case WeightType::q5_k: return {0, 2};
    case WeightType::q6_k: return {208};
    default: return {0};
  }
}

std::string load_error(const std::string& bytes) {
  const test::TemporaryModel file(bytes);
  try {
    static_cast<void>(Model::load(file.path()));
  } catch (const ModelError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(file.path().string()));
    return error.what();
  }
  return "";
}

std::uint64_t offset_of(const std::string& bytes, const std::string& name) {
  const test::TemporaryModel file(bytes);
  for (const CheckpointTensor& tensor : inspect(file.path()).tensors)
    if (tensor.name == name) return tensor.offset;
  ADD_FAILURE() << name << " is missing";
  return 0;
}

TEST(Numbers, AreCheckedInEveryTypeOfWeights) {
  for (const WeightType type : kTypes) {
    test::TinyModel shape;
    shape.type = type;
    const std::string good = test::tiny_model(shape);
    ASSERT_EQ(load_error(good), "");
    const WeightTypeTraits t = traits(type);
    const std::size_t row_bytes = static_cast<std::size_t>(256 / t.block) * t.block_bytes;
    for (const std::string name : {"token_embd.weight", "blk.0.attn_k.weight", "blk.1.ffn_down.weight"}) {
      const std::uint64_t start = offset_of(good, name);
      for (const std::size_t number : numbers_of(type)) {
        for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
          std::string bytes = good;
          // The last block of row 77.
          bytes.replace(start + 78 * row_bytes - t.block_bytes + number, bits_of(type, bad).size(), bits_of(type, bad));
          EXPECT_THAT(load_error(bytes), testing::HasSubstr("tensor \"" + name +
                                                            "\" holds weights that are not numbers, "
                                                            "in row 77 at least"))
              << t.name << " " << bad;
        }
      }
    }
  }
}

TEST(Numbers, AreSaidToBeWrongAfterTheTokenizer) {
  std::string bytes = test::tiny_model(test::TinyModel());
  bytes.replace(offset_of(bytes, "token_embd.weight"), 2, bits_of(WeightType::f16, std::nanf("")));
  EXPECT_THAT(load_error(bytes), testing::HasSubstr("weights that are not numbers"));
  bytes.replace(bytes.find("th e"), 4, "thee");
  EXPECT_THAT(load_error(bytes), testing::HasSubstr("merges[3] is 'thee', not two tokens"));
}

TEST(Numbers, AreCheckedInVectors) {
  test::TinyModel shape;
  shape.biases = true;
  const std::string good = test::tiny_model(shape);
  for (const std::string name : {"output_norm.weight", "blk.1.attn_norm.weight", "blk.0.attn_v.bias"}) {
    std::string bytes = good;
    bytes.replace(offset_of(good, name) + 4 * 100, 4, bits_of(WeightType::f32, std::nanf("")));
    EXPECT_THAT(load_error(bytes), testing::HasSubstr(name + "\" holds weights that are not numbers"));
  }
}

// Any other bits are numbers: codes of all ones, the largest values, denormal ones.
TEST(Numbers, ThatLookOddAreAllowed) {
  for (const WeightType type : kTypes) {
    const WeightTypeTraits t = traits(type);
    for (const float odd : {65504.0f, -65504.0f, 6e-8f, -0.0f}) {
      std::vector<std::byte> bytes(t.block_bytes, type == WeightType::f32 ? std::byte{0} : std::byte{0xff});
      for (const std::size_t number : numbers_of(type))
        std::memcpy(bytes.data() + number, bits_of(type, odd).data(), bits_of(type, odd).size());
      EXPECT_EQ(first_row_without_numbers({type, 1, t.block, bytes.data(), "odd"}), -1) << t.name << " " << odd;
    }
  }
}

}  // namespace
}  // namespace warploom
