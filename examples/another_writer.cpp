// SPDX-License-Identifier: Apache-2.0
// "What if, as soon as can_read() returns true, another thread pushes an operator that writes to this array?"
// The answer, run many times: the handle keeps what it was asked about, and the write is a later version.
#include <inflight/inflight.h>

#include <atomic>
#include <cstdio>
#include <thread>

namespace {

constexpr int kRounds = 10'000;
constexpr std::int64_t kElements = 256;

// Makes every element one larger.
inflight::Status add_one(std::span<const inflight::TensorView>, const inflight::MutableTensorView& out) {
  auto* const values = static_cast<std::int32_t*>(out.data);
  for (std::int64_t i = 0; i < kElements; ++i) ++values[i];
  return {};
}

// The value that all elements have, or -1 where they differ.
std::int32_t value_of(const inflight::NDArray& array) {
  const auto values = *array.read()->as<std::int32_t>();
  for (const std::int32_t value : values) {
    if (value != values[0]) return -1;
  }
  return values[0];
}

}  // namespace

int main() {
  const auto engine = *inflight::make_threaded_engine({.threads = 2});
  const std::vector<std::int32_t> zeros(kElements);
  inflight::MutableNDArray a(
      *engine,
      inflight::NDArray::copy_of({zeros.data(), inflight::DType::kI32, inflight::Shape{kElements}}).value());

  std::atomic<bool> looking{true};
  std::int32_t written = 0;
  std::thread writer([&] {
    while (looking) {
      const auto version = a.update({}, add_one);
      if (!version.ok() || !version->wait().ok()) break;
      ++written;
    }
  });

  int changed = 0;
  int newer = 0;
  std::int32_t last = 0;
  for (int i = 0; i < kRounds; ++i) {
    const inflight::NDArray held = a.snapshot();
    while (!held.can_read()) std::this_thread::yield();
    // Here the other thread writes on.
    const std::int32_t before = value_of(held);
    std::this_thread::yield();
    const std::int32_t after = value_of(held);
    changed += before != after || before < last ? 1 : 0;
    newer += a.snapshot() == held ? 0 : 1;
    last = before;
  }
  looking = false;
  writer.join();
  engine->drain();
  std::printf(
      "%d looks: %d saw their version change; in %d a newer version was there by then; the last is %d\n",
      kRounds, changed, newer, value_of(a.snapshot()));
  return changed == 0 && value_of(a.snapshot()) == written ? 0 : 1;
}
