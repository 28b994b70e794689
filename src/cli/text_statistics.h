// Numbers that tell repetitive text from varied text.
#pragma once

#include <span>

#include "warploom/types.h"

namespace warploom::cli {

/// Different n-grams as a share of all n-grams (Li et al. 2016, arXiv:1510.03055); 1 if there are none.
double distinct(std::span<const TokenId> ids, int n);

/// Share of n-grams that appeared before; 0 if there are none.
double repeated(std::span<const TokenId> ids, int n);

}  // namespace warploom::cli
