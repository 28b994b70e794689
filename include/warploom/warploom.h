// Every public header but those of CUDA, in one include.
#pragma once

#include "warploom/device.h"
#include "warploom/error.h"
#include "warploom/generator.h"
#include "warploom/inspect.h"
#include "warploom/kv_blocks.h"
#include "warploom/model.h"
#include "warploom/prefix_cache.h"
#include "warploom/sampling.h"
#include "warploom/tokenizer.h"
#include "warploom/types.h"
#include "warploom/version.h"
