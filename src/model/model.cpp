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
  LoadedModel(std::unique_ptr<Transformer> transformer, std::shared_ptr<const Tokenizer> tokenizer, DType kv_type,
              std::int64_t kv_block_size)
      : transformer_(std::move(transformer)),
        tokenizer_(std::move(tokenizer)),
        kv_type_(kv_type),
        kv_block_size_(kv_block_size) {}

  const ModelShape& shape() const override { return transformer_->config().shape; }
  ModelMemory memory() const override {
    const ModelShape& s = shape();
    ModelMemory memory;
    memory.weights = transformer_->weight_bytes();
    memory.kv_per_token = static_cast<std::uint64_t>(2 * s.num_layers * s.num_kv_heads * s.head_dim * bytes_of(kv_type_));
    return memory;
  }
  const std::shared_ptr<const Tokenizer>& tokenizer() const override { return tokenizer_; }
  std::string device_description() const override { return transformer_->backend().description(); }

  const Transformer& transformer() const { return *transformer_; }
  DType kv_type() const { return kv_type_; }
  std::int64_t kv_block_size() const { return kv_block_size_; }

 private:
  std::unique_ptr<Transformer> transformer_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  DType kv_type_;
  std::int64_t kv_block_size_;
};

}  // namespace

std::shared_ptr<const Model> Model::load(const std::filesystem::path& path, const ModelOptions& options) {
  std::unique_ptr<Backend> backend = create_backend(options.device);
  // Before the weights are read: what the cache is to be like. Heads follow from the file.
  backend->check_kv_cache_shape({.num_layers = 1,
                                 .num_kv_heads = 1,
                                 .head_dim = 64,
                                 .num_blocks = 1,
                                 .type = options.kv_type,
                                 .block_size = options.kv_block_size});
  const std::shared_ptr<const GgufFile> file = GgufFile::open(path);
  std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(file);
  std::unique_ptr<Transformer> transformer = load_transformer(*file, std::move(backend), options.progress);
  const std::int64_t vocab_size = transformer->config().shape.vocab_size;
  if (static_cast<std::int64_t>(tokenizer->vocab_size()) != vocab_size)
    throw ModelError(fmt::format("{}: the tokenizer has {} tokens, the embedding {}", path.string(), tokenizer->vocab_size(),
                                 vocab_size));
  return std::make_shared<LoadedModel>(std::move(transformer), std::move(tokenizer), options.kv_type, options.kv_block_size);
}

const Transformer& transformer_of(const Model& model) { return dynamic_cast<const LoadedModel&>(model).transformer(); }

DType kv_type_of(const Model& model) { return dynamic_cast<const LoadedModel&>(model).kv_type(); }

std::int64_t kv_block_size_of(const Model& model) { return dynamic_cast<const LoadedModel&>(model).kv_block_size(); }

}  // namespace warploom
