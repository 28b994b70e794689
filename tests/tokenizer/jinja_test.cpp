#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/template.h"

namespace warploom::jinja {
namespace {

Text render_text(std::string_view source) {
  const Value user =
      Value::dictionary({{"role", Value::text("user")}, {"content", Value::text(Text("Who?", Author::last_message))}});
  return Template(source).render({{"messages", Value::list({user})}});
}

std::string render(std::string_view source) { return render_text(source).bytes; }

// tests/data/make_chat_templates.py rendered them with Jinja.
TEST(Jinja, ConstructsRenderAsInJinja) {
  std::ifstream in(WARPLOOM_TEST_DATA "/jinja_constructs.json");
  const auto constructs = nlohmann::json::parse(in);
  EXPECT_GT(constructs.size(), 60u);
  for (const auto& one : constructs) {
    const std::string source = one["template"];
    if (one["text"].is_null()) {
      EXPECT_THROW((void)render(source), TemplateError) << source;
      continue;
    }
    try {
      EXPECT_EQ(render(source), one["text"].get<std::string>()) << source;
    } catch (const TemplateError& error) {
      ADD_FAILURE() << source << "\n" << error.what();
    }
  }
}

// What Jinja does, but this interpreter does not, is refused by name.
TEST(Jinja, RefusalsAreNamed) {
  for (const auto& [source, why] : std::vector<std::pair<std::string, std::string>>{
           {"{{ lipsum() }}", "the function 'lipsum' is not supported"},
           {"{{ dict([['a', 1]]) }}", "the function 'dict' is not supported with such arguments"},
           {"{{ [{'a': 1}] | groupby('a.b') }}", "the filter 'groupby' is not supported"},
           {"{{ [2, 1] | sort }}", "the filter 'sort' is not supported"},
           {"{% set f = messages[0].get %}{{ f('role') }}", "'f' is a method, not a function"},
           {"{{ range }}", "writing a function as text is not supported"},
           {"{% for i in [1] %}{{ loop }}{% endfor %}", "writing a loop as text is not supported"},
           {"{% macro f() %}{% endmacro %}{{ f.name }}", "'name' of a macro is not supported"},
           {"{% set ns = namespace() %}{% for i in [1] %}{% macro f() %}{% endmacro %}{% set ns.f = f %}{% endfor %}{{ "
            "ns.f() }}",
            "the macro 'f' is called outside of the block that defines it"},
           {"{% macro f(a) %}{% endmacro %}{{ f(b=1) }}", "the macro 'f' takes no argument 'b'"},
           {"{% macro f(a) %}{% endmacro %}{{ f(1, a=1) }}", "the macro 'f' takes no argument 'a' twice"},
           {"{{ 'x' | trim('y', 'z') }}", "trim: takes 1 arguments at most"},
           {"{{ 'x' | trim(y='z') }}", "trim: takes no argument 'y'"},
           {"{{ ['x'] | map('trim', y='z') | list }}", "trim: takes no argument 'y'"},
           {"{{ 'x'.startswith('x', 'y') }}", "startswith: a string is where a number should be"},
           {"{{ strftime_now() }}", "strftime_now: takes one string, the format"},
           {"{{ strftime_now('%Y', '%m') }}", "strftime_now: takes one string, the format"},
           {"{{ strftime_now('a\\x00b') }}", "strftime_now: the format has a character of value 0"},
           {"{{ strftime_now('%99999999d') }}", "strftime_now: the format makes more than"},
           {"{{ dict(a=1, a=2) }}", "the argument 'a' is given twice"},
           {"{{ range(3) | map('string') | map('replace', '', 'x' ~ 'y') | map('join', 1, 2, 3) | list }}",
            "join: takes 2 arguments"},
       }) {
    try {
      const std::string text = render(source);
      ADD_FAILURE() << source << " rendered as: " << text;
    } catch (const TemplateError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(why)) << source;
    }
  }
}

std::string by_c_library(std::time_t time, const std::string& format) {
  std::tm local{};
  localtime_r(&time, &local);
  std::array<char, 1000> out{};
  return {out.data(), std::strftime(out.data(), out.size(), format.c_str(), &local)};
}

TEST(Jinja, StrftimeNowIsTheLocalTime) {
  const std::string format =
      "%a %A %b %B %c %C %d %-d %D %e %F %g %G %h %H %-H %I %-I %j %m %-m %M %n %p %r %R %S %t %T %u %U %V %w %W %x %X %y "
      "%Y %% é %";
  std::string before, text, after;
  do {
    before = by_c_library(std::time(nullptr), format);
    text = render("{{ strftime_now('" + format + "') }}");
    after = by_c_library(std::time(nullptr), format);
  } while (before != after);
  EXPECT_EQ(text, before);
}

// What Python resolves by itself, and what it gives of nothing.
TEST(Jinja, StrftimeNowIsPythons) {
  EXPECT_THAT(render("{{ strftime_now('%f') }}"), testing::MatchesRegex("[0-9]{6}"));
  EXPECT_EQ(render("[{{ strftime_now('%z%Z%:z') }}]"), "[]");
  EXPECT_EQ(render("{{ strftime_now('%%f%%z') }}"), "%f%z");
  EXPECT_EQ(render("[{{ strftime_now('') }}]"), "[]");
  EXPECT_EQ(render("{{ strftime_now('" + std::string(3000, 'x') + "') }}"), std::string(3000, 'x'));
}

// A date that someone's words make is still theirs.
TEST(Jinja, StrftimeNowKeepsTheAuthor) {
  EXPECT_EQ(render_text("{{ strftime_now(messages[0].content) }}").authors,
            std::string(4, static_cast<char>(Author::last_message)));
  EXPECT_EQ(render_text("{{ strftime_now('%%') }}").authors, std::string(1, static_cast<char>(Author::format)));
}

}  // namespace
}  // namespace warploom::jinja
