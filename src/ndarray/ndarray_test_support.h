// SPDX-License-Identifier: Apache-2.0
// What the tests of this folder share.
#pragma once

#include <cstdint>
#include <utility>

#include "inflight/ndarray.h"

namespace inflight {

// A version that the test completes by hand.
class Pending {
 public:
  Pending() : version_(internal::Ref<internal::Version>::adopt(new internal::Version)) {
    version_->values.push_back({DType::kI64, Shape{2}, Buffer::allocate(16)});
  }
  NDArray array() const { return NDArray(version_, 0); }
  void complete(Status status = Status()) { version_->completion.complete(std::move(status)); }
  std::uint32_t shares() const { return version_->shares(); }

 private:
  internal::Ref<internal::Version> version_;
};

}  // namespace inflight
