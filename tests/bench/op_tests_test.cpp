// The names of --gpu-ops' tests, and what is picked by them.
#include "bench/gpu/op_tests.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "warploom/error.h"

namespace warploom::bench {
namespace {

using testing::HasSubstr;

TEST(OpTests, HaveNamesOfTheirOwn) {
  for (const bool small : {false, true}) {
    const std::vector<std::string> names = op_test_names(small);
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
    EXPECT_EQ(names.size(), sample_tests(small).size() + attention_tests(small).size() + product_tests(small).size());
  }
}

TEST(OpTests, ArePickedByPartsOfTheirNames) {
  EXPECT_TRUE(is_wanted("sample 1 f32 flat greedy", {}));
  EXPECT_TRUE(is_wanted("sample 1 f32 flat greedy", {"product", "flat"}));
  EXPECT_FALSE(is_wanted("sample 1 f32 flat greedy", {"product", "peaked"}));
}

TEST(OpTests, APartThatIsInNoNameIsRefused) {
  EXPECT_NO_THROW(check_only({}, false));
  for (const std::string& name : op_test_names(true)) EXPECT_NO_THROW(check_only({name}, true)) << name;
  try {
    check_only({"sample", "4096x4096"}, true);  // a size that --small does not have
    ADD_FAILURE();
  } catch (const InvalidArgument& error) {
    EXPECT_THAT(error.what(), HasSubstr("no test has \"4096x4096\" in its name"));
    EXPECT_THAT(error.what(), HasSubstr("(--gpu-ops --small --list prints all"));
  }
}

TEST(OpTests, ProductsOfOneWeightAreNeighbours) {
  const std::vector<ProductTest> all = product_tests(false);
  std::size_t changes = 0;
  for (std::size_t i = 1; i < all.size(); ++i) changes += !all[i].shares_weight(all[i - 1]);
  EXPECT_EQ(changes + 1, 9u);
}

}  // namespace
}  // namespace warploom::bench
