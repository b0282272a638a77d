// SPDX-License-Identifier: Apache-2.0
// FFmpeg is not instrumented, so libFuzzer does not see what an input reaches in it. But FFmpeg writes to its log, down
// to the level of tracing, and each kind of message is counted here as if it were a branch. This stands before FFmpeg's
// own function, which our sources call to take its log over.
#include <dlfcn.h>

#include <cstdarg>
#include <cstdint>
#include <string_view>

extern "C" {
#include <libavutil/log.h>
}

namespace {

constexpr std::size_t kCounters = 4096;
__attribute__((section("__libfuzzer_extra_counters"))) std::uint8_t counters[kCounters];

using Callback = void (*)(void*, int, const char*, va_list);
Callback ours = nullptr;

void count(void* where, int level, const char* format, va_list args) {
  std::uint32_t hash = 2166136261;
  for (const char c : std::string_view(format).substr(0, 64))
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 16777619;
  std::uint8_t& counter = counters[hash % kCounters];
  const std::uint8_t now = __atomic_load_n(&counter, __ATOMIC_RELAXED);
  if (now < 255) __atomic_store_n(&counter, static_cast<std::uint8_t>(now + 1), __ATOMIC_RELAXED);
  if (ours != nullptr) ours(where, level, format, args);
}

}  // namespace

extern "C" void av_log_set_callback(Callback callback) {
  ours = callback;
  const auto set = reinterpret_cast<void (*)(Callback)>(dlsym(RTLD_NEXT, "av_log_set_callback"));
  if (set != nullptr) set(count);
}
