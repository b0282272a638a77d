// SPDX-License-Identifier: Apache-2.0
#include "release.h"

#include <utility>

namespace inflight::python {
namespace detail {
std::atomic<Held*> let_go_list{nullptr};
}

void Held::let_go() noexcept {
  next_ = detail::let_go_list.load(std::memory_order_relaxed);
  while (!detail::let_go_list.compare_exchange_weak(next_, this, std::memory_order_release,
                                                    std::memory_order_relaxed)) {
  }
}

void Held::release() noexcept {
  // What runs here must not see, nor change, the exception that the caller may be about to raise.
  PyObject* type = nullptr;
  PyObject* value = nullptr;
  PyObject* trace = nullptr;
  PyErr_Fetch(&type, &value, &trace);
  if (view_.obj != nullptr) PyBuffer_Release(&view_);
  if (tensor_ != nullptr && deleter_ != nullptr) deleter_(tensor_);
  Py_XDECREF(object_);
  PyErr_Restore(type, value, trace);
}

void drain_releases_now() noexcept {
  Held* list = detail::let_go_list.exchange(nullptr, std::memory_order_acquire);
  while (list != nullptr) {
    Held* held = std::exchange(list, list->next_);
    held->release();
    delete held;
  }
}

}  // namespace inflight::python
