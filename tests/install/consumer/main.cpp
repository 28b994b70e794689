// Calls into an installed Warploom: a result, and an exception caught by type across the library's boundary.
#include <cstdio>
#include <vector>

#include "warploom/warploom.h"

int main() {
  const std::vector<float> logits = {0.5f, 3.0f, -1.0f, 2.0f};
  const warploom::LogitsView view{.data = logits.data(), .rows = 1, .vocab_size = 4, .row_stride = 4};
  warploom::SamplingInput row;
  row.params.temperature = 0.0f;
  const auto results = warploom::sample(view, {&row, 1});
  if (results.at(0).token != 1) {
    std::fprintf(stderr, "greedy took token %d, not 1\n", results[0].token);
    return 1;
  }
  try {
    warploom::Model::load("no_such_file.gguf");
    std::fprintf(stderr, "a model that is not there was loaded\n");
    return 1;
  } catch (const warploom::ModelError& error) {
    std::printf("token 1, and: %s\n", error.what());
  }
}
