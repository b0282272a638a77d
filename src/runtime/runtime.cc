// SPDX-License-Identifier: Apache-2.0
#include "inflight/runtime.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/user_code.h"
#include "runtime/runtime_core.h"

namespace inflight {

using internal::RuntimeCore;
using internal::RuntimeOwner;

Result<Runtime> Runtime::open(Device device, RuntimeOptions options) {
  INFLIGHT_TRY_ASSIGN(std::shared_ptr<Backend> backend,
                      internal::call_user([&] { return load_backend(device, options.load); }));
  return over(std::move(backend), options);
}

Result<Runtime> Runtime::over(std::shared_ptr<Backend> backend, RuntimeOptions options) {
  if (backend == nullptr) return Status(StatusCode::kInvalidArgument, "runtime: got no backend");
  return internal::call_user([&]() -> Result<Runtime> {
    const int capacity = backend->capacity();
    if (capacity < 1) {
      return Status(StatusCode::kInternal, fmt::format("backend \"{}\": its capacity is {}, want at least 1",
                                                       backend->name(), capacity));
    }
    if (options.threads < 0 || options.threads > capacity) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("threads: got {}, want 0 (all) to {}, what this process may use",
                                options.threads, capacity));
    }
    const int used = options.threads == 0 ? capacity : options.threads;
    auto core = std::make_shared<RuntimeCore>(std::move(backend), used, used);
    auto owner = std::make_shared<RuntimeOwner>(core);
    INFLIGHT_TRY(core->start());
    return Runtime(std::move(owner));
  });
}

Device Runtime::device() const { return backend().device(); }
std::string Runtime::device_description() const { return backend().device_description(); }
int Runtime::capacity() const noexcept { return owner_->core()->capacity(); }
Backend& Runtime::backend() const noexcept {
  INFLIGHT_CHECK(owner_ != nullptr);
  return owner_->core()->backend();
}

}  // namespace inflight
