// A conversation: each line of standard input is a message. With the PrefixCache a turn computes what is new.
#include <iostream>
#include <string>

#include "warploom/warploom.h"

int main(int argc, char** argv) try {
  const auto model = warploom::Model::load(argc > 1 ? argv[1] : "models/SmolLM2-135M-Instruct.Q4_1.gguf");
  warploom::GenerateOptions options;
  options.max_tokens = 200;
  options.sampling = {.temperature = 0.8f, .top_k = 50, .top_p = 0.9f, .seed = 1};
  options.prefix_cache = std::make_shared<warploom::PrefixCache>(model);

  std::vector<warploom::ChatMessage> messages = {{"system", "You are a helpful assistant."}};
  for (std::string line; std::getline(std::cin, line);) {
    messages.push_back({"user", line});
    const std::vector<std::vector<warploom::TokenId>> prompt = {model->tokenizer()->encode_chat(messages)};
    const warploom::Generation answer = warploom::generate(model, prompt, options).at(0);
    messages.push_back({"assistant", answer.text});
    std::cout << answer.text << "\n[" << answer.timings.cached_tokens << " of " << answer.timings.prompt_tokens
              << " tokens were there; first token after " << answer.timings.prefill_seconds << " s]" << std::endl;
  }
  return std::cout ? 0 : 1;
} catch (const warploom::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
