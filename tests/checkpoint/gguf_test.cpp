#include "checkpoint/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/gguf_writer.h"
#include "warploom/error.h"
#include "warploom/inspect.h"

namespace warploom {
namespace {

using test::GgufWriter;
using test::TemporaryModel;
using testing::HasSubstr;

std::string refusal(const std::string& bytes) {
  const TemporaryModel file(bytes);
  try {
    const GgufFile gguf(file.path());
  } catch (const ModelError& error) {
    EXPECT_THAT(error.what(), HasSubstr(file.path().string()));
    return error.what();
  }
  return "";
}

GgufWriter sample_file(std::uint32_t version = 3) {
  GgufWriter w(version);
  w.add("text", "hello");
  w.add("count", std::uint32_t{7});
  w.add("ratio", 0.5f);
  w.add("flag", true);
  w.add("names", std::vector<std::string>{"a", "", "ccc"});
  w.add("numbers", std::vector<std::int32_t>{-1, 2});
  w.add_tensor("m", 8, {2, 64}, std::vector<std::byte>(2 * 2 * 34));
  w.add_tensor("v", 0, {5}, std::vector<std::byte>(20));
  return w;
}

TEST(Gguf, ReadsBothVersions) {
  for (const std::uint32_t version : {2u, 3u}) {
    const TemporaryModel file(sample_file(version).bytes());
    const auto gguf = std::make_unique<GgufFile>(file.path());
    EXPECT_EQ(gguf->version(), version);
    EXPECT_EQ(gguf->need_string("text"), "hello");
    EXPECT_EQ(gguf->need_int("count"), 7);
    EXPECT_EQ(gguf->get_float("ratio"), 0.5);
    EXPECT_EQ(gguf->get_bool("flag"), true);
    EXPECT_THAT(*gguf->get_strings("names"), testing::ElementsAre("a", "", "ccc"));
    EXPECT_EQ(gguf->get_int("absent"), std::nullopt);
    const WeightView m = gguf->matrix("m", 2, 64);
    EXPECT_EQ(m.type, WeightType::q8_0);
    EXPECT_EQ(gguf->matrix("v").rows, 1);
    EXPECT_THROW(gguf->matrix("m", 64, 2), ModelError);
    EXPECT_THROW(gguf->matrix("none"), ModelError);
    EXPECT_THROW(gguf->need_int("text"), ModelError);
    EXPECT_THROW(gguf->need_string("absent"), ModelError);
  }
}

TEST(Gguf, DescribesItself) {
  const TemporaryModel file(sample_file().bytes());
  const CheckpointInfo info = inspect(file.path());
  ASSERT_EQ(info.tensors.size(), 2u);
  EXPECT_EQ(info.tensors[0].type, "Q8_0");
  EXPECT_THAT(info.tensors[0].shape, testing::ElementsAre(2, 64));
  EXPECT_EQ(info.metadata[4].value, "[a, , ccc]");
}

TEST(Gguf, NamesWhatIsWrong) {
  const std::string good = sample_file().bytes();
  ASSERT_EQ(refusal(good), "");
  EXPECT_THAT(refusal(""), HasSubstr("empty"));
  EXPECT_THAT(refusal("hello world, this is no model"), HasSubstr("not a GGUF file"));
  std::string bytes = good;
  bytes[4] = 1;
  EXPECT_THAT(refusal(bytes), HasSubstr("version 1"));
  bytes[4] = 4;
  EXPECT_THAT(refusal(bytes), HasSubstr("version 4"));
  bytes[4] = 0, bytes[7] = 3;
  EXPECT_THAT(refusal(bytes), HasSubstr("big-endian"));
  bytes = good;
  std::memset(bytes.data() + 8, 0xff, 8);
  EXPECT_THAT(refusal(bytes), HasSubstr("tensors do not fit"));
  EXPECT_THAT(refusal(good.substr(0, good.size() - 40)), HasSubstr("do not fit the file"));

  GgufWriter twice = sample_file();
  twice.add("count", std::uint32_t{8});
  EXPECT_THAT(refusal(twice.bytes()), HasSubstr("\"count\" appears twice"));
  GgufWriter same_name = sample_file();
  same_name.add_tensor("m", 0, {1}, std::vector<std::byte>(4));
  EXPECT_THAT(refusal(same_name.bytes()), HasSubstr("\"m\" appears twice"));
  GgufWriter ragged;
  ragged.add_tensor("r", 8, {1, 33}, std::vector<std::byte>(64));
  EXPECT_THAT(refusal(ragged.bytes()), HasSubstr("no whole number"));
  GgufWriter huge;
  huge.add_tensor("h", 0, {std::uint64_t{1} << 39, std::uint64_t{1} << 39}, {});
  EXPECT_THAT(refusal(huge.bytes()), HasSubstr("too large"));
  GgufWriter aligned = sample_file();
  aligned.add("general.alignment", std::uint32_t{48});
  EXPECT_THAT(refusal(aligned.bytes()), HasSubstr("general.alignment"));
}

// Numbers, blocks and sizes are those of ggml's GGML_QUANT_SIZES.
TEST(Gguf, NamesAndCountsTypesThatItCannotUse) {
  struct Type {
    std::uint32_t number;
    const char* name;
    std::uint64_t block, bytes;
  };
  for (const Type& type : {Type{10, "Q2_K", 256, 84},    Type{11, "Q3_K", 256, 110},    Type{16, "IQ2_XXS", 256, 66},
                           Type{17, "IQ2_XS", 256, 74},  Type{18, "IQ3_XXS", 256, 98},  Type{19, "IQ1_S", 256, 50},
                           Type{20, "IQ4_NL", 32, 18},   Type{21, "IQ3_S", 256, 110},   Type{22, "IQ2_S", 256, 82},
                           Type{23, "IQ4_XS", 256, 136}, Type{29, "IQ1_M", 256, 56},    Type{34, "TQ1_0", 256, 54},
                           Type{35, "TQ2_0", 256, 66},   Type{39, "MXFP4", 32, 17},     Type{40, "NVFP4", 64, 36},
                           Type{41, "Q1_0", 128, 18},    Type{28, "F64", 1, 8},         Type{31, "Q4_0_4_4", 32, 18},
                           Type{33, "Q4_0_8_8", 32, 18}, Type{36, "IQ4_NL_4_4", 32, 18}}) {
    GgufWriter w = sample_file();
    w.add_tensor("t", type.number, {3, 2 * type.block}, std::vector<std::byte>(6 * type.bytes));
    w.add_tensor("after", 0, {5}, std::vector<std::byte>(20));
    const TemporaryModel file(w.bytes());
    const CheckpointInfo info = inspect(file.path());
    EXPECT_EQ(info.tensors[2].type, type.name);
    EXPECT_EQ(info.tensors[2].bytes, 6 * type.bytes) << type.name;
    try {
      GgufFile(file.path()).matrix("t");
      ADD_FAILURE() << type.name;
    } catch (const ModelError& error) {
      EXPECT_THAT(error.what(), HasSubstr("\"t\" is of element type " + std::string(type.name) + " (number " +
                                          std::to_string(type.number) + "), which is not supported; supported are F32"));
    }
    GgufWriter cut = sample_file();
    cut.add_tensor("t", type.number, {300, 2 * type.block}, std::vector<std::byte>(6 * type.bytes));
    EXPECT_THAT(refusal(cut.bytes()), HasSubstr("do not fit")) << type.name;
  }
  GgufWriter later = sample_file();
  later.add_tensor("t", 99, {3, 256}, std::vector<std::byte>(6));
  const TemporaryModel file(later.bytes());
  EXPECT_EQ(inspect(file.path()).tensors[2].type, "unknown");
  EXPECT_THROW(GgufFile(file.path()).matrix("t"), ModelError);
}

TEST(Gguf, RefusesWhatIsNoFile) {
  EXPECT_THROW(GgufFile("/nowhere/model.gguf"), ModelError);
  try {
    const GgufFile gguf(std::filesystem::temp_directory_path());
    FAIL();
  } catch (const ModelError& error) {
    EXPECT_THAT(error.what(), HasSubstr("directory"));
  }
}

}  // namespace
}  // namespace warploom
