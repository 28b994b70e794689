#include <iostream>
#include <string>

#include "warploom/warploom.h"

int main(int argc, char** argv) try {
  const std::string path = argc > 1 ? argv[1] : "models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (path == "--help") return std::cout << "usage: example_generate [MODEL.gguf]\n", 0;
  if (argc > 2 || path.starts_with('-'))
    return std::cerr << argv[argc - 1] << " is no argument: example_generate [MODEL.gguf]\n", 2;

  const auto model = warploom::Model::load(path);
  warploom::Generator generator(model);

  warploom::Request request;
  request.prompt = "Once upon a time";
  request.max_tokens = 100;
  request.sampling = {.temperature = 0.8f, .top_k = 50, .top_p = 0.9f, .seed = 1};

  warploom::Callbacks callbacks;
  callbacks.on_token = [](const warploom::TokenEvent& event) {
    std::cout << event.text << std::flush;
    return true;  // false stops here
  };
  generator.generate(request, callbacks);
  std::cout << std::endl;
  return std::cout ? 0 : 1;
} catch (const warploom::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
