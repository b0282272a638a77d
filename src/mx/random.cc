// SPDX-License-Identifier: Apache-2.0
// Random numbers that depend on the seed and on the number of the call, and not on who computes them when.
// source: J. Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011): Philox4x32-10
#include <fmt/format.h>

#include <array>
#include <atomic>
#include <cmath>
#include <numbers>

#include "inflight/internal/mutex.h"
#include "inflight/mx/ndarray.h"
#include "mx/strided.h"
#include "mx/task.h"

namespace inflight::mx {
namespace {

using Block = std::array<std::uint32_t, 4>;

// Block number `index` of stream `stream` under a key.
Block philox(std::uint64_t index, std::uint64_t stream, std::uint64_t key) {
  Block x = {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32U),
             static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32U)};
  auto k0 = static_cast<std::uint32_t>(key);
  auto k1 = static_cast<std::uint32_t>(key >> 32U);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * x[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57} * x[2];
    x = {static_cast<std::uint32_t>(b >> 32U) ^ x[1] ^ k0, static_cast<std::uint32_t>(b),
         static_cast<std::uint32_t>(a >> 32U) ^ x[3] ^ k1, static_cast<std::uint32_t>(a)};
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return x;
}

// The seed, and how many calls it has served.
struct Source {
  inflight::internal::Mutex mutex;
  std::uint64_t key INFLIGHT_GUARDED_BY(mutex) = 0;
  std::uint64_t calls INFLIGHT_GUARDED_BY(mutex) = 0;
};
Source& source() {
  static Source one;
  return one;
}

// From 0 to before 1, in steps of 2^-53.
double unit(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = (std::uint64_t{high} << 32U | low) >> 11U;
  return static_cast<double>(bits) * 0x1p-53;
}

// An array whose elements come in pairs: pair(block, first, second).
template <typename Pair>
Result<NDArray> drawn(const Shape& shape, DType dtype, Pair pair) {
  for (const std::int64_t extent : shape.dims()) {
    if (extent < 1)
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("random: shape: got {}, want extents of at least 1", shape.to_string()));
  }
  INFLIGHT_TRY_ASSIGN(detail::Environment* const environment, detail::Environment::get());
  std::uint64_t key = 0;
  std::uint64_t stream = 0;
  {
    const inflight::internal::MutexLock lock(source().mutex);
    key = source().key;
    stream = source().calls++;
  }
  const detail::OutputSpec spec{dtype, shape};
  INFLIGHT_TRY_ASSIGN(
      auto versions, detail::push_task(*environment, {&spec, 1}, {}, nullptr,
                                       [=](std::vector<TensorView>&, std::span<const MutableTensorView> out) {
                                         const std::size_t count = out[0].shape.elements();
                                         const std::size_t item = dtype_bytes(dtype);
                                         auto* to = static_cast<std::byte*>(out[0].data);
                                         for (std::size_t i = 0; i < count; i += 2, to += 2 * item) {
                                           std::array<double, 2> values{};
                                           pair(philox(i / 2, stream, key), values);
                                           detail::store_element(dtype, values[0], to);
                                           if (i + 1 < count)
                                             detail::store_element(dtype, values[1], to + item);
                                         }
                                         return Status();
                                       }));
  return NDArray::of(std::move(versions[0]));
}

Status check_type(DType dtype, DType first, DType second) {
  if (dtype == first || dtype == second) return {};
  return {StatusCode::kInvalidArgument, fmt::format("random: dtype: got {}, want {} or {}", dtype_name(dtype),
                                                    dtype_name(first), dtype_name(second))};
}

Status check_range(bool good, double low, double high) {
  if (good) return {};
  return {StatusCode::kInvalidArgument,
          fmt::format("random: got low {} and high {}, want low below high", low, high)};
}

}  // namespace

void seed(std::uint64_t value) {
  const inflight::internal::MutexLock lock(source().mutex);
  source().key = value;
  source().calls = 0;
}

Result<NDArray> random_uniform(double low, double high, const Shape& shape, DType dtype) {
  INFLIGHT_TRY(check_type(dtype, DType::kF32, DType::kF16));
  INFLIGHT_TRY(check_range(low <= high, low, high));
  return drawn(shape, dtype, [low, high, dtype](const Block& block, std::array<double, 2>& values) {
    const double ends = high - low;
    values = {low + ends * unit(block[0], block[1]), low + ends * unit(block[2], block[3])};
    if (dtype != DType::kF32) return;
    // Rounding must not reach the upper end.
    for (double& value : values) {
      if (static_cast<float>(value) >= high && high > low)
        value = std::nextafter(static_cast<float>(high), static_cast<float>(low));
    }
  });
}

Result<NDArray> random_normal(double mean, double scale, const Shape& shape, DType dtype) {
  INFLIGHT_TRY(check_type(dtype, DType::kF32, DType::kF16));
  if (!(scale >= 0))
    return Status(StatusCode::kInvalidArgument, fmt::format("random: scale: got {}, want at least 0", scale));
  return drawn(shape, dtype, [mean, scale](const Block& block, std::array<double, 2>& values) {
    // Box and Muller: two of each pair.
    const double radius = scale * std::sqrt(-2 * std::log(1 - unit(block[0], block[1])));
    const double angle = 2 * std::numbers::pi * unit(block[2], block[3]);
    values = {mean + radius * std::cos(angle), mean + radius * std::sin(angle)};
  });
}

Result<NDArray> random_randint(std::int64_t low, std::int64_t high, const Shape& shape, DType dtype) {
  INFLIGHT_TRY(check_type(dtype, DType::kI32, DType::kI64));
  INFLIGHT_TRY(check_range(low < high, static_cast<double>(low), static_cast<double>(high)));
  return drawn(shape, dtype, [low, high](const Block& block, std::array<double, 2>& values) {
    const double ends = static_cast<double>(high) - static_cast<double>(low);
    values = {static_cast<double>(low) + std::floor(ends * unit(block[0], block[1])),
              static_cast<double>(low) + std::floor(ends * unit(block[2], block[3]))};
  });
}

}  // namespace inflight::mx
