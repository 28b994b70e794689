// Everything that the library promises to users, in one include.
#pragma once

#include "warploom/device.h"
#include "warploom/error.h"
#include "warploom/generator.h"
#include "warploom/model.h"
#include "warploom/prefix_cache.h"
#include "warploom/sample_args.h"
#include "warploom/sampling.h"
#include "warploom/tokenizer.h"
#include "warploom/types.h"
#include "warploom/version.h"
