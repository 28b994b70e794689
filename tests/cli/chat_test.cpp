#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "cli/process.h"
#include "support/generate.h"
#include "support/tiny_model.h"

namespace warploom {
namespace {

using test::model_path;

// The conversation through the library, with the answers in it.
std::string answers(const std::vector<std::string>& questions, const std::optional<std::string>& system = {}) {
  const auto model = Model::load(model_path());
  test::Options options;
  options.max_tokens = 10;
  options.sampling.temperature = 0.0f;
  std::vector<ChatMessage> messages;
  if (system) messages.push_back({"system", *system});
  std::string out;
  std::vector<TokenId> drawn;
  std::vector<std::vector<TokenId>> prompts(1);
  for (const std::string& question : questions) {
    messages.push_back({"user", question});
    prompts[0] = model->tokenizer()->encode_next_turn(prompts[0], drawn, messages);
    const auto answer = test::generate(model, prompts, options).at(0);
    drawn = answer.token_ids;
    messages.push_back({"assistant", answer.text});
    out += messages.back().content + "\n";
  }
  return out;
}

TEST(ChatCommand, KeepsTheHistory) {
  const auto got = test::run_warploom({"chat", "-m", model_path(), "-t", "0", "-n", "10", "--system", "You are a poet."},
                                      "My name is Ada.\n\nWhat is my name?\n/exit\nnever read\n");
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_EQ(got.out, answers({"My name is Ada.", "What is my name?"}, "You are a poet."));
}

TEST(ChatCommand, SaysThatAnAnswerWasCutAndHowToRepeatIt) {
  const std::vector<std::string> command = {"chat", "-m", model_path(), "-n", "5", "-s", "77"};
  const auto got = test::run_warploom(command, "Tell me a long story.\n");
  EXPECT_THAT(got.err, testing::HasSubstr("cut after 5 tokens"));
  EXPECT_THAT(got.err, testing::HasSubstr("--seed 77"));
  EXPECT_EQ(test::run_warploom(command, "Tell me a long story.\n").out, got.out);
  std::vector<std::string> quiet = command;
  quiet.push_back("-q");
  EXPECT_EQ(test::run_warploom(quiet, "Tell me a long story.\n").err, "");
}

TEST(ChatCommand, ResetForgetsIt) {
  const auto got =
      test::run_warploom({"chat", "-m", model_path(), "-t", "0", "-n", "10"}, "My name is Ada.\n/reset\nHello\n");
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_EQ(got.out, answers({"My name is Ada."}) + answers({"Hello"}));
}

TEST(ChatCommand, AMessageLongerThanTheContextIsRefusedAndTheSessionGoesOn) {
  std::string message;
  for (int i = 0; i < 9000; ++i) message += "word ";
  const auto got = test::run_warploom({"chat", "-m", model_path(), "-t", "0", "-n", "10"}, message + "\nHello\n");
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_THAT(got.err, testing::HasSubstr("context"));
  EXPECT_EQ(got.out, answers({"Hello"}));
}

TEST(ChatCommand, AnEmptySystemMessageIsNotTheDefault) {
  const std::vector<std::string> command = {"chat", "-m", model_path(), "-t", "0", "-n", "10"};
  std::vector<std::string> with_system = command;
  with_system.insert(with_system.end(), {"--system", ""});
  const std::string want = answers({"Who are you?"}, "");
  EXPECT_EQ(test::run_warploom(with_system, "Who are you?\n").out, want);
  EXPECT_EQ(test::run_warploom(command, "Who are you?\n").out, answers({"Who are you?"}));
  EXPECT_NE(want, answers({"Who are you?"}));
}

TEST(ChatCommand, LinesOfWindows) {
  const auto got =
      test::run_warploom({"chat", "-m", model_path(), "-t", "0", "-n", "10"}, "Hello\r\n\r\n/exit\r\nnever read\r\n");
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_EQ(got.out, answers({"Hello"}));
  EXPECT_THAT(got.err, testing::Not(testing::HasSubstr("not a command")));
}

TEST(ChatCommand, AMessageThatTheTemplateRefusesIsLeftOutAndTheSessionGoesOn) {
  test::TinyModel with;
  with.chat_template =
      "{% for message in messages %}{% if 'secret' in message.content %}{{ raise_exception('no secrets here') }}{% endif %}"
      "{{ message.content }};{% endfor %}";
  const test::TemporaryModel model(test::tiny_model(with));
  const std::vector<std::string> command = {"chat", "-m", model.path().string(), "-t", "0", "-n", "10"};
  const auto got = test::run_warploom(command, "One\na secret\nTwo\n/exit \nnever read\n");
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_THAT(got.err, testing::HasSubstr("no secrets here"));
  EXPECT_EQ(got.out, test::run_warploom(command, "One\nTwo\n").out);
}

TEST(ChatCommand, UnknownCommandsAreNotSentToTheModel) {
  const auto got = test::run_warploom({"chat", "-m", model_path(), "-t", "0", "-n", "10"}, "/help\n/quit\n");
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_EQ(got.out, "");
  EXPECT_THAT(got.err, testing::HasSubstr("/quit is not a command"));
  EXPECT_THAT(got.err, testing::HasSubstr("/reset forgets"));
}

}  // namespace
}  // namespace warploom
