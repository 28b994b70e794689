// Recorded arrivals, as public traces of language model services write them.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "workload.h"

namespace warploom::bench {

struct Trace {
  std::vector<Arrival> arrivals;  // by time, at least one
  std::int64_t failed = 0;        // records of requests that failed: without a response; they are left out
};

/// Either form, told apart by the first character:
///   Mooncake: JSON lines {"timestamp": milliseconds, "input_length": tokens, "output_length": tokens, "hash_ids": [block, ...]}.
///     Prompts share the blocks, of `block_tokens` tokens each, whose ids are equal. hash_ids may be missing or too short: the rest of the
///     prompt is then shared with no other. "prompt_token_ids": [id, ...] in their place gives the prompt itself, input_length ids.
///   BurstGPT: CSV whose first line names the columns, of which Timestamp (seconds), Request tokens and Response tokens are read.
/// Reads at most `max_requests`. Throws InvalidArgument, which names `path` and the line.
Trace read_trace(std::istream& file, const std::string& path, std::int64_t block_tokens, std::int64_t max_requests);

/// Throws InvalidArgument if it cannot be opened, too.
Trace read_trace(const std::string& path, std::int64_t block_tokens, std::int64_t max_requests);

}  // namespace warploom::bench
