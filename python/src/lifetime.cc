// SPDX-License-Identifier: Apache-2.0
#include "lifetime.h"

#include "errors.h"

namespace inflight::python {
namespace detail {
std::atomic<bool> forked_flag{false};
}

namespace {
Closable* first = nullptr;  // guarded by the GIL
bool ended = false;         // likewise
}  // namespace

void set_forked() noexcept { detail::forked_flag.store(true, std::memory_order_relaxed); }

void raise_forked() {
  raise(Status(StatusCode::kShuttingDown,
               "this process was forked after inflight was imported, and its threads are not here: import "
               "inflight in the child only, or start it with multiprocessing's \"spawn\""));
}

void check_startable() {
  check_usable();
  if (ended) raise(Status(StatusCode::kShuttingDown, "the interpreter ends"));
}

void Closable::list() {
  next_ = first;
  if (first != nullptr) first->previous_ = this;
  first = this;
  listed_ = true;
}

void Closable::unlist() noexcept {
  if (!listed_) return;
  listed_ = false;
  (previous_ != nullptr ? previous_->next_ : first) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  next_ = previous_ = nullptr;
}

void close_all() noexcept {
  ended = true;
  // close() releases the GIL, so the list may change meanwhile: from the front each time.
  while (first != nullptr) {
    Closable* closing = first;
    closing->unlist();
    closing->close();
  }
}

}  // namespace inflight::python
