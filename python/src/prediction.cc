// SPDX-License-Identifier: Apache-2.0
// inflight.Prediction and PredictionTimes.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <string>

#include "errors.h"
#include "types.h"
#include "waiting.h"

namespace inflight::python {
namespace {

Array output(const PyPrediction& self, nb::handle which) {
  const Prediction& prediction = self.value;
  if (PyUnicode_Check(which.ptr()) != 0) return Array(take(prediction.output(string_from(which))));
  if (PyIndex_Check(which.ptr()) == 0) raise_type("output", which, "an index or a name");
  const nb::object number = nb::steal(PyNumber_Index(which.ptr()));
  const auto index = PyLong_AsSsize_t(number.ptr());
  const auto count = static_cast<Py_ssize_t>(prediction.output_count());
  if (PyErr_Occurred() != nullptr) PyErr_Clear();  // too large is out of range, too
  if (index < 0 || index >= count) {
    raise_invalid("output: got " + nb::cast<std::string>(nb::str(number)) + ", want 0 to " +
                  std::to_string(count - 1));
  }
  return Array(prediction.output(static_cast<std::size_t>(index)));
}

void wait(const PyPrediction& self, std::optional<double> timeout) {
  check_usable();
  const Prediction& prediction = self.value;
  if (!prediction.can_read()) {
    const bool done = wait_in_slices(end_of(timeout), [&](TimePoint until) {
      static_cast<void>(prediction.wait_until(until));
      return prediction.can_read();
    });
    if (!done) raise(Status(StatusCode::kDeadlineExceeded, "the prediction was not ready in time"));
  }
  check(prediction.status());
}

std::optional<double> moment(TimePoint when) {
  if (when == TimePoint()) return std::nullopt;
  return seconds_of(when);
}

constexpr const char* kMoment = "Seconds of time.monotonic(); None where it did not happen.";

void bind_times(nb::module_& module) {
  nb::class_<PredictionTimes>(module, "PredictionTimes",
                              "When what happened to a prediction, in seconds of time.monotonic().")
      .def_prop_ro(
          "due", [](const PredictionTimes& t) { return moment(t.due); }, kMoment)
      .def_prop_ro(
          "submitted", [](const PredictionTimes& t) { return moment(t.submitted); }, kMoment)
      .def_prop_ro(
          "ready", [](const PredictionTimes& t) { return moment(t.ready); }, kMoment)
      .def_prop_ro(
          "launched", [](const PredictionTimes& t) { return moment(t.launched); }, kMoment)
      .def_prop_ro(
          "finished", [](const PredictionTimes& t) { return moment(t.finished); }, kMoment);
}

}  // namespace

void bind_predictions(nb::module_& module) {
  bind_times(module);
  nb::class_<PyPrediction>(
      module, "Prediction", nb::is_weak_referenceable(),
      "One admitted frame and its outcome. Its outputs stay untouched as long as it, one of them, or a\n"
      "view of one lives. May outlive the predictor. Any thread may use it.")
      .def(
          "can_read", [](const PyPrediction& p) noexcept { return p.value.can_read(); },
          "True: finished, whatever the outcome. Never blocks, never raises, never goes back to False: one "
          "load.")
      .def_prop_ro(
          "id", [](const PyPrediction& p) { return p.value.id(); }, "0, 1, 2 ... in the order of admission.")
      .def_prop_ro(
          "tag", [](const PyPrediction& p) { return p.value.tag(); }, "The tag given to submit().")
      .def_prop_ro(
          "stream_name", [](const PyPrediction& p) { return std::string(p.value.stream().name()); },
          "The name of the stream given to submit(); \"\" where there was none.")
      .def_prop_ro(
          "outcome", [](const PyPrediction& p) { return std::string(outcome_name(p.value.outcome())); },
          nb::sig("def outcome(self) -> typing.Literal[\"pending\", \"completed\", \"failed\", \"rejected\", "
                  "\"dropped\", \"expired\", \"cancelled\"]"),
          "How it ended; \"pending\" until can_read().")
      .def(
          "status",
          [](const PyPrediction& p) -> nb::object {
            const Status status = p.value.status();
            return status.ok() ? nb::none() : to_exception(status);
          },
          nb::sig("def status(self) -> inflight.errors.Error | None"),
          "None where its outputs are there, else the exception that says why not, not raised; "
          "NotReadyError\n"
          "before can_read().")
      .def("output", output, nb::arg("which").none(),
           nb::sig("def output(self, which: int | str) -> NDArray"),
           "An output by its index, in the order of the model's outputs, or by its name; ready when the "
           "prediction\n"
           "is, and an input for another predictor before that.\n\nInvalidArgumentError, NotFoundError: no "
           "such output.")
      .def_prop_ro("output_count", [](const PyPrediction& p) { return p.value.output_count(); })
      .def_prop_ro(
          "width", [](const PyPrediction& p) { return std::string(width_name(p.value.width())); },
          nb::sig("def width(self) -> typing.Literal[\"medium\", \"narrow\", \"wide\"]"),
          "How it ran. Final once can_read().")
      .def_prop_ro(
          "slot",
          [](const PyPrediction& p) -> std::optional<int> {
            const int slot = p.value.slot();
            return slot >= 0 ? std::optional<int>(slot) : std::nullopt;
          },
          "The slot on which it ran, from 0; None until can_read(), and if it never started.")
      .def_prop_ro(
          "times", [](const PyPrediction& p) { return p.value.times(); }, "Final once can_read().")
      .def("wait", wait, nb::arg("timeout") = nb::none(),
           "Waits until can_read(), without the GIL; Ctrl-C ends it.\n\n"
           "timeout  seconds; None: for ever\n\n"
           "Raises why it failed, CancelledError, or DeadlineExceededError (a TimeoutError).")
      .def(
          "cancel",
          [](const PyPrediction& p) {
            check_usable();
            const bool cancelled = [&] {
              const WithoutGil release;
              return p.value.cancel();
            }();
            drain_releases();
            return cancelled;
          },
          "Gives it up if it has not started: the outcome is then \"cancelled\", at once. False: it has "
          "started or\n"
          "finished, and goes on to its own outcome.")
      .def(
          "on_ready",
          [](nb::handle self, nb::object fn, nb::object executor) {
            call_when_ready(self, std::move(fn), std::move(executor));
          },
          nb::arg("fn"), nb::kw_only(), nb::arg("executor") = nb::none(),
          nb::sig("def on_ready(self, fn: collections.abc.Callable[[Prediction], object], *, executor: "
                  "concurrent.futures.Executor | None = None) -> None"),
          "Calls fn(self) once, when can_read() is true, on a thread of this package that runs all such "
          "callbacks\n"
          "one after the other; or by executor.submit(fn, self) from there. What fn raises goes to\n"
          "sys.unraisablehook.")
      .def(
          "__await__", [](nb::object self) { return asyncio_helper("await_ready")(self); },
          nb::sig("def __await__(self) -> collections.abc.Generator[typing.Any, None, Prediction]"),
          "Waits in an asyncio task, over one descriptor a loop and no thread; gives this prediction, or "
          "raises why\n"
          "it failed. Where the task is cancelled meanwhile, so is the prediction, if it has not started.")
      .def(
          "__eq__",
          [](const PyPrediction& a, nb::handle b) {
            const auto* other = as<PyPrediction>(b);
            return other != nullptr && a.value == other->value;
          },
          nb::arg("other").none(), nb::sig("def __eq__(self, other: object) -> bool"))
      .def("__hash__",
           [](const PyPrediction& p) { return reinterpret_cast<std::uintptr_t>(&p.value.version()) / 64; })
      .def("__repr__", [](const PyPrediction& p) {
        return "<inflight.Prediction " + std::to_string(p.value.id()) + " " +
               std::string(outcome_name(p.value.outcome())) + ">";
      });
}

}  // namespace inflight::python
