#include "engine/sequence.h"

#include <algorithm>

namespace warploom {

void Sequence::copy_tokens(std::int64_t from, std::int64_t count, std::vector<TokenId>& out) const {
  const std::int64_t prompt = group->prompt_size(), to = from + count;
  const auto append = [&out](const std::vector<TokenId>& tokens, std::int64_t begin, std::int64_t end) {
    if (begin < end) out.insert(out.end(), tokens.begin() + begin, tokens.begin() + end);
  };
  append(group->prompt, from, std::min(to, prompt));
  append(output_token_ids, std::max(from, prompt) - prompt, to - prompt);
}

void Sequence::free_blocks() {
  block_table.clear();
  prefixes.clear();
  num_computed_tokens = 0;
}

}  // namespace warploom
