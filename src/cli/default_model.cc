// SPDX-License-Identifier: Apache-2.0
#include "cli/default_model.h"

// The assembler includes the file as it is: no generated source to keep, and no time to compile it.
asm(".pushsection .rodata\n"
    ".balign 64\n"
    "inflight_default_model_begin:\n"
    ".incbin \"" INFLIGHT_DEFAULT_MODEL_FILE
    "\"\n"
    "inflight_default_model_end:\n"
    ".byte 0\n"
    ".popsection\n");

extern "C" {
extern const std::byte inflight_default_model_begin[];
extern const std::byte inflight_default_model_end[];
}

namespace inflight {

std::span<const std::byte> default_model_bytes() noexcept {
  return {inflight_default_model_begin, inflight_default_model_end};
}

}  // namespace inflight
