// A conversation: each line of standard input is a message. The Generator keeps what it computed, so a turn computes only what is new.
// For that the tokens of the turn before stay as they are.
#include <iostream>
#include <string>
#include <vector>

#include "warploom/warploom.h"

int main(int argc, char** argv) try {
  const std::string path = argc > 1 ? argv[1] : "models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (path == "--help") return std::cout << "usage: example_conversation [MODEL.gguf]\n", 0;
  if (argc > 2 || path.starts_with('-'))
    return std::cerr << argv[argc - 1] << " is no argument: example_conversation [MODEL.gguf]\n", 2;

  const auto model = warploom::Model::load(path);
  warploom::Generator generator(model);
  warploom::Request request;
  request.max_tokens = 200;
  request.sampling = {.temperature = 0.8f, .top_k = 50, .top_p = 0.9f, .seed = 1};

  std::vector<warploom::ChatMessage> messages = {{"system", "You are a helpful assistant."}};
  std::vector<warploom::TokenId> prompt, drawn;
  for (std::string line; std::getline(std::cin, line);) {
    messages.push_back({"user", line});
    prompt = model->tokenizer()->encode_next_turn(prompt, drawn, messages);
    request.prompt = prompt;
    const warploom::RequestOutput output = generator.generate(request);
    const warploom::Completion& answer = output.completions.front();
    messages.push_back({"assistant", answer.text});
    drawn = answer.token_ids;
    std::cout << answer.text << "\n[" << output.cached_tokens << " of " << output.prompt_token_ids.size()
              << " tokens were cached; first token after " << answer.timings.time_to_first_token << " s]" << std::endl;
  }
  return std::cout ? 0 : 1;
} catch (const warploom::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
