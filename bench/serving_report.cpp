#include "serving_report.h"

#include <cmath>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "format.h"

namespace warploom::bench {

namespace {

std::string rate_text(double rate) { return std::isinf(rate) ? "at once" : fmt::format("{:.3g}", rate); }

std::string workload_text(const ServingReport& report) {
  std::string text;
  for (const auto& [name, value] : report.workload) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, value);
  return text;
}

std::string modelled_text(const ServingReport& report) {
  if (report.modelled_gpu.empty()) return {};
  return fmt::format(
      "on the emulator: every time is modelled for the {} from what its kernels counted, none is measured; the engine's own "
      "work on the host "
      "and products of cuBLASLt, which --deterministic avoids, take no time\n",
      report.modelled_gpu);
}

nlohmann::json as_json(const Percentiles& p) {
  return {{"mean", p.mean}, {"p50", p.p50}, {"p90", p.p90}, {"p99", p.p99}, {"max", p.max}};
}

std::string as_json(const ServingReport& report) {
  nlohmann::json results = nlohmann::json::array();
  for (const ServingResult& r : report.results) {
    results.push_back({{"rate", std::isinf(r.rate) ? nlohmann::json() : nlohmann::json(r.rate)},
                       {"requests", r.requests},
                       {"good", r.good},
                       {"failures", r.failures},
                       {"seconds", r.seconds},
                       {"prompt_tokens", r.prompt_tokens},
                       {"cached_prompt_tokens", r.cached_prompt_tokens},
                       {"output_tokens", r.output_tokens},
                       {"preemptions", r.preemptions},
                       {"ttft_seconds", as_json(r.ttft)},
                       {"itl_seconds", as_json(r.itl)},
                       {"end_to_end_seconds", as_json(r.end_to_end)},
                       {"requests_per_second", r.requests_per_second()},
                       {"output_tokens_per_second", r.output_tokens_per_second()},
                       {"goodput", r.goodput()}});
    if (r.modelled)
      results.back()["modelled"] = {{"steps", r.modelled->steps},
                                    {"kernels", r.modelled->kernels},
                                    {"bytes_moved", r.modelled->bytes_moved},
                                    {"step_seconds", as_json(r.modelled->step_seconds)}};
  }
  const std::optional<double> sustained = knee(report.results);
  const nlohmann::json all = {
      {"machine", as_json(report.machine)},
      {"device", report.device},
      {"model", report.model},
      {"modelled_gpu", report.modelled_gpu.empty() ? nlohmann::json() : nlohmann::json(report.modelled_gpu)},
      {"workload", std::map(report.workload.begin(), report.workload.end())},
      {"limits", {{"ttft_seconds", report.limits.ttft}, {"itl_seconds", report.limits.itl}}},
      {"results", results},
      {"knee", sustained ? nlohmann::json(*sustained) : nlohmann::json()}};
  return all.dump(2) + "\n";
}

// What holds for all runs is in every row. An empty rate: all requests at once.
std::string as_csv(const ServingReport& report) {
  std::string text =
      "cpu,cores,device,modelled_gpu,model,workload,ttft_limit_seconds,itl_limit_seconds,rate,requests,good,failed,seconds,"
      "prompt_tokens,"
      "cached_prompt_tokens,output_tokens,preemptions";
  for (const char* name : {"ttft", "itl", "end_to_end"})
    for (const char* which : {"mean", "p50", "p90", "p99", "max"}) text += fmt::format(",{}_{}_seconds", name, which);
  text += ",requests_per_second,output_tokens_per_second,goodput\n";
  for (const ServingResult& r : report.results) {
    std::int64_t failed = 0;
    for (const auto& [reason, count] : r.failures) failed += count;
    text +=
        fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}", quoted(report.machine.cpu), report.machine.cores,
                    quoted(report.device), report.modelled_gpu, quoted(report.model), quoted(workload_text(report)),
                    report.limits.ttft, report.limits.itl, std::isinf(r.rate) ? "" : fmt::format("{}", r.rate), r.requests,
                    r.good, failed, r.seconds, r.prompt_tokens, r.cached_prompt_tokens, r.output_tokens, r.preemptions);
    for (const Percentiles* p : {&r.ttft, &r.itl, &r.end_to_end})
      for (const double value : {p->mean, p->p50, p->p90, p->p99, p->max}) text += fmt::format(",{}", value);
    text += fmt::format(",{},{},{}\n", r.requests_per_second(), r.output_tokens_per_second(), r.goodput());
  }
  return text;
}

// A row of a table, plain or markdown.
std::string row(const std::vector<std::string>& cells, const std::vector<std::string>& names, bool markdown) {
  std::string text = markdown ? "|" : "";
  for (std::size_t i = 0; i < cells.size(); ++i)
    text += markdown ? fmt::format(" {} |", cells[i]) : fmt::format("{:>{}}", cells[i], names[i].size() < 5 ? 8 : 10);
  return text + "\n";
}

std::string heading_row(const std::vector<std::string>& names, bool markdown) {
  std::string text = row(names, names, markdown);
  if (markdown) text += row(std::vector<std::string>(names.size(), "---:"), names, markdown);
  return text;
}

// What the modelled device did; empty if times are measured.
std::string steps_table(const ServingReport& report, bool markdown) {
  if (report.modelled_gpu.empty()) return {};
  const std::vector<std::string> names = {"rate", "steps", "kernels", "MB moved", "us p50", "us p90", "us p99"};
  std::string text = "\na step, modelled: kernels and MB moved on average, time in us\n\n" + heading_row(names, markdown);
  for (const ServingResult& r : report.results) {
    if (!r.modelled) continue;
    const auto steps = static_cast<double>(r.modelled->steps);
    const Percentiles& time = r.modelled->step_seconds;
    text += row({rate_text(r.rate), fmt::format("{}", r.modelled->steps), fmt::format("{:.1f}", r.modelled->kernels / steps),
                 fmt::format("{:.1f}", 1e-6 * r.modelled->bytes_moved / steps), fmt::format("{:.0f}", 1e6 * time.p50),
                 fmt::format("{:.0f}", 1e6 * time.p90), fmt::format("{:.0f}", 1e6 * time.p99)},
                names, markdown);
  }
  return text;
}

// Below the table: what it leaves out.
std::string remarks(const ServingReport& report) {
  std::string text;
  for (const ServingResult& r : report.results) {
    for (const auto& [reason, count] : r.failures)
      text += fmt::format("rate {}: {} of {} requests ended early: {}\n", rate_text(r.rate), count, r.requests, reason);
    if (r.preemptions > 0) text += fmt::format("rate {}: {} preemptions\n", rate_text(r.rate), r.preemptions);
    if (r.cached_prompt_tokens > 0)
      text += fmt::format("rate {}: {:.1f}% of the prompt tokens were in the prefix cache\n", rate_text(r.rate),
                          100.0 * static_cast<double>(r.cached_prompt_tokens) / static_cast<double>(r.prompt_tokens));
  }
  if (report.results.size() < 2) return text;
  const std::optional<double> sustained = knee(report.results);
  return text + (sustained
                     ? fmt::format("knee: {:.3g} requests/s, the highest rate at which {:.0f}% of the requests were good\n",
                                   *sustained, 100 * kGoodShare)
                     : fmt::format("no knee: at no rate were {:.0f}% of the requests good\n", 100 * kGoodShare));
}

std::string as_table(const ServingReport& report, bool markdown) {
  const std::vector<std::string> names = {"rate",    "TTFT p50", "p90", "p99",      "ITL p50", "p90", "p99",
                                          "E2E p50", "p90",      "p99", "tokens/s", "goodput", "good"};
  std::string text = fmt::format(
      "{}\nworkload: {}\n{}TTFT (first token) and ITL (between tokens) in ms, E2E (whole request) in s, rate and goodput in "
      "requests/s; good: TTFT up to {:g} ms and a mean ITL up to {:g} ms\n\n",
      heading(report.machine, report.device, report.model), workload_text(report), modelled_text(report),
      1000 * report.limits.ttft, 1000 * report.limits.itl);
  text += heading_row(names, markdown);
  for (const ServingResult& r : report.results) {
    std::vector<std::string> cells = {rate_text(r.rate)};
    for (const double value : {r.ttft.p50, r.ttft.p90, r.ttft.p99, r.itl.p50, r.itl.p90, r.itl.p99})
      cells.push_back(fmt::format("{:.1f}", 1000 * value));
    for (const double value : {r.end_to_end.p50, r.end_to_end.p90, r.end_to_end.p99})
      cells.push_back(fmt::format("{:.2f}", value));
    cells.push_back(fmt::format("{:.1f}", r.output_tokens_per_second()));
    cells.push_back(fmt::format("{:.3g}", r.goodput()));
    cells.push_back(fmt::format("{:.1f}%", 100 * r.good_share()));
    text += row(cells, names, markdown);
  }
  text += steps_table(report, markdown);
  const std::string below = remarks(report);
  return below.empty() ? text : text + "\n" + below;
}

}  // namespace

std::string render(const ServingReport& report, const std::string& format) {
  if (format == "json") return as_json(report);
  if (format == "csv") return as_csv(report);
  return as_table(report, format == "markdown");
}

}  // namespace warploom::bench
