// SPDX-License-Identifier: Apache-2.0
// What the tests of this folder share.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "inflight/ndarray.h"

namespace inflight {

inline Status failure(std::string message = "failed") {
  return Status(StatusCode::kDeviceError, std::move(message));
}

inline NDArray array_of(std::vector<std::int64_t> values) {
  const Shape shape{static_cast<std::int64_t>(values.size())};
  return NDArray::copy_of({values.data(), DType::kI64, shape}).value();
}

inline std::vector<std::int64_t> values_of(const TensorView& view) {
  const auto values = view.as<std::int64_t>().value();
  return {values.begin(), values.end()};
}

inline std::vector<std::int64_t> values_of(const NDArray& array) { return values_of(array.read().value()); }

using Values = std::vector<std::int64_t>;

// A version that the test completes by hand.
class Pending {
 public:
  Pending() : version_(internal::Ref<internal::Version>::adopt(new internal::Version)) {
    version_->values.emplace_back(DType::kI64, Shape{2}, Buffer::allocate(16).value());
  }
  NDArray array() const { return NDArray(version_, 0); }
  void complete(Status status = Status()) { version_->complete(std::move(status)); }
  std::uint32_t shares() const { return version_->shares(); }

 private:
  internal::Ref<internal::Version> version_;
};

}  // namespace inflight
