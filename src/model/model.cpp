#include "warploom/model.h"

#include <fmt/format.h>

#include "formats/gguf.h"
#include "model/decoder_model.h"
#include "text/tokenizer.h"
#include "warploom/error.h"

namespace warploom {

namespace {

class LoadedModel final : public Model {
 public:
  LoadedModel(std::unique_ptr<DecoderModel> decoder, std::shared_ptr<const Tokenizer> tokenizer)
      : decoder_(std::move(decoder)), tokenizer_(std::move(tokenizer)) {}

  const ModelShape& shape() const override { return decoder_->config().shape; }
  std::uint64_t weight_bytes() const override { return decoder_->weight_bytes(); }
  const std::shared_ptr<const Tokenizer>& tokenizer() const override { return tokenizer_; }
  std::string device_description() const override { return decoder_->backend().description(); }

  const DecoderModel& decoder() const { return *decoder_; }

 private:
  std::unique_ptr<DecoderModel> decoder_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

}  // namespace

std::shared_ptr<const Model> Model::load(const std::filesystem::path& path, const ModelOptions& options) {
  std::unique_ptr<Backend> backend = create_backend(options.device);
  const std::shared_ptr<const GgufFile> file = GgufFile::open(path);
  std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(file);
  std::unique_ptr<DecoderModel> decoder = load_decoder_model(*file, std::move(backend), options.progress);
  const std::int64_t vocab_size = decoder->config().shape.vocab_size;
  if (static_cast<std::int64_t>(tokenizer->vocab_size()) != vocab_size)
    throw ModelError(fmt::format("{}: the tokenizer has {} tokens, the embedding {}", path.string(), tokenizer->vocab_size(),
                                 vocab_size));
  return std::make_shared<LoadedModel>(std::move(decoder), std::move(tokenizer));
}

const DecoderModel& decoder_of(const Model& model) { return dynamic_cast<const LoadedModel&>(model).decoder(); }

}  // namespace warploom
