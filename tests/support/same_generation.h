// What must be equal of two generations that ought not to differ.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "warploom/generator.h"

namespace warploom::test {

inline void expect_same(const Generation& a, const Generation& b, const std::string& what) {
  EXPECT_EQ(a.ids, b.ids) << what;
  EXPECT_EQ(a.text, b.text) << what;
  EXPECT_EQ(a.logprobs, b.logprobs) << what;  // bit for bit: they come straight from the logits
  EXPECT_EQ(a.finish_reason, b.finish_reason) << what;
}

}  // namespace warploom::test
