// SPDX-License-Identifier: Apache-2.0
// Callbacks that Python code registers: the only place where a thread of ours takes the GIL.
#include <memory>
#include <mutex>

#include "errors.h"
#include "types.h"

namespace inflight::python {
namespace {

// Gives tasks to one thread, while there is one. Lives for ever, as what completes late may ask for it.
class Callbacks final : public Executor {
 public:
  //   errors   kOutOfMemory: no thread is left
  Status start() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (pool_ != nullptr) return {};
    if (stopped_) return Status(StatusCode::kShuttingDown, "the interpreter ends");
    INFLIGHT_TRY_ASSIGN(pool_, ThreadPool::make(1));
    return {};
  }
  std::unique_ptr<ThreadPool> stop() noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopped_ = true;
    return std::move(pool_);
  }
  Status execute(Task task) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (pool_ == nullptr) return Status(StatusCode::kShuttingDown, "the interpreter ends");
    return pool_->execute(std::move(task));
  }

 private:
  std::mutex mutex_;
  std::unique_ptr<ThreadPool> pool_;
  bool stopped_ = false;
};

Callbacks& executor_of_callbacks() {
  static auto* const made = new Callbacks;
  return *made;
}

// What is called when a handle is ready.
struct Callback {
  HeldPtr fn;
  HeldPtr executor;  // null: on this thread
};

template <typename PyHandle, typename Handle>
void run(Callback& callback, const Handle& handle) noexcept {
  const nb::gil_scoped_acquire gil;
  if (!gil.is_valid()) return;
  drain_releases();
  try {
    nb::object self = nb::cast(PyHandle(Handle(handle)));
    const nb::handle fn(callback.fn->object());
    if (callback.executor != nullptr) {
      nb::handle(callback.executor->object()).attr("submit")(fn, self);
    } else {
      fn(self);
    }
  } catch (nb::python_error& raised) {
    raised.discard_as_unraisable(callback.fn->object());
  } catch (...) {  // no memory for the call itself: nobody is left to tell
  }
  callback.fn.reset();
  callback.executor.reset();
  drain_releases();
}

template <typename PyHandle, typename Handle>
void add(const Handle& handle, Callback callback) {
  auto shared = std::make_shared<Callback>(std::move(callback));
  Executor& executor = callbacks();
  // The handle may be ready already, and the pool may want a lock that its thread holds while it wants the
  // GIL.
  const WithoutGil release;
  handle.on_ready(executor, [shared](const Handle& ready) { run<PyHandle>(*shared, ready); });
}

}  // namespace

Executor& callbacks() {
  check(executor_of_callbacks().start());
  return executor_of_callbacks();
}

void stop_callbacks() noexcept {
  if (forked()) return;
  const WithoutGil release;
  const std::unique_ptr<ThreadPool> ending = executor_of_callbacks().stop();
}

nb::object call_when_ready(nb::handle handle, nb::object fn, nb::object executor) {
  check_usable();
  if (PyCallable_Check(fn.ptr()) == 0) raise_type("fn", fn, "a callable");
  Callback callback{HeldPtr(new Held(fn.release().ptr())), nullptr};
  if (!executor.is_none()) {
    if (!nb::hasattr(executor, "submit")) raise_type("executor", executor, "a concurrent.futures.Executor");
    callback.executor.reset(new Held(executor.release().ptr()));
  }
  if (Array* const array = as<Array>(handle); array != nullptr) {
    add<Array>(array->value, std::move(callback));
  } else {
    add<PyPrediction>(nb::inst_ptr<PyPrediction>(handle)->value, std::move(callback));
  }
  return nb::none();
}

nb::object asyncio_helper(const char* name) { return nb::module_::import_("inflight._asyncio").attr(name); }

}  // namespace inflight::python
