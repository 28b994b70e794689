// Not self-contained on purpose: std::vector is not declared. The header test must refuse it.
#pragma once

inline std::vector<int> planted;
