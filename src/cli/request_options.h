// Options that say when a generation ends, which tokens may be drawn, and what is reported of them.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "warploom/request.h"

namespace warploom::cli {

/// What options put into a Request, as far as it needs parsing.
struct RequestChoice {
  Request request;  // but for its prompt and what follows
  std::vector<std::string> logit_bias;
};

void add_request_options(CLI::App& command, RequestChoice& choice);

/// Throws CLI::ValidationError if a bias is not TOKEN:BIAS.
Request resolve(const RequestChoice& choice);

}  // namespace warploom::cli
