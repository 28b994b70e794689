#include <utility>

#include "text/utf8.h"
#include "warploom/error.h"
#include "warploom/tokenizer.h"

namespace warploom {

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool with_special, bool at_start)
    : tokenizer_(std::move(tokenizer)), with_special_(with_special), at_start_(at_start) {
  if (!tokenizer_) throw InvalidArgument("StreamDecoder: tokenizer is null");
}

std::string StreamDecoder::push(TokenId id) {
  tokenizer_->decode_next(id, with_special_, at_start_, pending_);
  const std::size_t held = incomplete_utf8_suffix(pending_);
  std::string ready = pending_.substr(0, pending_.size() - held);
  pending_.erase(0, ready.size());
  return ready;
}

std::string StreamDecoder::finish() { return std::exchange(pending_, {}); }

}  // namespace warploom
