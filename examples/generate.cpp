#include <iostream>

#include "warploom/warploom.h"

int main(int argc, char** argv) try {
  const auto model = warploom::Model::load(argc > 1 ? argv[1] : "models/SmolLM2-135M-Instruct.Q4_1.gguf");
  const warploom::Generator generator(model);

  warploom::GenerateOptions options;
  options.max_tokens = 100;
  options.sampling = {.temperature = 0.8f, .top_k = 50, .top_p = 0.9f, .seed = 1};

  generator.generate("Once upon a time", options, [](const warploom::TokenEvent& event) {
    std::cout << event.text << std::flush;
    return true;  // false stops here
  });
  std::cout << std::endl;
  return std::cout ? 0 : 1;
} catch (const warploom::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
