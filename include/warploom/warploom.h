// Everything that a program needs to run models, in one include. The CUDA toolkit's headers are in warploom/cuda/.
#pragma once

#include "warploom/block_pool.h"
#include "warploom/block_table.h"
#include "warploom/device.h"
#include "warploom/engine_options.h"
#include "warploom/error.h"
#include "warploom/generator.h"
#include "warploom/inspect.h"
#include "warploom/model.h"
#include "warploom/request.h"
#include "warploom/sample_args.h"
#include "warploom/sampling.h"
#include "warploom/score.h"
#include "warploom/synthetic.h"
#include "warploom/tokenizer.h"
#include "warploom/types.h"
#include "warploom/version.h"
