#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/process.h"
#include "support/generate.h"
#include "support/tiny_model.h"

namespace warploom {
namespace {

using nlohmann::json;
using test::model_path;
using test::Outcome;
using testing::HasSubstr;

Outcome generate_command(std::vector<std::string> arguments, const std::string& input = "") {
  arguments.insert(arguments.begin(), {"generate", "--model", model_path(), "--max-tokens", "12"});
  return test::run_warploom(arguments, input);
}

std::vector<json> lines_of(const Outcome& got) {
  EXPECT_EQ(got.status, 0) << got.err;
  std::vector<json> all;
  for (std::size_t at = 0, end; (end = got.out.find('\n', at)) != std::string::npos; at = end + 1)
    all.push_back(json::parse(got.out.substr(at, end - at)));
  return all;
}

// What the library answers through its own interface.
std::vector<test::Result> by_library(const std::vector<std::string>& prompts, const SamplingParams& params, int n = 1) {
  static const auto model = Model::load(model_path());
  std::vector<Request> requests;
  for (const std::string& prompt : prompts) {
    Request& request = requests.emplace_back();
    request.prompt = prompt;
    request.max_tokens = 12;
    request.sampling = params;
    request.n = n;
  }
  return test::flat(generate(model, requests));
}

// What a model is on if nothing else is asked for.
std::string device() { return Model::load(model_path())->device().description; }

TEST(GenerateCommand, PrintsTheLibrarysTextAndASummary) {
  const auto want = by_library({"Once upon a time"}, {.temperature = 0.0f});
  const auto got = generate_command({"Once upon a time", "--temperature", "0"});
  EXPECT_EQ(got.status, 0);
  EXPECT_EQ(got.out, want[0].text + "\n");
  EXPECT_THAT(got.err, testing::MatchesRegex("[^\n]*tokens/s[^\n]*; " + device() + "; --seed [0-9]+\n"));
  const auto quiet = generate_command({"Once upon a time", "--temperature", "0", "--quiet"});
  EXPECT_EQ(quiet.out, got.out);
  EXPECT_EQ(quiet.err, "");
}

TEST(GenerateCommand, TheSeedShownRepeatsTheRun) {
  const auto first = generate_command({"The best thing about"});
  const std::string seed = first.err.substr(first.err.find("--seed ") + 7);
  const auto again = generate_command({"The best thing about", "--seed", seed.substr(0, seed.find('\n'))});
  EXPECT_EQ(again.out, first.out);
  EXPECT_EQ(generate_command({"The best thing about"}).err.find("--seed " + seed), std::string::npos);  // a new one
}

TEST(GenerateCommand, JsonHasEveryField) {
  const SamplingParams params{.temperature = 0.9f, .top_k = 40, .top_p = 0.95f, .min_p = 0.01f, .seed = 7};
  const auto want = by_library({"The sea"}, params);
  const auto all = lines_of(generate_command(
      {"The sea", "--json", "--temperature", "0.9", "--top-k", "40", "--top-p", "0.95", "--min-p", "0.01", "--seed", "7"}));
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0]["prompt_token_ids"], json(want[0].prompt_token_ids));
  EXPECT_EQ(all[0]["token_ids"], json(want[0].token_ids));
  EXPECT_EQ(all[0]["text"], want[0].text);
  EXPECT_EQ(all[0]["finish_reason"], "length");
  EXPECT_EQ(all[0]["device"], device());
  const json& timings = all[0]["timings"];
  EXPECT_EQ(timings["prompt_tokens"], want[0].prompt_token_ids.size());
  EXPECT_EQ(timings["generated_tokens"], 12);
  for (const char* seconds : {"load_seconds", "time_to_first_token", "decode_seconds", "tokens_per_second"})
    EXPECT_GT(timings[seconds].get<double>(), 0.0) << seconds;
}

TEST(GenerateCommand, ABatchAnswersAsEachPromptAlone) {
  const std::vector<std::string> prompts = {"One", "Two plus two is", "Three"};
  const SamplingParams params{.temperature = 0.7f, .top_k = 50, .top_p = 0.9f, .seed = 5};
  const auto want = by_library(prompts, params, 2);
  const test::TemporaryFile file("One\n\nTwo plus two is\r\nThree");
  auto all = lines_of(generate_command({"-f", file.path(), "--batch", "--n", "2", "--seed", "5", "--json"}));
  ASSERT_EQ(all.size(), 6u);
  std::ranges::stable_sort(all, {}, [](const json& line) { return line["prompt"].get<int>(); });  // they come as they end
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i]["prompt"], i / 2);
    EXPECT_EQ(all[i]["index"], i % 2);
    EXPECT_EQ(all[i]["token_ids"], json(want[i].token_ids)) << i;
  }
  const auto alone = lines_of(generate_command({prompts[1], "--seed", "5", "--json"}));
  EXPECT_EQ(alone[0]["token_ids"], all[2]["token_ids"]);
}

TEST(GenerateCommand, EqualPromptsOfABatchDrawDifferently) {
  auto all = lines_of(generate_command({"-", "--batch", "--n", "2", "--seed", "5", "--json"}, "One\nTwo\nOne\n"));
  ASSERT_EQ(all.size(), 6u);
  std::ranges::sort(all, {},
                    [](const json& line) { return std::pair(line["prompt"].get<int>(), line["index"].get<int>()); });
  std::vector<int> subsequences;
  for (const json& line : all) subsequences.push_back(line["subsequence"].get<int>());
  EXPECT_EQ(subsequences, (std::vector<int>{0, 1, 0, 1, 2, 3}));
  EXPECT_NE(all[0]["token_ids"], all[4]["token_ids"]);
  const auto alone = lines_of(generate_command({"One", "--first-subsequence", "3", "--seed", "5", "--json"}));
  EXPECT_EQ(alone[0]["token_ids"], all[5]["token_ids"]);
  const auto last = generate_command({"-", "--batch", "--first-subsequence", "4294967295", "--json"}, "One\nTwo\nOne\n");
  EXPECT_EQ(last.status, 1);
  EXPECT_THAT(last.err, HasSubstr("prompt 2: --first-subsequence 4294967295 leaves no subsequence"));
}

TEST(GenerateCommand, ABatchGoesOnWithoutAPromptThatIsTooLong) {
  std::string lines = "One\n";
  for (int i = 0; i < 9000; ++i) lines += " word";
  lines += "\nTwo plus two is\n";
  Outcome got = generate_command({"-", "--batch", "--seed", "5", "--json"}, lines);
  EXPECT_EQ(got.status, 1);
  EXPECT_THAT(got.err, HasSubstr("prompt 1: the prompt has 9000 tokens"));
  got.status = 0;
  const auto all = lines_of(got);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0]["prompt"], 1);
  EXPECT_THAT(all[0]["error"].get<std::string>(), HasSubstr("8192"));
  const auto want = by_library({"One", "Two plus two is"}, {.temperature = 0.7f, .top_k = 50, .top_p = 0.9f, .seed = 5});
  for (std::size_t i = 1; i < 3; ++i) {
    ASSERT_TRUE(all[i]["prompt"] == 0 || all[i]["prompt"] == 2);
    EXPECT_EQ(all[i]["token_ids"], json(want[all[i]["prompt"] == 0 ? 0 : 1].token_ids));
  }
}

TEST(GenerateCommand, OptionsReachTheRequest) {
  const auto plain = lines_of(generate_command({"Once upon a time", "-t", "0", "--json"}))[0];
  const auto ids = plain["token_ids"].get<std::vector<TokenId>>();
  const auto with = [](std::vector<std::string> more) {
    more.insert(more.begin(), {"Once upon a time", "-t", "0", "--json"});
    return lines_of(generate_command(more)).at(0);
  };
  const json stopped = with({"--stop-token", "5," + std::to_string(ids[4])});
  EXPECT_EQ(stopped["finish_reason"], "stop_token");
  EXPECT_LE(stopped["token_ids"].size(), 5u);
  EXPECT_EQ(with({"--stop-token", std::to_string(ids[4]), "--min-tokens", "9"})["token_ids"].size(), 12u);
  EXPECT_EQ(with({"--logit-bias", "42:1000", "--logit-bias", "43:-inf"})["token_ids"][0], 42);
  EXPECT_EQ(with({"--allow-token", "77"})["token_ids"], json(std::vector<int>(12, 77)));
  EXPECT_NE(with({"--ban-token", std::to_string(ids[0])})["token_ids"][0], ids[0]);
  const json logprobs = with({"--logprobs", "--top-logprobs", "3", "--prompt-logprobs"});
  ASSERT_EQ(logprobs["logprobs"].size(), 12u);
  ASSERT_EQ(logprobs["top_logprobs"].size(), 12u);
  EXPECT_EQ(logprobs["top_logprobs"][0].size(), 3u);
  EXPECT_EQ(logprobs["top_logprobs"][0][0]["token"], ids[0]);
  EXPECT_EQ(logprobs["top_logprobs"][0][0]["logprob"], logprobs["logprobs"][0]);
  EXPECT_EQ(logprobs["prompt_logprobs"].size(), plain["prompt_token_ids"].size() - 1);
  EXPECT_NE(with({"--presence-penalty", "100", "--penalize-prompt"})["token_ids"],
            with({"--presence-penalty", "100", "--penalty-window", "1"})["token_ids"]);
  EXPECT_EQ(with({"--best-of", "3", "--n", "1"})["token_ids"], plain["token_ids"]);
  const auto unlimited = lines_of(test::run_warploom({"generate", "Once upon a time", "-m", model_path(), "-t", "0",
                                                      "--json", "-n", "-1", "--stop-token", std::to_string(ids[11])}));
  EXPECT_EQ(unlimited[0]["finish_reason"], "stop_token");
  EXPECT_THAT(generate_command({"x", "--logit-bias", "42"}).err, HasSubstr("TOKEN:BIAS"));
}

TEST(GenerateCommand, StandardInputAndFilesAreTakenByteForByte) {
  const std::string prompt = "two\nlines \xff\n";
  const json want = lines_of(generate_command({prompt, "--json"}))[0]["prompt_token_ids"];
  EXPECT_EQ(lines_of(generate_command({"-", "--json"}, prompt))[0]["prompt_token_ids"], want);
  EXPECT_EQ(lines_of(generate_command({"-f", test::TemporaryFile(prompt).path(), "--json"}))[0]["prompt_token_ids"], want);
  EXPECT_EQ(want, json(by_library({prompt}, {.temperature = 0.0f})[0].prompt_token_ids));
}

TEST(GenerateCommand, EndsBeforeTheFirstOfSeveralStopStrings) {
  const std::string text = by_library({"Once upon a time"}, {.temperature = 0.0f})[0].text;
  ASSERT_GT(text.size(), 20u);
  const std::string late = text.substr(16, 3), early = text.substr(7, 3);
  const std::string want = text.substr(0, std::min(text.find(late), text.find(early)));
  const std::vector<std::string> arguments = {"Once upon a time", "-t", "0", "--stop", late, "--stop", early};
  EXPECT_EQ(generate_command(arguments).out, want + "\n");
  auto with_json = arguments;
  with_json.push_back("--json");
  const auto all = lines_of(generate_command(with_json));
  EXPECT_EQ(all[0]["text"], want);
  EXPECT_EQ(all[0]["finish_reason"], "stop_string");
}

// Each --stop takes one text, brackets and commas and all, and never takes the prompt, wherever that stands.
TEST(GenerateCommand, AStopStringIsTakenAsItStands) {
  const auto plain = lines_of(generate_command({"Once upon a time", "-t", "0", "--json"}));
  const auto first = lines_of(generate_command({"-t", "0", "--json", "--stop", "[no, such]", "Once upon a time"}));
  EXPECT_EQ(first[0]["prompt_token_ids"], plain[0]["prompt_token_ids"]);
  EXPECT_EQ(first[0]["text"], plain[0]["text"]);
  const auto json_of = [](const std::string& stop) {
    return lines_of(generate_command({"1, 2, 3, [4, 5], [6,", "-t", "0", "--json", "--stop", stop}))[0];
  };
  const std::string text = json_of("[no, such]")["text"];
  EXPECT_THAT(text, testing::HasSubstr(","));  // one of "[x, ,]" split at its comma would stop here
  EXPECT_EQ(json_of("[x,,]")["text"], text);
}

TEST(GenerateCommand, ChatAppliesTheTemplate) {
  const std::vector<ChatMessage> messages = {{"system", "Be brief."}, {"user", "Hi"}};
  const auto want = Tokenizer::load(model_path())->encode_chat(messages);
  const auto all = lines_of(generate_command({"Hi", "--chat", "--system", "Be brief.", "--json"}));
  EXPECT_EQ(all[0]["prompt_token_ids"], json(want));
}

TEST(GenerateCommand, AnEmptySystemMessageIsNotTheDefault) {
  const auto tokenizer = Tokenizer::load(model_path());
  const std::vector<ChatMessage> empty = {{"system", ""}, {"user", "Hi"}}, none = {{"user", "Hi"}};
  EXPECT_EQ(lines_of(generate_command({"Hi", "--chat", "--system", "", "--json"}))[0]["prompt_token_ids"],
            json(tokenizer->encode_chat(empty)));
  EXPECT_EQ(lines_of(generate_command({"Hi", "--chat", "--json"}))[0]["prompt_token_ids"],
            json(tokenizer->encode_chat(none)));
  EXPECT_THAT(generate_command({"Hi", "--system", ""}).err, testing::HasSubstr("--system goes with --chat"));
}

TEST(GenerateCommand, GoesOnWithTheBeginningOfAnAnswer) {
  const std::vector<ChatMessage> messages = {{"user", "What is 2 + 2?"}, {"assistant", "It is "}};
  const auto want = Tokenizer::load(model_path())->encode_chat(messages, ChatEnd::open);
  const auto all = lines_of(generate_command({"What is 2 + 2?", "--chat", "--prefill", "It is ", "--json"}));
  EXPECT_EQ(all[0]["prompt_token_ids"], json(want));
  EXPECT_THAT(generate_command({"Hi", "--prefill", "x"}).err, testing::HasSubstr("--prefill goes with --chat"));
}

TEST(GenerateCommand, TheCacheAndTheThreadsChangeNothing) {
  const auto want = generate_command({"The sea", "--seed", "3"}).out;
  EXPECT_EQ(generate_command({"The sea", "--seed", "3", "--no-kv-cache"}).out, want);
  EXPECT_EQ(generate_command({"The sea", "--seed", "3", "--threads", "1", "--device", "cpu"}).out, want);
  EXPECT_EQ(generate_command({"The sea", "--seed", "3", "--threads", "4"}).out, want);
}

TEST(GenerateCommand, TwoBeginningOfSequenceTokensGetAWarning) {
  test::TinyModel adds;
  std::string bytes = test::tiny_model(adds);
  const std::string key = "tokenizer.ggml.add_bos_token";
  const test::TemporaryModel without(bytes);
  bytes[bytes.find(key) + key.size() + 4] = 1;
  const test::TemporaryModel with(bytes);
  const auto warnings = [](const test::TemporaryModel& model, const std::string& prompt, const std::string& more) {
    const auto got = test::run_warploom({"generate", prompt, "-m", model.path().string(), "--max-tokens", "2", more});
    EXPECT_EQ(got.status, 0) << got.err;
    return got.err.find("begins with <|im_start|>") != std::string::npos;
  };
  EXPECT_TRUE(warnings(with, "<|im_start|>the inner", "--ignore-eos"));
  EXPECT_FALSE(warnings(with, "the inner", "--ignore-eos"));
  EXPECT_FALSE(warnings(with, "<|im_start|>the inner", "--quiet"));
  EXPECT_FALSE(warnings(without, "<|im_start|>the inner", "--ignore-eos"));
}

}  // namespace
}  // namespace warploom
