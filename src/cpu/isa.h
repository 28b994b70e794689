// The instruction sets that this machine and this build support.
#pragma once

#include "cpu/kernels.h"
#include "warploom/device.h"

namespace warploom::cpu {

/// The kernels for `isa`; for CpuIsa::automatic the best that this machine supports. Throws InvalidArgument if the machine
/// does not support `isa`.
const Kernels& kernels_for(CpuIsa isa);
CpuIsa best_isa();

/// How products with this many tokens go through their weights on this machine. Figures: bench/README.md.
/// - An AMD core (Zen 4; others were not measured) waits for so few lines of its first cache at a time that weights on their way there
///   keep inputs waiting. If it does little between the weights, it is faster at seeing their order by itself.
/// - An Intel core keeps too little of a slow cache or memory in flight by itself. It multiplies two vectors of 512 bits a cycle, and
///   loads no more than two: panels in pairs need half as many loads of inputs.
ProductPlan plan_of_products(const PackedFormat& weights, std::int64_t tokens);

/// Whether threads had better read all of a weight for this many tokens of their own than a part of it for all tokens. An Intel core reads
/// weights of 8 bits and more from memory about as fast as it multiplies them with 16 tokens, and unpacks smaller ones once for 24 and more;
/// but if its own cache holds all of them, tokens that stay with their thread from op to op are worth more.
bool reads_all_weights(const PackedFormat& format, std::uint64_t bytes, std::int64_t own_tokens);

/// Where keys and values are fetched to: on AMD to the second cache, for the same reason.
Fetch fetch_of_kv();

}  // namespace warploom::cpu
