#include <iterator>

#include <fmt/format.h>

#include "warploom/engine_stats.h"

namespace warploom {

namespace {

const char* vllm_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop_token:
    case FinishReason::stop_string: return "stop";
    case FinishReason::length:
    case FinishReason::context_full: return "length";
    case FinishReason::invalid_logits:
    case FinishReason::error: return "error";
    default: return "abort";
  }
}

/// Writes metrics one after the other.
class Exposition {
 public:
  explicit Exposition(std::string_view model_name) {
    labels_ = "model_name=\"";
    for (const char c : model_name) {
      if (c == '\\' || c == '"') labels_ += '\\';
      if (c == '\n')
        labels_ += "\\n";
      else
        labels_ += c;
    }
    labels_ += '"';
  }

  void head(std::string_view name, std::string_view type, std::string_view help) {
    print("# HELP warploom:{} {}\n# TYPE warploom:{} {}\n", name, help, name, type);
  }
  void gauge(std::string_view name, std::string_view help, double value) {
    head(name, "gauge", help);
    print("warploom:{}{{{}}} {}\n", name, labels_, value);
  }
  void counter(std::string_view name, std::string_view help, std::uint64_t value) {
    head(name, "counter", help);
    print("warploom:{}{{{}}} {}\n", name, labels_, value);
  }
  void ended(FinishReason reason, std::uint64_t value) {
    print("warploom:request_success_total{{{},finished_reason=\"{}\",reason=\"{}\"}} {}\n", labels_, vllm_name(reason),
          name(reason), value);
  }
  void histogram(std::string_view name, std::string_view help, const Histogram& values) {
    head(name, "histogram", help);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < values.bounds().size(); ++i) {
      sum += values.counts()[i];
      print("warploom:{}_bucket{{{},le=\"{}\"}} {}\n", name, labels_, values.bounds()[i], sum);
    }
    print("warploom:{}_bucket{{{},le=\"+Inf\"}} {}\n", name, labels_, values.count());
    print("warploom:{}_sum{{{}}} {}\nwarploom:{}_count{{{}}} {}\n", name, labels_, values.sum(), name, labels_,
          values.count());
  }

  std::string take() { return std::move(text_); }

 private:
  template <typename... Args>
  void print(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
  }

  std::string labels_, text_;
};

}  // namespace

std::string prometheus_text(const EngineStats& stats, std::string_view model_name) {
  Exposition out(model_name);
  out.gauge("num_requests_running", "Requests of which sequences run", static_cast<double>(stats.num_requests_running));
  out.gauge("num_requests_waiting", "Requests that wait", static_cast<double>(stats.num_requests_waiting));
  out.gauge("kv_cache_usage_perc", "Share of the KV cache that is in use, 1 being all of it", stats.kv_cache_usage);
  out.counter("num_preemptions_total", "Sequences that were preempted", stats.preemptions);
  out.counter("prefix_cache_queries_total", "Prompt tokens that were looked up in the prefix cache",
              stats.queried_prompt_tokens);
  out.counter("prefix_cache_hits_total", "Prompt tokens that the prefix cache held", stats.cached_prompt_tokens);
  out.counter("prompt_tokens_total", "Prompt tokens of requests that were admitted", stats.prompt_tokens);
  out.counter("generation_tokens_total", "Tokens that were generated", stats.generated_tokens);
  out.head("request_success_total", "counter", "Completions that ended; finished_reason is vLLM's word for the reason");
  for (std::size_t i = 1; i < std::size(stats.finished_completions); ++i)
    out.ended(static_cast<FinishReason>(i), stats.finished_completions[i]);
  out.counter("request_refused_total", "Requests that were refused because the queue was full", stats.refused_requests);
  out.histogram("iteration_tokens_total", "Tokens of a step", stats.step_tokens);
  out.histogram("iteration_seconds", "Duration of a step", stats.step_time);
  out.histogram("time_to_first_token_seconds", "From submission to the first token", stats.time_to_first_token);
  out.histogram("inter_token_latency_seconds", "Between two tokens", stats.inter_token_latency);
  out.histogram("request_queue_time_seconds", "From submission to the first step", stats.queue_time);
  out.histogram("e2e_request_latency_seconds", "From submission to the end", stats.request_latency);
  out.histogram("request_inference_time_seconds", "From the first step to the end", stats.request_inference_time);
  out.histogram("request_prefill_time_seconds", "From the first step to the first token", stats.request_prefill_time);
  out.histogram("request_decode_time_seconds", "From the first token to the end", stats.request_decode_time);
  out.histogram("request_time_per_output_token_seconds", "Between the tokens of a completion, on average",
                stats.request_time_per_output_token);
  out.histogram("request_prompt_tokens", "Prompt tokens of requests that ended", stats.request_prompt_tokens);
  out.histogram("request_generation_tokens", "Tokens generated for requests that ended", stats.request_generated_tokens);
  return out.take();
}

}  // namespace warploom
