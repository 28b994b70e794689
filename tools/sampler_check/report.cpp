#include "tools/sampler_check/report.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace warploom::sampler_check {

namespace {

std::string effect(const TestResult& test) {
  const auto percent = [](double value) {
    if (!std::isfinite(value)) return std::string("none");
    return value < 0.1 ? fmt::format("{:.2g}%", 100.0 * value) : fmt::format("{:.0f}%", 100.0 * value);
  };
  if (test.effect_less == test.effect_more) return percent(test.effect_less);
  return fmt::format("-{}, +{}", percent(test.effect_less), percent(test.effect_more));
}

std::string chi_square(const TestResult& test) {
  return std::isfinite(test.chi_square) ? fmt::format("{:.1f}", test.chi_square) : "";
}

std::string verdict(const SamplerCheck& c) {
  if (c.ok()) return fmt::format("ok: all {} tests passed", c.tests.size());
  const auto failed = std::count_if(c.tests.begin(), c.tests.end(), [](const TestResult& test) { return !test.ok; });
  return fmt::format("FAILED: {} of {} tests; these draws do not follow docs/sampling.md", failed, c.tests.size());
}

nlohmann::json number(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); }

}  // namespace

std::string as_table(const SamplerCheck& c, const std::string& format) {
  std::string text = fmt::format(
      "Right draws fail one of these tests with probability {:g} (each with {:.2g}, two-sided); the effects are those found "
      "with "
      "probability {:g}.\n\n",
      c.plan.level, c.test_level, c.plan.power);
  const bool markdown = format == "markdown";
  text += markdown ? "| test | draws | cells | chi-square | p | smallest effect | |\n|---|---:|---:|---:|---:|---:|---|\n"
                   : fmt::format("{:<28}{:>9} {:>6} {:>11} {:>9} {:>16}\n", "test", "draws", "cells", "chi-square", "p",
                                 "smallest effect");
  for (const TestResult& test : c.tests) {
    const std::string end = fmt::format("{}{}{}", test.ok ? "ok" : "FAILED", test.detail.empty() ? "" : ": ", test.detail);
    const std::string p = fmt::format("{:.3g}", test.p_value);
    text += markdown ? fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", test.name, test.draws, test.cells,
                                   chi_square(test), p, effect(test), end)
                     : fmt::format("{:<28}{:>9} {:>6} {:>11} {:>9} {:>16}  {}\n", test.name, test.draws, test.cells,
                                   chi_square(test), p, effect(test), end);
  }
  return text + "\n" + verdict(c) + "\n";
}

nlohmann::json as_json(const SamplerCheck& c) {
  nlohmann::json tests = nlohmann::json::array();
  for (const TestResult& test : c.tests)
    tests.push_back({{"test", test.name},
                     {"draws", test.draws},
                     {"cells", test.cells},
                     {"chi_square", number(test.chi_square)},
                     {"p", test.p_value},
                     {"smallest_effect_less", number(test.effect_less)},
                     {"smallest_effect_more", number(test.effect_more)},
                     {"ok", test.ok},
                     {"detail", test.detail}});
  return {{"level", c.plan.level}, {"test_level", c.test_level}, {"power", c.plan.power}, {"tests", tests},
          {"ok", c.ok()},          {"verdict", verdict(c)}};
}

}  // namespace warploom::sampler_check
