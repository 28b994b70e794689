// Recorded arrivals are read as their makers describe them; errors name the line.
#include "bench/trace_file.h"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "warploom/error.h"

namespace warploom::bench {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Trace read(const std::string& text, std::int64_t block_tokens = 512, std::int64_t max_requests = 1000) {
  std::istringstream file(text);
  return read_trace(file, "trace", block_tokens, max_requests);
}

std::vector<std::pair<std::uint64_t, std::int64_t>> parts(const Arrival& arrival) {
  std::vector<std::pair<std::uint64_t, std::int64_t>> parts;
  for (const PromptPart& part : arrival.prompt) parts.emplace_back(part.content, part.tokens);
  return parts;
}

TEST(TraceFile, MooncakeBlocksAreShared) {
  const Trace trace = read(
      "{\"timestamp\": 27000, \"input_length\": 1100, \"output_length\": 52, \"hash_ids\": [46, 47, 9]}\n"
      "\n"
      "{\"timestamp\": 30500, \"input_length\": 1024, \"output_length\": 3, \"hash_ids\": [46, 47]}\r\n"
      "{\"timestamp\": 30500, \"input_length\": 600, \"output_length\": 1, \"hash_ids\": [46]}\n"
      "{\"timestamp\": 31000, \"input_length\": 20, \"output_length\": 1}\n"
      "{\"timestamp\": 31000, \"input_length\": 20, \"output_length\": 0}\n");
  ASSERT_EQ(trace.arrivals.size(), 4u);
  EXPECT_EQ(trace.failed, 1);
  EXPECT_EQ(trace.arrivals[0].seconds, 0);
  EXPECT_EQ(trace.arrivals[1].seconds, 3.5);
  EXPECT_EQ(trace.arrivals[0].output_tokens, 52);
  EXPECT_EQ(parts(trace.arrivals[0]), (std::vector<std::pair<std::uint64_t, std::int64_t>>{{46, 512}, {47, 512}, {9, 76}}));
  EXPECT_EQ(trace.arrivals[1].prompt_tokens(), 1024);
  ASSERT_EQ(trace.arrivals[2].prompt.size(), 2u);
  EXPECT_EQ(trace.arrivals[2].prompt[1].tokens, 88);
  EXPECT_NE(trace.arrivals[2].prompt[1].content, trace.arrivals[3].prompt[0].content);
}

TEST(TraceFile, MooncakeBlocksMayHaveAnotherSize) {
  const std::string line = "{\"timestamp\": 0, \"input_length\": 40, \"output_length\": 1, \"hash_ids\": [1, 2, 3]}\n";
  EXPECT_EQ(parts(read(line, 16).arrivals[0]),
            (std::vector<std::pair<std::uint64_t, std::int64_t>>{{1, 16}, {2, 16}, {3, 8}}));
}

TEST(TraceFile, RecordedPromptsAreTaken) {
  const Trace trace = read(
      "{\"timestamp\": 100, \"input_length\": 3, \"output_length\": 52, \"prompt_token_ids\": [5, 0, 49151]}\n"
      "{\"timestamp\": 600, \"input_length\": 1, \"output_length\": 2, \"prompt_token_ids\": [7]}\n"
      "{\"timestamp\": 700, \"input_length\": 0, \"output_length\": 2, \"prompt_token_ids\": []}\n");
  ASSERT_EQ(trace.arrivals.size(), 2u);
  EXPECT_EQ(trace.failed, 1);
  EXPECT_EQ(trace.arrivals[0].prompt_tokens(), 3);
  EXPECT_EQ(trace.arrivals[1].seconds, 0.5);
  const std::vector<TokenId> tokens = {1, 2};
  EXPECT_EQ(prompt_ids(trace.arrivals[0], tokens, 1), (std::vector<TokenId>{5, 0, 49151}));
  EXPECT_EQ(prompt_ids(trace.arrivals[1], tokens, 1), (std::vector<TokenId>{7}));
}

TEST(TraceFile, BurstGptColumnsAreFoundByName) {
  const Trace trace = read(
      "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\r\n"
      "5,ChatGPT,472,18,490,Conversation log\r\n"
      "45,GPT-4,1087,230,1317,Conversation log\r\n"
      "46,GPT-4,100,0,100,API log\r\n"
      "44.5,ChatGPT,417,276,693,Conversation log\r\n");
  ASSERT_EQ(trace.arrivals.size(), 3u);
  EXPECT_EQ(trace.failed, 1);
  EXPECT_EQ(trace.arrivals[0].seconds, 0);
  EXPECT_EQ(trace.arrivals[1].seconds, 39.5);  // in order of time
  EXPECT_EQ(trace.arrivals[1].prompt_tokens(), 417);
  EXPECT_EQ(trace.arrivals[2].seconds, 40);
  EXPECT_EQ(trace.arrivals[2].output_tokens, 230);
  EXPECT_NE(trace.arrivals[0].prompt[0].content, trace.arrivals[1].prompt[0].content);

  const Trace other = read("Session ID,Response tokens,Request tokens,Timestamp\nx,7,8,9");
  EXPECT_EQ(other.arrivals.at(0).output_tokens, 7);
  EXPECT_EQ(other.arrivals.at(0).prompt_tokens(), 8);
}

TEST(TraceFile, StopsAfterTheRequestsThatWereAskedFor) {
  EXPECT_EQ(read("Timestamp,Request tokens,Response tokens\n1,2,3\n4,5,6\nbroken\n", 512, 2).arrivals.size(), 2u);
}

TEST(TraceFile, ErrorsNameTheLine) {
  const std::string good = "{\"timestamp\": 0, \"input_length\": 40, \"output_length\": 1}\n";
  const std::string heading = "Timestamp,Model,Request tokens,Response tokens\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "trace holds no request"},
      {heading, "trace holds no request"},
      {heading + "1,m,5,0\n", "trace holds no request"},
      {good + "\nnonsense\n", "trace:3: is no JSON object"},
      {good + "[1]\n", "trace:2: is no JSON object"},
      {good + "{\"timestamp\": 0, \"input_length\": 40}\n", "trace:2: \"output_length\" is missing"},
      {"{\"timestamp\": \"x\", \"input_length\": 40, \"output_length\": 1}",
       "trace:1: \"timestamp\" is missing or no number"},
      {"{\"timestamp\": -1, \"input_length\": 40, \"output_length\": 1}", "trace:1: timestamp is -1"},
      {"{\"timestamp\": 0, \"input_length\": 1.5, \"output_length\": 1}", "trace:1: \"input_length\" is 1.5"},
      {"{\"timestamp\": 0, \"input_length\": -5, \"output_length\": 1}", "trace:1: input_length is -5"},
      {"{\"timestamp\": 0, \"input_length\": 99999999, \"output_length\": 1}", "not in [0, 1048576]"},
      {"{\"timestamp\": 0, \"input_length\": 5, \"output_length\": 1, \"hash_ids\": 3}", "trace:1: \"hash_ids\" is no list"},
      {"{\"timestamp\": 0, \"input_length\": 5, \"output_length\": 1, \"hash_ids\": [-3]}",
       "trace:1: \"hash_ids\" holds -3"},
      {"{\"timestamp\": 0, \"input_length\": 513, \"output_length\": 1, \"hash_ids\": [1, 2, 3]}",
       "trace:1: \"hash_ids\" has 3 blocks, more than 513 tokens take"},
      {"{\"timestamp\": 0, \"input_length\": 2, \"output_length\": 1, \"prompt_token_ids\": [1]}",
       "trace:1: \"prompt_token_ids\" is no list of the 2 ids"},
      {"{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1, \"prompt_token_ids\": [-1]}",
       "trace:1: \"prompt_token_ids\" holds -1"},
      {"{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1, \"prompt_token_ids\": [2147483648]}",
       "trace:1: \"prompt_token_ids\" holds 2147483648"},
      {"Time,Tokens\n1,2\n", "trace:1: is neither a JSON object nor names a column \"Timestamp\""},
      {heading + "1,m,5,6\n1,m,5\n", "trace:3: has 3 columns; \"Response tokens\" is number 4"},
      {heading + "1,m,five,6\n", "trace:2: Request tokens is \"five\", no number"},
      {heading + "1,m,5,6.5\n", "trace:2: Response tokens is 6.5, no whole number"},
      {heading + "1,m,5,-6\n", "trace:2: Response tokens is -6"},
      {heading + "1,m,5,1e300\n", "trace:2: Response tokens is 1e300, out of range"},
      {heading + "nan,m,5,6\n", "trace:2: Timestamp is nan"},
      {heading + ",m,5,6\n", "trace:2: Timestamp is \"\", no number"}};
  for (const auto& [text, message] : cases) {
    try {
      read(text);
      ADD_FAILURE() << text;
    } catch (const InvalidArgument& error) {
      EXPECT_THAT(error.what(), HasSubstr(message)) << text;
      EXPECT_THAT(error.what(), StartsWith("trace")) << text;
    }
  }
  for (const char* path : {"nowhere.csv", "."}) {
    try {
      read_trace(path, 512, 10);
      ADD_FAILURE() << path;
    } catch (const InvalidArgument& error) {
      EXPECT_EQ(error.what(), std::string(path) + " cannot be read");
    }
  }
}

}  // namespace
}  // namespace warploom::bench
