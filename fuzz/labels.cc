// SPDX-License-Identifier: Apache-2.0
// Any bytes as a label file: names or a status, and every name can be looked up again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "vision/labels.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  using inflight::vision::Labels;
  const auto labels = Labels::parse({reinterpret_cast<const char*>(bytes), count});
  if (!labels.ok()) {
    if (labels.status().code() != inflight::StatusCode::kInvalidArgument) std::abort();
    return 0;
  }
  if (labels->empty() || labels->count() < labels->size()) std::abort();
  std::size_t found = 0;
  if (labels->count() < 100'000) {
    for (std::size_t i = 0; i < labels->count(); ++i)
      found += labels->name(static_cast<std::int64_t>(i)) ? 1 : 0;
    if (found != labels->size()) std::abort();
  }
  static_cast<void>(labels->shifted(-1));
  return 0;
}
