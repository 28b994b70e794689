// A server's heart: requests from several threads share one engine, and each thread streams its answers as they come.
//   example_serving [MODEL] [CLIENTS]
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "warploom/warploom.h"

namespace {

std::mutex terminal;

/// What one client does: asks twice, and prints each sentence as it arrives. A server would write to its connection instead.
void serve_client(warploom::Engine& engine, int client) {
  for (const char* prompt : {"The old lighthouse", "A recipe for"}) {
    warploom::Request request;
    request.prompt = prompt;
    request.max_tokens = 40;
    request.sampling = {.temperature = 0.8f, .top_p = 0.9f, .seed = static_cast<std::uint64_t>(client)};
    request.echo = true;
    request.deadline = 60.0;

    auto handle = engine.try_submit(request);
    while (!handle) {  // the queue is full: a server would answer "try again later"
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      handle = engine.try_submit(request);
    }
    std::string line = "client " + std::to_string(client) + ": ";
    for (bool last = false; !last;)
      for (const warploom::TokenEvent& event : handle->events().await(warploom::Seconds(1))) {
        line += event.text;
        last = event.last;
        const bool sentence = !event.text.empty() && std::strchr(".!?\n", event.text.back());
        if (!last && !sentence) continue;
        const std::lock_guard lock(terminal);
        std::cout << line << (last ? std::string(" [") + name(event.finish_reason) + "]\n" : "\n");
        line = "client " + std::to_string(client) + ": ";
      }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string path = argc > 1 ? argv[1] : "models/SmolLM2-135M-Instruct.Q4_1.gguf";
  int clients = 4;
  if (argc > 2) clients = std::atoi(argv[2]);
  if (path == "--help") return std::cout << "usage: example_serving [MODEL.gguf] [CLIENTS]\n", 0;
  if (argc > 3 || path.starts_with('-') || clients < 1)
    return std::cerr << argv[argc - 1] << " is no argument: example_serving [MODEL.gguf] [CLIENTS]\n", 2;

  const auto model = warploom::Model::load(path);

  warploom::EngineOptions options;
  options.max_queued_requests = 100;
  warploom::Engine engine(model, options);

  std::vector<std::jthread> threads;
  for (int client = 1; client <= clients; ++client)
    threads.emplace_back([&engine, client] { serve_client(engine, client); });
  threads.clear();  // waits for all of them

  engine.drain();
  const warploom::EngineStats stats = engine.stats();
  std::cout << stats.generated_tokens << " tokens in " << stats.uptime << " s; first token after "
            << stats.time_to_first_token.quantile(0.5) << " s, then one every " << stats.inter_token_latency.quantile(0.5)
            << " s (medians)\n";
  return std::cout ? 0 : 1;
} catch (const warploom::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
