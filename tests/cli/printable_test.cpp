#include "cli/printable.h"

#include "cli/generate_report.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/process.h"

namespace warploom::cli {
namespace {

TEST(Printable, ControlCharactersBecomeSpaces) {
  EXPECT_EQ(printable(""), "");
  EXPECT_EQ(printable("a\nb\r\tc\x1b[2J\x7f" + std::string(1, '\0')), "a b  c [2J  ");
  EXPECT_EQ(printable("\xc2\x80\xc2\x9b\xc2\x9f"), "   ");
  EXPECT_EQ(printable("\xc2\xa0 naïve 北京 🙂 ~"), "\xc2\xa0 naïve 北京 🙂 ~");
  EXPECT_EQ(printable("a\xc2 \x9b[2J"), "a\uFFFD \uFFFD[2J");  // no UTF-8
}

TEST(EscapeControls, OfJsonThatALineOnATerminalMayShow) {
  EXPECT_EQ(escape_controls("{\"a\": \"\xc2\x9b"
                            "2J\x7f \xc2\xa0\u00fc\"}"),
            "{\"a\": \"\\u009b2J\\u007f \xc2\xa0\u00fc\"}");
}

TEST(Printable, IsCutBetweenCharacters) {
  const std::string text = "aé北🙂z";  // 1, 2, 3, 4 and 1 bytes
  const std::string want[] = {"...",     "a...",    "a...",    "aé...",   "aé...",        "aé...",
                              "aé北...", "aé北...", "aé北...", "aé北...", "aé北🙂..."};
  for (std::size_t limit = 0; limit < text.size(); ++limit) EXPECT_EQ(printable(text, limit), want[limit]) << limit;
  EXPECT_EQ(printable(text, text.size()), text);
  EXPECT_EQ(printable(text, 1, " and more"), "a and more");
}

TEST(ForTerminal, NothingSteersIt) {
  EXPECT_EQ(for_terminal(""), "");
  EXPECT_EQ(for_terminal("a\tb\r\nc\rd"), "a\tb\ncd");
  EXPECT_EQ(for_terminal("\x1b[2J\x1b]0;title\x07\b\x7f" + std::string(1, '\0')),
            "\uFFFD[2J\uFFFD]0;title\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(for_terminal("\xc2\x9b"
                         "31m \xc2\x80\xc2\xa0"),
            "\uFFFD31m \uFFFD\xc2\xa0");
  EXPECT_EQ(for_terminal("\x9b"
                         "31m \xff\xc2"),
            "\uFFFD31m \uFFFD\uFFFD");  // no UTF-8
  EXPECT_EQ(for_terminal("\xe5\x8c"
                         "A\xf0\x9f\x99\x1b"),
            "\uFFFDA\uFFFD\uFFFD");
  EXPECT_EQ(for_terminal("naïve 北京 🙂 ~"), "naïve 北京 🙂 ~");
}

// What the program writes on a terminal of its own; nothing where the machine has none to give.
std::optional<std::string> on_terminal(const std::vector<std::string>& arguments) {
  std::vector<char*> argv = {const_cast<char*>(WARPLOOM_PROGRAM)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  int terminal = -1;
  const pid_t child = forkpty(&terminal, nullptr, nullptr, nullptr);
  if (child == -1) return std::nullopt;
  if (child == 0) {
    execv(argv[0], argv.data());
    _exit(127);
  }
  std::string out;
  char part[4096];
  for (ssize_t n = 0; (n = read(terminal, part, sizeof part)) > 0;) out.append(part, static_cast<std::size_t>(n));
  close(terminal);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << out;
  return out;
}

TEST(ForTerminal, APipeGetsEveryByteAndATerminalNone) {
  const std::vector<std::string> command = {"generate", "A \x1b[31mred\x1b[0m word", "--echo", "-n", "1", "-q",
                                            "-m",       test::model_path()};
  const std::string piped = test::run_warploom(command).out;
  EXPECT_NE(piped.find("A \x1b[31mred\x1b[0m word"), std::string::npos) << piped;
  const std::optional<std::string> shown = on_terminal(command);
  if (!shown) GTEST_SKIP() << "no pseudo-terminals here";
  EXPECT_NE(shown->find("A \uFFFD[31mred\uFFFD[0m word"), std::string::npos) << *shown;
  EXPECT_EQ(shown->find('\x1b'), std::string::npos) << *shown;
}

}  // namespace
}  // namespace warploom::cli
