// The building blocks, one by one, against plain code on the host.
#include "warploom/cuda/building_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/half.h"
#include "core/sampling_math.h"
#include "cuda/device_sampling.h"
#include "sampling/random_rows.h"
#include "warploom/error.h"

namespace warploom {
namespace {

using test::DeviceArray;

constexpr std::size_t kVocabs[] = {1, 7, 130, 1031, 20011};
constexpr std::size_t kRows = 24;

struct HostFilters {
  std::vector<std::int32_t> top_k;
  std::vector<float> top_p, min_p;
};

// The kept tokens of one row of weights, by a full sort.
std::vector<bool> kept_of(const std::vector<float>& values, const std::vector<std::uint64_t>& weights, bool keep_weightless,
                          std::int64_t top_k, float top_p, float min_p) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] != -INFINITY) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
  if (top_k > 0) order.resize(std::min(order.size(), static_cast<std::size_t>(top_k)));
  if (top_p < 1.0f) {
    std::uint64_t total = 0, sum = 0;
    for (const std::size_t i : order) total += weights[i];
    const std::uint64_t threshold = sampling::top_p_threshold(top_p, total);
    std::size_t kept = 0;
    while (sum < threshold) sum += weights[order[kept++]];
    order.resize(kept);
  }
  std::vector<bool> survives(values.size());
  const std::uint64_t least = sampling::min_p_weight(min_p);
  for (const std::size_t i : order) survives[i] = (least == 1 && keep_weightless) || weights[i] >= least;
  return survives;
}

struct Case {
  std::size_t vocab_size, stride;
  std::vector<float> values;  // kRows rows, `stride` apart, NaN between them
  std::vector<float> temperature;
  HostFilters filters;
  std::vector<std::uint64_t> seed, position;
  std::vector<std::uint32_t> subsequence;

  std::vector<float> row(std::size_t r) const {
    return {values.begin() + static_cast<std::ptrdiff_t>(r * stride),
            values.begin() + static_cast<std::ptrdiff_t>(r * stride + vocab_size)};
  }
};

Case random_case(std::size_t vocab_size, bool probabilities) {
  std::mt19937_64 rng(vocab_size);
  Case c;
  c.vocab_size = vocab_size;
  c.stride = vocab_size + vocab_size % 3;
  c.values.assign(kRows * c.stride, NAN);
  for (std::size_t r = 0; r < kRows; ++r) {
    std::vector<float> y = test::random_logits(rng, vocab_size);
    for (float& v : y)
      if (probabilities) v = std::isfinite(v) ? std::exp(std::clamp(v, -60.0f, 60.0f)) : std::abs(v) == INFINITY ? 0.0f : v;
    std::copy(y.begin(), y.end(), c.values.begin() + static_cast<std::ptrdiff_t>(r * c.stride));
    c.temperature.push_back(test::pick(rng, {0.3f, 1.0f, 1.7f}));
    c.filters.top_k.push_back(test::pick(rng, {0, 1, 3, 50, 2000}));
    c.filters.top_p.push_back(test::pick(rng, {1.0f, 0.9f, 0.3f}));
    c.filters.min_p.push_back(test::pick(rng, {0.0f, 0.0f, 0.02f}));
    c.seed.push_back(rng());
    c.position.push_back(rng());
    c.subsequence.push_back(static_cast<std::uint32_t>(rng()));
  }
  return c;
}

// A case on the device, with its filters.
struct OnDevice {
  const Case& c;
  DeviceArray<float> values{c.values}, temperature{c.temperature};
  DeviceArray<std::int32_t> top_k{c.filters.top_k};
  DeviceArray<float> top_p{c.filters.top_p}, min_p{c.filters.min_p};
  DeviceArray<std::uint64_t> seed{c.seed}, position{c.position};
  DeviceArray<std::uint32_t> subsequence{c.subsequence};
  DeviceArray<float> dense{std::vector<float>(kRows * c.stride, 55.0f)};
  DeviceArray<SampleStatus> status{std::vector<SampleStatus>(kRows, SampleStatus::invalid_parameters)};
  DeviceArray<TokenId> token{std::vector<TokenId>(kRows, -7)};
  DeviceArray<std::byte> room{std::vector<std::byte>(cuda::block_workspace_bytes(rows()), std::byte{0xcd})};

  cuda::InputRows rows() const {
    return {values.data(), DType::f32, kRows, static_cast<std::int64_t>(c.vocab_size), static_cast<std::int64_t>(c.stride)};
  }
  cuda::OutputRows out() const { return {dense.data(), static_cast<std::int64_t>(c.stride)}; }
  cuda::Filters filters() const { return {top_k.data(), top_p.data(), min_p.data()}; }
  cuda::RngState rng() const { return {seed.data(), position.data(), subsequence.data()}; }
  Workspace workspace() const { return {room.data(), room.host().size()}; }
  // What a row of the dense output holds, once what lies between rows is seen to be untouched.
  std::vector<std::vector<float>> dense_rows() const {
    const std::vector<float> all = dense.host();
    std::vector<std::vector<float>> out;
    for (std::size_t r = 0; r < kRows; ++r) {
      const auto first = all.begin() + static_cast<std::ptrdiff_t>(r * c.stride);
      out.emplace_back(first, first + static_cast<std::ptrdiff_t>(c.vocab_size));
      for (std::size_t i = c.vocab_size; i < c.stride; ++i) EXPECT_EQ(all[r * c.stride + i], 55.0f);
    }
    return out;
  }
};

// What one row should give; its status first.
struct Expected {
  SampleStatus status = SampleStatus::ok;
  float max = -INFINITY;
  std::vector<std::uint64_t> weights;
  std::vector<bool> dense, drawn;
};

Expected expect_row(const Case& c, std::size_t r, bool probabilities, bool filtered) {
  Expected e;
  std::vector<float> y = c.row(r);
  for (float& v : y) {
    if (!(v < INFINITY) || (probabilities && v < 0.0f)) e.status = SampleStatus::invalid_logits;
    if (probabilities && v == 0.0f) v = -INFINITY;
    e.max = std::max(e.max, v);
  }
  if (e.status == SampleStatus::ok && e.max == -INFINITY) e.status = SampleStatus::all_masked;
  if (e.status != SampleStatus::ok) return e;
  for (const float v : y)
    e.weights.push_back(v == -INFINITY  ? 0
                        : probabilities ? sampling::probability_weight(v, e.max)
                                        : sampling::weight(v, e.max, sampling::exponent_scale(c.temperature[r])));
  const auto k = filtered ? c.filters.top_k[r] : 0;
  const float p = filtered ? c.filters.top_p[r] : 1.0f, min_p = filtered ? c.filters.min_p[r] : 0.0f;
  e.dense = kept_of(y, e.weights, true, k, p, min_p);
  e.drawn = kept_of(y, e.weights, false, k, p, min_p);
  return e;
}

// Shares of the kept tokens, without the weights' cut to integers, to within what the weights' polynomial allows.
void expect_shares(const std::vector<float>& got, const std::vector<double>& shares, const Expected& e) {
  double sum = 0.0;
  for (std::size_t i = 0; i < shares.size(); ++i) sum += e.dense[i] ? shares[i] : 0.0;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const double want = e.dense[i] ? shares[i] / sum : 0.0;
    ASSERT_NEAR(got[i], want, 2e-6 * want + 1e-37) << "token " << i;
  }
}

TEST(BuildingBlocks, Softmax) {
  for (const std::size_t vocab_size : kVocabs)
    for (const bool filtered : {false, true}) {
      const Case c = random_case(vocab_size, false);
      const OnDevice d{c};
      cuda::softmax(d.rows(), d.temperature.data(), filtered ? d.filters() : cuda::Filters{}, d.out(), d.status.data(),
                    d.workspace(), nullptr);
      const auto status = d.status.host();
      const auto got = d.dense_rows();
      for (std::size_t r = 0; r < kRows; ++r) {
        SCOPED_TRACE(testing::Message() << "vocab " << vocab_size << " row " << r << " filtered " << filtered);
        const Expected e = expect_row(c, r, false, filtered);
        ASSERT_EQ(status[r], e.status);
        if (e.status != SampleStatus::ok) {
          for (const float p : got[r]) ASSERT_TRUE(std::isnan(p));
          continue;
        }
        std::vector<double> shares;
        for (const float y : c.row(r)) {
          // The contract's exponent: the difference and the product are rounded to binary32.
          const float scale = sampling::exponent_scale(c.temperature[r]), t = (y - e.max) * scale;
          shares.push_back(t >= -126.0f ? std::exp2(static_cast<double>(t)) : 0.0);
        }
        expect_shares(got[r], shares, e);
      }
    }
}

TEST(BuildingBlocks, Mask) {
  for (const std::size_t vocab_size : kVocabs) {
    const Case c = random_case(vocab_size, false);
    const OnDevice d{c};
    cuda::mask(d.rows(), d.temperature.data(), d.filters(), d.out(), d.status.data(), d.workspace(), nullptr);
    const auto got = d.dense_rows();
    for (std::size_t r = 0; r < kRows; ++r) {
      SCOPED_TRACE(testing::Message() << "vocab " << vocab_size << " row " << r);
      const Expected e = expect_row(c, r, false, true);
      ASSERT_EQ(d.status.host()[r], e.status);
      const std::vector<float> y = c.row(r);
      for (std::size_t i = 0; i < vocab_size; ++i) {
        if (e.status != SampleStatus::ok) {
          ASSERT_TRUE(std::isnan(got[r][i]));
        } else {
          ASSERT_EQ(got[r][i], e.dense[i] ? y[i] : -INFINITY) << "token " << i;
        }
      }
    }
  }
}

TEST(BuildingBlocks, KeptMask) {
  for (const std::size_t vocab_size : kVocabs) {
    const Case c = random_case(vocab_size, false);
    const OnDevice d{c};
    const DeviceArray<std::uint8_t> mask(std::vector<std::uint8_t>(kRows * c.stride, 7));
    cuda::kept_mask(d.rows(), d.temperature.data(), d.filters(), {mask.data(), static_cast<std::int64_t>(c.stride)},
                    d.status.data(), d.workspace(), nullptr);
    const std::vector<std::uint8_t> got = mask.host();
    for (std::size_t r = 0; r < kRows; ++r) {
      SCOPED_TRACE(testing::Message() << "vocab " << vocab_size << " row " << r);
      const Expected e = expect_row(c, r, false, true);
      ASSERT_EQ(d.status.host()[r], e.status);
      for (std::size_t i = 0; i < c.stride; ++i) {
        const int want = i >= vocab_size ? 7 : e.status == SampleStatus::ok && e.drawn[i] ? 1 : 0;
        ASSERT_EQ(got[r * c.stride + i], want) << "token " << i;
      }
    }
  }
}

// A token far below the first still is one of the first k.
TEST(BuildingBlocks, TopKMaskKeepsExactlyK) {
  Case c = random_case(1031, false);
  for (std::size_t i = 0; i < c.values.size(); ++i) c.values[i] = -50.0f * static_cast<float>(i % c.stride);
  c.filters.top_k.assign(kRows, 3);
  const OnDevice d{c};
  cuda::mask(d.rows(), nullptr, {.top_k = d.top_k.data()}, d.out(), nullptr, d.workspace(), nullptr);
  for (const auto& row : d.dense_rows())
    EXPECT_EQ(std::count_if(row.begin(), row.end(), [](float y) { return y > -INFINITY; }), 3);
}

TEST(BuildingBlocks, Renormalize) {
  for (const std::size_t vocab_size : kVocabs) {
    const Case c = random_case(vocab_size, true);
    const OnDevice d{c};
    cuda::renormalize(d.rows(), d.filters(), d.out(), d.status.data(), d.workspace(), nullptr);
    const auto got = d.dense_rows();
    for (std::size_t r = 0; r < kRows; ++r) {
      SCOPED_TRACE(testing::Message() << "vocab " << vocab_size << " row " << r);
      const Expected e = expect_row(c, r, true, true);
      ASSERT_EQ(d.status.host()[r], e.status);
      if (e.status != SampleStatus::ok) continue;
      std::vector<double> shares;
      for (const float p : c.row(r)) shares.push_back(static_cast<double>(p) / static_cast<double>(e.max));
      expect_shares(got[r], shares, e);
    }
  }
}

TEST(BuildingBlocks, MultinomialFromProbabilities) {
  for (const std::size_t vocab_size : kVocabs)
    for (const bool filtered : {false, true}) {
      const Case c = random_case(vocab_size, true);
      const OnDevice d{c};
      cuda::multinomial(d.rows(), filtered ? d.filters() : cuda::Filters{}, d.rng(), d.token.data(), d.status.data(),
                        d.workspace(), nullptr);
      const auto tokens = d.token.host();
      for (std::size_t r = 0; r < kRows; ++r) {
        SCOPED_TRACE(testing::Message() << "vocab " << vocab_size << " row " << r << " filtered " << filtered);
        const Expected e = expect_row(c, r, true, filtered);
        ASSERT_EQ(d.status.host()[r], e.status);
        TokenId want = -1;
        if (e.status == SampleStatus::ok) {
          std::uint64_t total = 0;
          for (std::size_t i = 0; i < vocab_size; ++i) total += e.drawn[i] ? e.weights[i] : 0;
          std::uint64_t at = sampling::draw(sampling::random_bits(c.seed[r], c.position[r], c.subsequence[r]), total);
          for (std::size_t i = 0; want < 0; ++i) {
            const std::uint64_t w = e.drawn[i] ? e.weights[i] : 0;
            if (at < w) want = static_cast<TokenId>(i);
            at -= std::min(at, w);
          }
        }
        ASSERT_EQ(tokens[r], want);
      }
    }
}

TEST(BuildingBlocks, MultinomialFromWeights) {
  for (const std::size_t vocab_size : kVocabs) {
    const Case c = random_case(vocab_size, false);
    const OnDevice d{c};
    std::mt19937_64 rng(vocab_size);
    std::vector<std::uint64_t> weights(kRows * c.stride, ~std::uint64_t{0});  // between rows: too large
    for (std::size_t r = 0; r < kRows; ++r)
      for (std::size_t i = 0; i < vocab_size; ++i) weights[r * c.stride + i] = r == 1 ? 0 : (rng() >> 23) * (rng() % 3);
    weights[2 * c.stride + rng() % vocab_size] = std::uint64_t{1} << 42;
    const DeviceArray<std::uint64_t> d_weights(weights);
    cuda::multinomial({d_weights.data(), kRows, static_cast<std::int64_t>(vocab_size), static_cast<std::int64_t>(c.stride)},
                      d.rng(), d.token.data(), d.status.data(), d.workspace(), nullptr);
    const auto tokens = d.token.host();
    for (std::size_t r = 0; r < kRows; ++r) {
      SCOPED_TRACE(testing::Message() << "vocab " << vocab_size << " row " << r);
      const auto first = weights.begin() + static_cast<std::ptrdiff_t>(r * c.stride);
      std::vector<std::uint64_t> row(first, first + static_cast<std::ptrdiff_t>(vocab_size));
      const std::uint64_t total = std::accumulate(row.begin(), row.end(), std::uint64_t{0});
      const SampleStatus want = r == 2       ? SampleStatus::invalid_logits
                                : total == 0 ? SampleStatus::all_masked
                                             : SampleStatus::ok;
      ASSERT_EQ(d.status.host()[r], want);
      TokenId token = -1;
      if (want == SampleStatus::ok) {
        std::partial_sum(row.begin(), row.end(), row.begin());
        const std::uint64_t at = sampling::draw(sampling::random_bits(c.seed[r], c.position[r], c.subsequence[r]), total);
        token = static_cast<TokenId>(std::upper_bound(row.begin(), row.end(), at) - row.begin());
      }
      ASSERT_EQ(tokens[r], token);
    }
  }
}

TEST(BuildingBlocks, TopKAndArgmax) {
  for (const std::size_t vocab_size : kVocabs)
    for (const int k : {1, 50, 1024}) {
      const Case c = random_case(vocab_size, false);
      const OnDevice d{c};
      const auto listed = static_cast<std::size_t>(k);
      const DeviceArray<TokenId> ids(std::vector<TokenId>(kRows * listed, -7));
      const DeviceArray<float> values(std::vector<float>(kRows * listed, 5.0f));
      cuda::top_k(d.rows(), k, ids.data(), values.data(), d.status.data(), d.workspace(), nullptr);
      const auto status = d.status.host();
      cuda::argmax(d.rows(), d.token.data(), nullptr, d.workspace(), nullptr);
      const auto got_ids = ids.host();
      const auto got_values = values.host();
      for (std::size_t r = 0; r < kRows; ++r) {
        SCOPED_TRACE(testing::Message() << "vocab " << vocab_size << " row " << r << " k " << k);
        ASSERT_EQ(status[r], expect_row(c, r, false, false).status);
        const std::vector<float> y = c.row(r);
        std::vector<TokenId> order;
        for (std::size_t i = 0; i < vocab_size && status[r] == SampleStatus::ok; ++i)
          if (y[i] != -INFINITY) order.push_back(static_cast<TokenId>(i));
        std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) { return y[a] > y[b]; });
        EXPECT_EQ(d.token.host()[r], order.empty() ? -1 : order[0]);
        for (std::size_t i = 0; i < listed; ++i) {
          ASSERT_EQ(got_ids[r * listed + i], i < order.size() ? order[i] : -1);
          ASSERT_EQ(got_values[r * listed + i], i < order.size() ? y[order[i]] : -INFINITY);
        }
      }
    }
}

// Alone a row is cut among many blocks, in a batch it has one.
TEST(BuildingBlocks, ABatchChangesNoBit) {
  constexpr std::size_t kVocab = 20011, kMany = 64;
  std::mt19937_64 rng(5);
  std::vector<float> logits(kMany * kVocab);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  for (float& y : logits) y = normal(rng);
  const DeviceArray<float> d_logits(logits), many(std::vector<float>(kMany * kVocab, 0.0f)),
      one(std::vector<float>(kVocab, 0.0f)), top_p(std::vector<float>(kMany, 0.9f));
  const cuda::Filters filters{.top_p = top_p.data()};
  cuda::InputRows rows{d_logits.data(), DType::f32, kMany, kVocab, kVocab};
  const DeviceArray<std::byte> room(std::vector<std::byte>(1 << 20));
  cuda::softmax(rows, nullptr, filters, {many.data(), kVocab}, nullptr, {room.data(), 1 << 20}, nullptr);
  const std::vector<float> all = many.host();
  const DeviceArray<std::int64_t> index(std::vector<std::int64_t>{41});
  rows.rows = 1;
  rows.index = index.data();
  cuda::softmax(rows, nullptr, filters, {one.data(), kVocab}, nullptr, {room.data(), 1 << 20}, nullptr);
  EXPECT_EQ(one.host(), std::vector<float>(all.begin() + 41 * kVocab, all.begin() + 42 * kVocab));
}

// A sequence of blocks on half-precision logits, captured once, replayed on other numbers.
TEST(BuildingBlocks, BlocksAreCaptured) {
  constexpr std::size_t kVocab = 3001;
  std::mt19937_64 rng(1);
  std::vector<std::uint16_t> logits;
  for (std::size_t i = 0; i < 2 * kVocab; ++i)
    logits.push_back(float_to_bfloat16(static_cast<float>(rng() % 1000) / 100.0f));
  const DeviceArray<std::uint16_t> d_logits(logits);
  const DeviceArray<float> probabilities(std::vector<float>(2 * kVocab)), top_p(std::vector<float>{0.8f, 0.5f});
  const DeviceArray<TokenId> token(std::vector<TokenId>(2));
  const cuda::InputRows rows{d_logits.data(), DType::bf16, 2, kVocab, kVocab},
      dense{probabilities.data(), DType::f32, 2, kVocab, kVocab};
  const std::size_t bytes = std::max(cuda::block_workspace_bytes(rows), cuda::block_workspace_bytes(dense));
  const DeviceArray<std::byte> room(std::vector<std::byte>(bytes, std::byte{0xcd}));
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  test::throw_on_error(cudaStreamCreate(&stream));
  test::throw_on_error(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  cuda::softmax(rows, nullptr, {}, {probabilities.data(), kVocab}, nullptr, {room.data(), bytes}, stream);
  cuda::renormalize(dense, {.top_p = top_p.data()}, {probabilities.data(), kVocab}, nullptr, {room.data(), bytes}, stream);
  cuda::argmax(dense, token.data(), nullptr, {room.data(), bytes}, stream);
  test::throw_on_error(cudaStreamEndCapture(stream, &graph));
  test::throw_on_error(cudaGraphInstantiate(&executable, graph, 0));
  for (int round = 0; round < 2; ++round) {
    std::rotate(logits.begin(), logits.begin() + 100, logits.end());
    test::throw_on_error(cudaMemcpy(d_logits.data(), logits.data(), logits.size() * 2, cudaMemcpyHostToDevice));
    test::throw_on_error(cudaGraphLaunch(executable, stream));
    test::throw_on_error(cudaStreamSynchronize(stream));
    const std::vector<float> p = probabilities.host();
    for (std::size_t r = 0; r < 2; ++r) {
      const auto first = p.begin() + static_cast<std::ptrdiff_t>(r * kVocab), last = first + kVocab;
      EXPECT_NEAR(std::accumulate(first, last, 0.0), 1.0, 1e-5);
      EXPECT_EQ(token.host()[r], std::max_element(first, last) - first);
      const auto kept = std::count_if(first, last, [](float v) { return v > 0.0f; });
      EXPECT_GT(kept, 1);
      EXPECT_LT(kept, static_cast<std::ptrdiff_t>(kVocab) / 2);
    }
  }
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

template <typename F>
void expect_refused(F call, const char* argument) {
  try {
    call();
    ADD_FAILURE() << argument << " was taken";
  } catch (const InvalidArgument& error) {
    EXPECT_NE(std::string(error.what()).find(argument), std::string::npos) << error.what();
  }
}

TEST(BuildingBlocks, WhatTheHostSeesIsRefused) {
  const Case c = random_case(1031, false);
  const OnDevice d{c};
  const auto changed = [&](auto change) {
    cuda::InputRows rows = d.rows();
    change(rows);
    return rows;
  };
  expect_refused([&] { cuda::top_k(d.rows(), 0, d.token.data(), d.dense.data(), nullptr, d.workspace(), nullptr); },
                 "k is 0");
  expect_refused([&] { cuda::top_k(d.rows(), 1025, d.token.data(), d.dense.data(), nullptr, d.workspace(), nullptr); },
                 "k is 1025");
  expect_refused([&] { cuda::top_k(d.rows(), 5, d.token.data(), nullptr, nullptr, d.workspace(), nullptr); }, "values");
  expect_refused([&] { cuda::argmax(d.rows(), nullptr, nullptr, d.workspace(), nullptr); }, "token");
  expect_refused(
      [&] { cuda::argmax(changed([](auto& r) { r.vocab_size = 0; }), d.token.data(), nullptr, d.workspace(), nullptr); },
      "vocab");
  expect_refused(
      [&] { cuda::argmax(changed([](auto& r) { r.data = nullptr; }), d.token.data(), nullptr, d.workspace(), nullptr); },
      "null");
  expect_refused(
      [&] {
        cuda::softmax(d.rows(), nullptr, {}, {d.dense.data(), 1030}, nullptr, d.workspace(), nullptr);
      },
      "dense_stride");
  expect_refused(
      [&] {
        cuda::softmax(d.rows(), nullptr, {}, {nullptr, 1031}, nullptr, d.workspace(), nullptr);
      },
      "probabilities");
  const auto mask_of = [&](const cuda::MaskRows& mask) {
    return [&d, mask] { cuda::kept_mask(d.rows(), nullptr, {}, mask, nullptr, d.workspace(), nullptr); };
  };
  expect_refused(mask_of({nullptr, 1031}), "mask");
  expect_refused(mask_of({reinterpret_cast<std::uint8_t*>(d.dense.data()), 1030}), "stride of the mask is 1030");
  expect_refused(
      [&] {
        cuda::softmax(d.rows(), nullptr, {}, d.out(), nullptr, {d.room.data(), 8}, nullptr);
      },
      "workspace.bytes");
  expect_refused([&] { cuda::softmax(d.rows(), nullptr, {}, d.out(), nullptr, {nullptr, 1 << 20}, nullptr); }, "workspace");
  expect_refused(
      [&] {
        cuda::renormalize(changed([](auto& r) { r.type = DType::f16; }), {}, d.out(), nullptr, d.workspace(), nullptr);
      },
      "type");
}

}  // namespace
}  // namespace warploom
