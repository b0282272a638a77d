// SPDX-License-Identifier: Apache-2.0
// References to Python objects that code without the GIL holds, and gives up.
#pragma once

#include <Python.h>
#include <unistd.h>

#include <atomic>
#include <memory>

namespace inflight::python {

// Runs without the GIL while it lives. A daemon thread that wants the GIL back while the interpreter ends
// does not come back from this: Python up to 3.13 would end the thread here, by an unwinding that no C++ code
// in between survives.
class WithoutGil {
 public:
  WithoutGil() noexcept : state_(PyEval_SaveThread()) {}
  ~WithoutGil() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      while (true) ::pause();
    }
  }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* const state_;
};

// A Python object, a buffer of one, or a foreign tensor, held by something that may end on any thread. It is
// given up in two steps: let_go() puts it into a list, without the GIL and without memory; the list is
// emptied when Python code next calls this package, when the garbage collector runs, and at exit.
class Held {
 public:
  // With the GIL. Takes over the reference.
  explicit Held(PyObject* object) noexcept : object_(object) {}
  // Takes over the buffer.
  explicit Held(const Py_buffer& view) noexcept : view_(view) {}
  // Takes over a foreign tensor, which `deleter(tensor)` gives back.
  Held(void* tensor, void (*deleter)(void*)) noexcept : tensor_(tensor), deleter_(deleter) {}
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  PyObject* object() const noexcept { return object_; }
  // Any thread, with or without the GIL, with any locks held. The object is not to be used after.
  void let_go() noexcept;

 private:
  friend void drain_releases_now() noexcept;
  void release() noexcept;

  Held* next_ = nullptr;
  PyObject* object_ = nullptr;
  Py_buffer view_{};
  void* tensor_ = nullptr;
  void (*deleter_)(void*) = nullptr;
};

struct LetGo {
  void operator()(Held* held) const noexcept {
    if (held != nullptr) held->let_go();
  }
};
// May end on any thread.
using HeldPtr = std::unique_ptr<Held, LetGo>;

namespace detail {
extern std::atomic<Held*> let_go_list;
}

// Gives up what was let go. With the GIL; may run code of the user's (destructors).
void drain_releases_now() noexcept;
inline void drain_releases() noexcept {
  if (detail::let_go_list.load(std::memory_order_relaxed) != nullptr) drain_releases_now();
}

}  // namespace inflight::python
