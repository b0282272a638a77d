// SPDX-License-Identifier: Apache-2.0
// When nothing of ours may run any more: after a fork, and once the interpreter ends.
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <memory>
#include <new>
#include <utility>

#include "release.h"

namespace nb = nanobind;

namespace inflight::python {

// What has threads, and ends before the interpreter does. Its owner lists it as long as it lives.
class Closable {
 public:
  Closable() = default;
  Closable(const Closable&) = delete;
  Closable& operator=(const Closable&) = delete;
  virtual ~Closable() = default;
  // Ends it: cancels what has not started, waits for the rest. Called with the GIL, which it releases while
  // it waits. May be called again.
  virtual void close() noexcept = 0;

 protected:
  void list();
  void unlist() noexcept;

 private:
  friend void close_all() noexcept;
  Closable* next_ = nullptr;
  Closable* previous_ = nullptr;
  bool listed_ = false;
};

// Ends everything that is listed, the newest first, and lets nothing new start. With the GIL.
void close_all() noexcept;
// Before anything that has threads is made.
//   errors   ShuttingDownError: the interpreter ends, or this is the child of a fork
void check_startable();

namespace detail {
extern std::atomic<bool> forked_flag;
}

// True in the child of a fork: the threads are gone, and a lock may be held for ever by one of them.
inline bool forked() noexcept { return detail::forked_flag.load(std::memory_order_relaxed); }
void set_forked() noexcept;

// Raises where nothing of ours may be used any more.
//   errors   ShuttingDownError: this is the child of a fork
void raise_forked();
inline void check_usable() {
  if (forked()) raise_forked();
}

// Deletes without the GIL what waits for threads when it ends. The last share of it goes with the GIL held,
// whichever call has it.
template <typename T>
struct DeleteWithoutGil {
  void operator()(T* object) const noexcept {
    const WithoutGil release;
    delete object;
  }
};

// Holds a handle for a Python object. In the child of a fork the handle is left as it is: letting go of it
// could want a lock that nobody will ever release.
template <typename T>
class Kept {
 public:
  explicit Kept(T handle) noexcept { new (&value) T(std::move(handle)); }
  Kept(Kept&& other) noexcept { new (&value) T(std::move(other.value)); }
  Kept& operator=(Kept&&) = delete;
  ~Kept() {
    if (forked()) return;
    value.~T();
    drain_releases();
  }

  union {
    T value;
  };
};

}  // namespace inflight::python
