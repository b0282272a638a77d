// SPDX-License-Identifier: Apache-2.0
#include <cstddef>

#include "load/report.h"

// The assembler includes the file as it is, as that of the default model.
asm(".pushsection .rodata\n"
    "inflight_load_page_begin:\n"
    ".incbin \"" INFLIGHT_LOAD_PAGE_FILE
    "\"\n"
    "inflight_load_page_end:\n"
    ".byte 0\n"
    ".popsection\n");

extern "C" {
extern const char inflight_load_page_begin[];
extern const char inflight_load_page_end[];
}

namespace inflight::load {

std::string_view page_template() noexcept {
  return {inflight_load_page_begin,
          static_cast<std::size_t>(inflight_load_page_end - inflight_load_page_begin)};
}

}  // namespace inflight::load
