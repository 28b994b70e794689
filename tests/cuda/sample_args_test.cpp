// What callers get wrong, and calls on streams and in graphs.
#include "cuda/device_sampling.h"

#include <cmath>

#include <gtest/gtest.h>

#include "warploom/error.h"

namespace warploom {
namespace {

using test::DeviceArray;

constexpr std::int64_t kVocab = 5000;

struct Call {
  std::vector<float> row;
  DeviceArray<float> logits;
  DeviceArray<TokenId> token;
  DeviceArray<SampleStatus> status;
  SampleArgs args;

  explicit Call(std::size_t rows)
      : row(make(rows)),
        logits(row),
        token(std::vector<TokenId>(rows, -7)),
        status(std::vector<SampleStatus>(rows, SampleStatus::all_masked)) {
    args.logits = logits.data();
    args.rows = static_cast<std::int64_t>(rows);
    args.vocab_size = args.row_stride = kVocab;
    args.token = token.data();
    args.status = status.data();
  }
  static std::vector<float> make(std::size_t rows) {
    std::vector<float> row(rows * kVocab);
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i % kVocab * 7 % 1000) / 250.0f;
    return row;
  }
  void run() {
    const DeviceArray<std::byte> workspace(std::vector<std::byte>(cuda::sample_workspace_bytes(args)));
    args.workspace = {workspace.data(), cuda::sample_workspace_bytes(args)};
    cuda::sample(args, nullptr);
    test::throw_on_error(cudaDeviceSynchronize());
  }
};

template <typename F>
void expect_refused(F change, const char* argument) {
  Call call(2);
  change(call.args);
  try {
    cuda::sample(call.args, nullptr);
    FAIL() << argument << " was taken";
  } catch (const InvalidArgument& error) {
    EXPECT_NE(std::string(error.what()).find(argument), std::string::npos) << error.what();
  }
  test::throw_on_error(cudaDeviceSynchronize());
  EXPECT_EQ(call.token.host(), std::vector<TokenId>(2, -7));
}

TEST(DeviceSampleArguments, WhatTheHostSeesIsRefused) {
  expect_refused([](auto& a) { a.vocab_size = 0; }, "vocab");
  expect_refused([](auto& a) { a.vocab_size = (1 << 22) + 1; }, "vocab");
  expect_refused([](auto& a) { a.rows = -1; }, "rows");
  expect_refused([](auto& a) { a.row_stride = kVocab - 1; }, "row_stride");
  expect_refused([](auto& a) { a.logits = nullptr; }, "logits");
  expect_refused([](auto& a) { a.token = nullptr; }, "token");
  expect_refused([](auto& a) { a.status = nullptr; }, "status");
  expect_refused([](auto& a) { a.parts = 129; }, "parts");
  expect_refused([](auto& a) { a.parts = 2; }, "workspace.bytes");
  expect_refused([](auto& a) { a.history = a.token; }, "history_offsets");
  expect_refused([](auto& a) { a.default_temperature = -1.0f; }, "default_temperature");
  expect_refused([](auto& a) { a.default_temperature = NAN; }, "default_temperature");
  expect_refused([](auto& a) { a.input = static_cast<SampleInput>(2); }, "input");
  expect_refused([](auto& a) { a.type = static_cast<DType>(3); }, "type");
  expect_refused([](auto& a) { a.top = -1; }, "top");
  expect_refused([](auto& a) { a.top = 1025; }, "top");
  expect_refused([](auto& a) { a.top = 5; }, "top_token");
  expect_refused([](auto& a) { a.kept_capacity = -1; }, "kept_capacity");
  expect_refused([](auto& a) { a.kept_capacity = 5; }, "kept");
  expect_refused([](auto& a) { a.kept = a.token; }, "kept_offsets");
  expect_refused([](auto& a) { a.probabilities = static_cast<float*>(const_cast<void*>(a.logits)); }, "dense_stride");
  expect_refused([](auto& a) { a.kept_offsets = reinterpret_cast<std::int64_t*>(a.token); }, "workspace.bytes");
  const auto probabilities = [](auto change) {
    return [change](auto& a) {
      a.input = SampleInput::probabilities;
      change(a);
    };
  };
  expect_refused(probabilities([](auto& a) { a.type = DType::bf16; }), "type");
  expect_refused(probabilities([](auto& a) { a.default_temperature = 0.5f; }), "temperature");
  expect_refused(probabilities([](auto& a) { a.bias = reinterpret_cast<const LogitBias*>(a.token); }), "bias");
  expect_refused(probabilities([](auto& a) { a.logprob = reinterpret_cast<double*>(a.token); }), "logprob");
  expect_refused([](auto& a) { a.allowed = reinterpret_cast<const std::uint32_t*>(a.token); }, "allowed_stride");
  expect_refused([](auto& a) { a.bias = reinterpret_cast<const LogitBias*>(a.token); }, "bias_offsets");
  expect_refused([](auto& a) { a.parts = -1; }, "parts");
  expect_refused([](auto& a) { a.rows = std::int64_t{1} << 24; }, "rows");
  Call call(2);
  call.args.parts = 2;
  call.args.workspace = {nullptr, cuda::sample_workspace_bytes(call.args)};
  EXPECT_THROW(cuda::sample(call.args, nullptr), InvalidArgument);
  call.args.workspace = {call.token.data(), cuda::sample_workspace_bytes(call.args) - 1};
  EXPECT_THROW(cuda::sample(call.args, nullptr), InvalidArgument);
}

TEST(DeviceSampleArguments, AWorkspaceThatIsNotAlignedIsRefused) {
  Call call(2);
  call.args.parts = 2;
  const std::size_t bytes = cuda::sample_workspace_bytes(call.args);
  const DeviceArray<std::byte> memory(std::vector<std::byte>(bytes + 16));
  for (const std::size_t offset : {1, 4, 8}) {
    call.args.workspace = {memory.data() + offset, bytes};
    try {
      cuda::sample(call.args, nullptr);
      ADD_FAILURE() << offset << " was taken";
    } catch (const InvalidArgument& error) {
      EXPECT_NE(std::string(error.what()).find("workspace.data is 0x"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("aligned to 16 bytes"), std::string::npos) << error.what();
    }
  }
  test::throw_on_error(cudaDeviceSynchronize());
  EXPECT_EQ(call.token.host(), std::vector<TokenId>(2, -7));
  call.args.parts = 1;  // which needs none
  call.args.workspace = {memory.data() + 4, 0};
  EXPECT_NO_THROW(cuda::sample(call.args, nullptr));
  test::throw_on_error(cudaDeviceSynchronize());
}

// Each bad row gets its status; the others what they get alone.
TEST(DeviceSampleArguments, WhatOnlyTheDeviceSeesIsARowsStatus) {
  const std::vector<float> temperature = {1.0f, -1.0f, NAN, 1.0f, 1.0f, 1.0f, INFINITY, 1.0f, 1.0f};
  const std::vector<float> top_p = {0.9f, 0.9f, 0.9f, 0.0f, NAN, 0.9f, 0.9f, 0.9f, 0.9f};
  const std::vector<std::int32_t> top_k = {0, 0, 0, 0, 0, -1, 0, 0, 0};
  const std::vector<LogitBias> bias = {{static_cast<TokenId>(kVocab), 1.0f}};
  const std::vector<std::int64_t> offsets = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1};
  for (const int parts : {1, 3}) {
    Call call(temperature.size());
    const DeviceArray<float> d_temperature(temperature), d_top_p(top_p);
    const DeviceArray<std::int32_t> d_top_k(top_k);
    const DeviceArray<LogitBias> d_bias(bias);
    const DeviceArray<std::int64_t> d_offsets(offsets);
    call.args.temperature = d_temperature.data();
    call.args.top_p = d_top_p.data();
    call.args.top_k = d_top_k.data();
    call.args.bias = d_bias.data();
    call.args.bias_offsets = d_offsets.data();
    call.args.parts = parts;
    call.run();
    const auto status = call.status.host();
    const auto token = call.token.host();
    SamplingInput row;
    row.params.top_p = 0.9f;
    const TokenId want = sample({call.row.data(), DType::f32, 1, kVocab, kVocab}, {&row, 1}).at(0).token;
    for (std::size_t r = 0; r < status.size(); ++r) {
      const bool good = r == 0 || r == 8;
      EXPECT_EQ(status[r], good ? SampleStatus::ok : SampleStatus::invalid_parameters) << r;
      EXPECT_EQ(token[r], good ? want : -1) << r;
    }
  }
}

// Every parameter in turn, with all outputs between guards; the other rows are the CPU's.
TEST(DeviceSampleArguments, ABadRowWritesItsStatusAndNoMore) {
  const std::vector<TokenId> beyond{static_cast<TokenId>(kVocab)}, below{-1};
  const std::vector<LogitBias> bad_bias{{-1, 1.0f}}, not_a_number{{7, NAN}};
  std::vector<SamplingInput> rows(17);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    rows[r].position = r;
    rows[r].params.repetition_penalty = 1.5f;
  }
  rows[1].params.temperature = -1.0f;
  rows[2].params.top_k = -1;
  rows[3].params.top_p = 0.0f;
  rows[4].params.top_p = NAN;
  rows[5].params.min_p = -0.1f;
  rows[6].params.min_p = 1.5f;
  rows[7].params.repetition_penalty = 0.0f;
  rows[8].params.frequency_penalty = NAN;
  rows[9].params.presence_penalty = INFINITY;
  rows[10].history = beyond;
  rows[11].history = below;
  rows[12].bias = bad_bias;
  rows[13].bias = not_a_number;  // the logit is then none
  rows[15].count_begin = 1;      // of a history without tokens
  rows[16].count_begin = -1;
  const std::vector<float> logits = Call::make(rows.size());
  const SampleOutputs wants{.logprob = true, .filtered_logprob = true, .top_logprobs = 3, .kept = true};
  for (const int parts : {0, 1, 3}) {
    const auto got = test::sample_on_device(
        {logits.data(), DType::f32, static_cast<std::int64_t>(rows.size()), kVocab, kVocab}, rows, parts, wants);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      SCOPED_TRACE(testing::Message() << "row " << r << " parts " << parts);
      if (r == 0 || r == 14) {
        const auto want = sample({logits.data() + r * kVocab, DType::f32, 1, kVocab, kVocab}, {&rows[r], 1}, wants).at(0);
        EXPECT_EQ(got[r].token, want.token);
        EXPECT_EQ(got[r].total_weight, want.total_weight);
        EXPECT_EQ(got[r].kept, want.kept);
        continue;
      }
      EXPECT_EQ(got[r].status, r == 13 ? SampleStatus::invalid_logits : SampleStatus::invalid_parameters);
      EXPECT_EQ(got[r].token, -1);
      EXPECT_EQ(got[r].argmax, -1);
      EXPECT_EQ(got[r].num_kept, 0);
      EXPECT_EQ(got[r].total_weight, 0u);
      EXPECT_TRUE(got[r].top.empty());
      EXPECT_TRUE(got[r].kept.empty());
    }
  }
}

// A row's logits may lie anywhere, and several rows may read the same ones.
TEST(DeviceSampleArguments, RowsAreFoundByIndex) {
  Call call(3);
  std::vector<float> other = call.row;
  for (std::int64_t i = 0; i < kVocab; ++i) other[static_cast<std::size_t>(2 * kVocab + i)] = i == 4321 ? 90.0f : 0.0f;
  const DeviceArray<float> logits(other);
  const DeviceArray<std::int64_t> index(std::vector<std::int64_t>{2, 0, 2});
  call.args.logits = logits.data();
  call.args.row_index = index.data();
  call.run();
  const auto token = call.token.host();
  EXPECT_EQ(token[0], 4321);
  EXPECT_EQ(token[2], 4321);
  EXPECT_NE(token[1], 4321);
}

TEST(DeviceSampleArguments, OnlyAllowedTokensAreDrawn) {
  Call call(2);
  std::vector<std::uint32_t> allowed(2 * ((kVocab + 31) / 32), 0);
  allowed[4000 / 32] = 1u << (4000 % 32);
  const DeviceArray<std::uint32_t> d_allowed(allowed);
  call.args.allowed = d_allowed.data();
  call.args.allowed_stride = (kVocab + 31) / 32;
  call.run();
  EXPECT_EQ(call.token.host(), (std::vector<TokenId>{4000, -1}));
  EXPECT_EQ(call.status.host(), (std::vector<SampleStatus>{SampleStatus::ok, SampleStatus::all_masked}));
}

// Positions live in device memory, so a replayed graph draws on, not again (Megatron-LM 5697).
TEST(DeviceSampleArguments, AReplayedGraphDrawsTheNextNumbers) {
  for (const int parts : {1, 4}) {
    Call call(1);
    const DeviceArray<std::uint64_t> position(std::vector<std::uint64_t>{0});
    call.args.position = position.data();
    call.args.parts = parts;
    const DeviceArray<std::byte> workspace(std::vector<std::byte>(cuda::sample_workspace_bytes(call.args)));
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    test::throw_on_error(cudaStreamCreate(&stream));
    test::throw_on_error(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    call.args.workspace = {workspace.data(), cuda::sample_workspace_bytes(call.args)};
    cuda::sample(call.args, stream);
    test::throw_on_error(cudaStreamEndCapture(stream, &graph));
    test::throw_on_error(cudaGraphInstantiate(&exec, graph, 0));
    for (std::uint64_t step = 0; step < 20; ++step) {
      test::throw_on_error(cudaMemcpy(position.data(), &step, sizeof step, cudaMemcpyHostToDevice));
      test::throw_on_error(cudaGraphLaunch(exec, stream));
      test::throw_on_error(cudaStreamSynchronize(stream));
      SamplingInput row;
      row.position = step;
      EXPECT_EQ(call.token.host()[0], sample({call.row.data(), DType::f32, 1, kVocab, kVocab}, {&row, 1}).at(0).token)
          << step;
    }
    test::throw_on_error(cudaGraphExecDestroy(exec));
    test::throw_on_error(cudaGraphDestroy(graph));
    test::throw_on_error(cudaStreamDestroy(stream));
  }
}

}  // namespace
}  // namespace warploom
