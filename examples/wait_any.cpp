// SPDX-License-Identifier: Apache-2.0
// Several pending arrays: use each as soon as it is ready, in whatever order that happens. This suits a few
// handles; for thousands use a CompletionQueue (completion_queue.cpp), which does not look at all of them
// each time.
#include <inflight/inflight.h>

#include <cstdio>
#include <optional>
#include <vector>

namespace {

constexpr int kArrays = 8;

inflight::NDArray zeros() {
  const std::vector<std::int32_t> values(4);
  return inflight::NDArray::copy_of({values.data(), inflight::DType::kI32, {4}}).value();
}

// An operation that writes `value` to every element.
inflight::MutableNDArray::Compute fill(std::int32_t value) {
  return [value](auto, const inflight::MutableTensorView& out) {
    auto* const values = static_cast<std::int32_t*>(out.data);
    for (std::size_t i = 0; i < out.shape.elements(); ++i) values[i] = value;
    return inflight::Status();
  };
}

}  // namespace

int main() {
  const auto engine = *inflight::make_threaded_engine({.threads = 2});
  std::vector<inflight::NDArray> pending;
  for (int i = 1; i <= kArrays; ++i) {
    inflight::MutableNDArray name(*engine, zeros());
    pending.push_back(name.write({}, fill(i)).value());
  }
  int sum = 0;
  while (!pending.empty()) {
    const std::optional<std::size_t> ready = inflight::wait_any_for(pending, std::chrono::seconds(60));
    if (!ready.has_value()) {
      std::fputs("wait_any: nothing was ready in a minute\n", stderr);
      return 1;
    }
    sum += (*pending[*ready].read()->as<std::int32_t>())[0];
    pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(*ready));
  }
  std::printf("%d arrays, their first elements add up to %d\n", kArrays, sum);
  return sum == kArrays * (kArrays + 1) / 2 ? 0 : 1;
}
