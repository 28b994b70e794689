// From what an application asks for to what the scheduler works on.
#pragma once

#include <vector>

#include "engine/live_request.h"
#include "warploom/model.h"
#include "warploom/request.h"
#include "warploom/tokenizer.h"

namespace warploom {

/// The tokens of a prompt. Throws as Tokenizer::encode and Tokenizer::encode_chat do.
std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, Prompt prompt);

/// Checks a request and encodes its prompt; the group has no id yet. Any thread. Throws InvalidArgument or ModelError if it
/// cannot be honoured as a whole.
PreparedRequest prepare_request(Request request, const Tokenizer& tokenizer, const ModelShape& shape);

}  // namespace warploom
