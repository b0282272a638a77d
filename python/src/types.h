// SPDX-License-Identifier: Apache-2.0
// What the Python classes hold.
#pragma once

#include <nanobind/nanobind.h>

#include <deque>
#include <memory>
#include <optional>

#include "inflight/engine.h"
#include "inflight/ndarray.h"
#include "inflight/predictor.h"
#include "inflight/runtime.h"
#include "lifetime.h"

namespace inflight::python {

// What a Python object holds; null where it is of another class, or was never initialised.
template <typename T>
T* as(nb::handle object) noexcept {
  static auto* const type = reinterpret_cast<PyTypeObject*>(nb::type<T>().ptr());
  if (PyObject_TypeCheck(object.ptr(), type) == 0 || !nb::inst_ready(object)) return nullptr;
  return nb::inst_ptr<T>(object);
}

// inflight.NDArray
struct Array : Kept<NDArray> {
  using Kept::Kept;
};

// inflight.Prediction
struct PyPrediction : Kept<Prediction> {
  using Kept::Kept;
};

// inflight.Runtime. Ended at exit, or its threads would outlive what they use.
class PyRuntime final : public Closable {
 public:
  explicit PyRuntime(Runtime runtime) : runtime_(std::move(runtime)) { list(); }
  ~PyRuntime() override {
    unlist();
    close();
  }
  void close() noexcept override;
  //   errors   ShuttingDownError: it is closed
  const Runtime& get() const;

 private:
  Runtime runtime_;
};

// inflight.Stream
struct PyStream {
  Stream value;
  Duration block_timeout;            // how long a submission waits for a place; 0: the policy is another one
  Duration slice;                    // of that wait: the stream's own block_timeout
  std::uint64_t slices_refused = 0;  // guarded by the GIL
};

// A share in a predictor for as long as a call lasts, so that closing it on another thread takes nothing
// away.
class PyPredictor final : public Closable {
 public:
  //   block_timeout   how long a submission waits for a place; 0: the policy is to refuse
  //   slice           of that wait: the predictor's own block_timeout
  PyPredictor(Predictor predictor, Duration block_timeout, Duration slice)
      : predictor_(new Predictor(std::move(predictor)), DeleteWithoutGil<Predictor>()),
        block_timeout_(block_timeout),
        slice_(slice) {
    list();
  }
  ~PyPredictor() override {
    unlist();
    close();
  }
  void close() noexcept override;
  //   errors   ShuttingDownError: it is closed
  std::shared_ptr<Predictor> get() const;
  bool has() const noexcept { return predictor_ != nullptr; }
  bool closed() const noexcept { return predictor_ == nullptr || shut_down_; }

  // Submits; where the policy is to block, waits in slices of the predictor's or the stream's own block_timeout.
  //   stream   null: the frame names none
  Result<Prediction> submit(Predictor& predictor, Frame&& frame, PyStream* stream);
  // The books, without what the slices added to them.
  Statistics statistics() const;
  void set_shut_down() noexcept { shut_down_ = true; }
  // What has been taken from the predictor, and not been handed out.
  std::deque<Prediction>& taken() noexcept { return taken_; }

 private:
  std::shared_ptr<Predictor> predictor_;
  const Duration block_timeout_;
  const Duration slice_;
  std::uint64_t slices_refused_ = 0;  // guarded by the GIL
  bool shut_down_ = false;
  std::deque<Prediction> taken_;  // guarded by the GIL
};

// The length of one slice of a wait for a place, at most.
inline constexpr Duration kPlaceSlice = std::chrono::milliseconds(250);

// The array that an object holds or is: an NDArray, a VideoFrame, a buffer, a DLPack tensor, or what
// numpy.asarray takes. See Predictor.submit for when it is copied. What says that it is on a device goes by DLPack,
// whatever else it offers.
//   what     what messages call it
//   copy     true: always; false: never; nothing: unless nobody can write to it any more
//   errors   InvalidTypeError, InvalidArgumentError, UnsupportedError: what was found and what was wanted
NDArray array_from(nb::handle object, const char* what, std::optional<bool> copy);
// The same without a copy; by DLPack wherever the object offers that.
NDArray array_from_dlpack(nb::handle object, const char* what);

// Whether the object is a VideoFrame of a source; then when it was due.
std::optional<TimePoint> frame_due(nb::handle object);
// The array of a VideoFrame; nothing where it is none.
std::optional<NDArray> frame_array(nb::handle object);

// What __dlpack__() gives.
nb::object dlpack_capsule(const Array& array, nb::handle stream, nb::handle max_version, nb::handle dl_device,
                          std::optional<bool> copy);

// A NumPy view of an array that is ready and in memory of the host.
nb::object numpy_view(nb::handle array);

void bind_devices(nb::module_& module);
void bind_arrays(nb::module_& module);
void bind_models(nb::module_& module);
void bind_predictors(nb::module_& module);
void bind_queues(nb::module_& module);
void bind_engines(nb::module_& module);
void bind_sources(nb::module_& module);

// The executor of callbacks that Python code registers: one thread, started at the first. Ended at exit.
Executor& callbacks();
void stop_callbacks() noexcept;
// Calls fn(handle) once the handle is ready, on that thread, or through executor.submit() from it.
nb::object call_when_ready(nb::handle handle, nb::object fn, nb::object executor);

// What Python code in inflight/_asyncio.py does for these classes.
nb::object asyncio_helper(const char* name);

}  // namespace inflight::python
