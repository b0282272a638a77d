// SPDX-License-Identifier: Apache-2.0
// inflight.Predictor.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <limits>
#include <string>

#include "devices.h"
#include "errors.h"
#include "types.h"
#include "waiting.h"

namespace inflight::python {

void PyPredictor::close() noexcept {
  shut_down_ = true;
  std::shared_ptr<Predictor> ending = std::exchange(predictor_, nullptr);
  if (ending == nullptr) return;
  if (forked()) {
    // Its threads are not here, and would be waited for.
    static_cast<void>(new (std::nothrow) std::shared_ptr<Predictor>(std::move(ending)));
    return;
  }
  {
    const WithoutGil release;
    ending->shutdown(Shutdown::kCancel);
  }
  ending.reset();
  drain_releases();
}

std::shared_ptr<Predictor> PyPredictor::get() const {
  check_usable();
  if (predictor_ == nullptr) raise(Status(StatusCode::kShuttingDown, "the predictor is closed"));
  return predictor_;
}

Result<Prediction> PyPredictor::submit(Predictor& predictor, Frame&& frame, PyStream* stream) {
  const Duration timeout = stream != nullptr ? stream->block_timeout : block_timeout_;
  const Duration slice = stream != nullptr ? stream->slice : slice_;
  if (timeout == Duration(0)) {
    const WithoutGil release;
    return predictor.submit(std::move(frame));
  }
  const TimePoint end = deadline_after(timeout);
  while (true) {
    const TimePoint began = steady_clock().now();
    Result<Prediction> admitted = [&] {
      const WithoutGil release;
      return predictor.submit(std::move(frame));
    }();
    // A refusal before the slice is over has another reason: waiting longer does not help.
    const TimePoint now = steady_clock().now();
    if (admitted.ok() || admitted.status().code() != StatusCode::kOverloaded || now - began < slice ||
        now >= end) {
      return admitted;
    }
    ++slices_refused_;
    if (stream != nullptr) ++stream->slices_refused;
    check_signals();
  }
}

Statistics PyPredictor::statistics() const {
  Statistics books = get()->statistics();
  books.submitted -= slices_refused_;
  books.rejected -= slices_refused_;
  return books;
}

namespace {

// One frame from what Predictor.submit takes.
Frame frame_from(const Predictor& predictor, nb::handle given, std::optional<bool> copy) {
  Frame frame;
  if (PyDict_Check(given.ptr()) != 0) {
    for (auto [name, array] : nb::borrow<nb::dict>(given)) {
      if (PyUnicode_Check(name.ptr()) == 0) raise_type("frame", name, "the names of inputs as keys");
      auto text = string_from(name);
      const std::string what = "frame[\"" + text + "\"]";
      frame.inputs.push_back({std::move(text), array_from(array, what.c_str(), copy)});
    }
  } else if (PyList_Check(given.ptr()) != 0 || PyTuple_Check(given.ptr()) != 0) {
    const std::span<const TensorSpec> specs = predictor.inputs();
    const std::size_t count = nb::len(given);
    if (count != specs.size()) {
      raise_invalid("frame: found " + std::to_string(count) + " arrays, want " +
                    std::to_string(specs.size()) + ", one for each input");
    }
    for (std::size_t i = 0; i < count; ++i) {
      const std::string what = "frame[" + std::to_string(i) + "]";
      frame.inputs.push_back({specs[i].name, array_from(nb::object(given[i]), what.c_str(), copy)});
    }
  } else {
    const Array* array = as<Array>(given);
    if (array == nullptr) frame.due = frame_due(given);
    frame.inputs.push_back(
        {"", array != nullptr && copy != true ? array->value : array_from(given, "frame", copy)});
  }
  return frame;
}

PyPrediction submit(PyPredictor& self, nb::handle given, std::uint64_t tag, std::optional<double> due,
                    std::optional<double> deadline, std::optional<bool> copy, PyStream* stream) {
  const std::shared_ptr<Predictor> predictor = self.get();
  drain_releases();
  Frame frame = frame_from(*predictor, given, copy);
  frame.tag = tag;
  if (stream != nullptr) frame.stream = stream->value;
  if (due) frame.due = moment_from(*due, "due");
  if (deadline) frame.deadline = moment_from(*deadline, "deadline");
  Result<Prediction> admitted = self.submit(*predictor, std::move(frame), stream);
  if (!admitted.ok()) {
    frame = {};
    drain_releases();
    raise_overloaded(admitted.status(), predictor->retry_after());
  }
  return PyPrediction(std::move(admitted).value());
}

OverloadPolicy policy_from(const char* what, const std::string& word) {
  for (const OverloadPolicy policy : {OverloadPolicy::kReject, OverloadPolicy::kBlock,
                                      OverloadPolicy::kDropOldest, OverloadPolicy::kKeepLatest}) {
    if (word == policy_name(policy)) return policy;
  }
  raise_invalid(std::string(what) + ": got \"" + word +
                "\", want \"reject\", \"block\", \"drop-oldest\" or \"keep-latest\"");
}

Delivery delivery_from(const std::string& word) {
  for (const Delivery delivery : {Delivery::kAsCompleted, Delivery::kInOrder, Delivery::kNewestOnly}) {
    if (word == delivery_name(delivery)) return delivery;
  }
  raise_invalid("delivery: got \"" + word + "\", want \"as-completed\", \"in-order\" or \"newest-only\"");
}

struct BlockTimes {
  Duration timeout = Duration(0);  // 0: nothing waits
  Duration slice = Duration::max();
};

// In slices of the same length, so that Ctrl-C comes through.
BlockTimes block_times(OverloadPolicy policy, std::optional<double> block_timeout) {
  if (policy != OverloadPolicy::kBlock) {
    if (block_timeout) {
      raise_invalid("block_timeout: nothing waits with \"" + std::string(policy_name(policy)) +
                    "\"; want None");
    }
    return {};
  }
  const Duration timeout = block_timeout ? duration_from(*block_timeout, "block_timeout") : Duration::max();
  return {timeout,
          timeout == Duration::max() ? kPlaceSlice : timeout / (1 + (timeout - Duration(1)) / kPlaceSlice)};
}

PyStream open_stream(PyPredictor& self, const std::string& name, const std::string& policy,
                     std::optional<double> block_timeout, double weight, int priority,
                     const std::string& delivery, int in_flight_limit) {
  StreamOptions options;
  options.name = name;
  options.policy = policy_from("policy", policy);
  const BlockTimes times = block_times(options.policy, block_timeout);
  options.block_timeout = times.slice;
  options.weight = weight;
  options.priority = priority;
  options.delivery = delivery_from(delivery);
  options.in_flight_limit = in_flight_limit;
  return {take(self.get()->open_stream(std::move(options))), times.timeout, times.slice};
}

Shutdown shutdown_from(const std::string& word) {
  if (word == "drain") return Shutdown::kDrain;
  if (word == "cancel") return Shutdown::kCancel;
  raise_invalid("how: got \"" + word + "\", want \"drain\" or \"cancel\"");
}

int limit_from(const nb::object& limit) {
  if (nb::isinstance<nb::str>(limit) && nb::cast<std::string>(limit) == "auto")
    return Predictor::kInFlightLimitAuto;
  int number = 0;
  if (!nb::try_cast(limit, number) || number == Predictor::kInFlightLimitAuto) {
    raise_invalid("in_flight_limit: got " + nb::cast<std::string>(nb::repr(limit)) +
                  ", want \"auto\" or 1 to 65536");
  }
  return number;
}

void make(PyPredictor* self, const Model& model, PyRuntime* runtime, nb::handle device, int threads,
          double weight, const nb::object& in_flight_limit, const std::string& overload,
          std::optional<double> block_timeout, const std::string& precision, const std::string& width,
          int slots, bool keep_finished, int finished_limit, double watch_share, const std::string& delivery,
          bool refuse_late, const std::string& tune, bool outputs_on_device) {
  check_startable();
  PredictorOptions options;
  if (runtime != nullptr) {
    options.runtime = runtime->get();
    if (!device.is_none()) raise_invalid("device: a runtime has a device already; want one of both");
  } else if (!device.is_none()) {
    options.devices = devices_from(device);
  }
  options.threads = threads;
  options.weight = weight;
  options.in_flight_limit = limit_from(in_flight_limit);
  options.overload = policy_from("overload", overload);
  const BlockTimes times = block_times(options.overload, block_timeout);
  options.block_timeout = times.slice;
  options.delivery = delivery_from(delivery);
  options.precision = take(parse_precision(precision));
  options.width = take(parse_width_policy(width));
  options.slots = slots;
  options.keep_finished = keep_finished;
  options.finished_limit = finished_limit;
  options.watch_share = watch_share;
  options.refuse_late = refuse_late;
  options.tune = take(parse_tune_level(tune));
  options.outputs_on_device = outputs_on_device;
  Result<Predictor> created = [&] {
    const WithoutGil release;
    return Predictor::create(model, std::move(options));
  }();
  new (self) PyPredictor(take(std::move(created)), times.timeout, times.slice);
}

PyPrediction first_taken(PyPredictor& self) {
  Prediction first = std::move(self.taken().front());
  self.taken().pop_front();
  return PyPrediction(std::move(first));
}

// For finished(): the oldest that is finished, or None; and whether there are more that the descriptor does
// not tell of.
nb::tuple take_one(PyPredictor& self) {
  drain_releases();
  if (self.taken().empty() && self.has()) {
    for (Prediction& prediction : self.get()->take_finished()) self.taken().push_back(std::move(prediction));
  }
  if (self.taken().empty()) return nb::make_tuple(nb::none(), false);
  nb::object first = nb::cast(first_taken(self));
  return nb::make_tuple(first, !self.taken().empty());
}

std::vector<TensorSpec> specs_of(std::span<const TensorSpec> specs) { return {specs.begin(), specs.end()}; }

void shut_down(nb::handle self, const std::string& how) {
  auto& predictor = *nb::inst_ptr<PyPredictor>(self);
  const std::shared_ptr<Predictor> core = predictor.get();
  const Shutdown kind = shutdown_from(how);
  {
    const WithoutGil release;
    core->shutdown(kind);
  }
  predictor.set_shut_down();
  drain_releases();
  asyncio_helper("wake_finished")(self);
}

void close(nb::handle self) {
  auto& predictor = *nb::inst_ptr<PyPredictor>(self);
  if (!forked() && !predictor.closed()) shut_down(self, "cancel");
  predictor.close();
}

constexpr const char* kSubmitDoc =
    "Submits one frame and returns its prediction at once; waits for a place only with "
    "overload=\"block\".\n\n"
    "frame     an array, where the model has one input; a dict from names to arrays; a list or tuple of\n"
    "          arrays in the order of Predictor.inputs; or a frame of open_source. Each of exactly the\n"
    "          input's dtype and shape. An NDArray may still be on its way: the prediction starts when it\n"
    "          is ready.\n"
    "tag       handed back by Prediction.tag; 0 to 2**64 - 1\n"
    "due       when the frame should have been submitted, in seconds of time.monotonic(); latency counts\n"
    "          from here\n"
    "deadline  in seconds of time.monotonic(); one that has not started by then expires\n"
    "copy      None: what somebody may still write to is copied, once, and the caller may use it again at\n"
    "          once. Not copied are arrays of this package, bytes, and read-only arrays that own their\n"
    "          memory or are views of such, and tensors on a device. False: never copied; as for the latter, "
    "the\n"
    "          caller does not write to the array\n"
    "          until the prediction can be read. True: always copied.\n"
    "stream    of Predictor.stream(): the camera or client that it comes from\n\n"
    "OverloadedError (a BlockingIOError) with retry_after, in seconds: every place is taken, or\n"
    "finished_limit predictions wait to be taken. InvalidArgumentError: the frame does not fit, and what\n"
    "was wanted. DeadlineExceededError: its deadline has passed. ShuttingDownError. Any thread.";

constexpr const char* kStreamDoc =
    "Opens a stream for submit(): the frames of one camera or client. Closed when nothing refers to it.\n\n"
    "policy           for a frame without a place, as Predictor's overload, among the frames of the stream\n"
    "block_timeout    seconds to wait for a place; None: until the frame's deadline, or for ever\n"
    "weight           its part when more waits than can run: above 0, to 1,000\n"
    "priority         streams of higher priority go first: -8 to 7\n"
    "delivery         \"as-completed\"; \"in-order\": take_finished() hands out predictions as submitted;\n"
    "                 \"newest-only\": no result that a newer one has overtaken\n"
    "in_flight_limit  predictions of the stream in flight; 0: as many as of the predictor\n\n"
    "InvalidArgumentError: an option out of bounds; OverloadedError: 65,536 streams are open.";

constexpr const char* kPredictorDoc =
    "Compiles a model and keeps up to in_flight_limit predictions of it in flight. Any number of threads "
    "may\n"
    "submit, take and wait. Also a context manager, which closes it.\n\n"
    "runtime          where it runs, shared with other predictors; None: one of its own on `device`\n"
    "device           \"cpu\" and so on, where there is no runtime; several as \"cuda:0,cuda:1\" or in a "
    "list: there\n"
    "                 is one queue and one limit, with slots on each of them. A free slot takes the next "
    "frame; of\n"
    "                 several, one of the device with the smallest part of its slots busy, the first named "
    "before the\n"
    "                 others. A device that is lost fails what it holds, and the others go on; when the last "
    "is lost,\n"
    "                 submit raises the cause\n"
    "threads          CPU threads for a runtime of its own; 0: as many as the process may use\n"
    "weight           its share of a runtime that has too much to do: above 0, to 1,000\n"
    "in_flight_limit  predictions admitted and not finished: 1 to 65,536; \"auto\": the fewest that keep 97 "
    "%\n"
    "                 of the throughput, measured\n"
    "overload         past it: \"reject\" raises OverloadedError at once; \"block\" waits for a place;\n"
    "                 \"drop-oldest\" drops the oldest frame that has not started; \"keep-latest\" never "
    "lets\n"
    "                 more than the newest frame wait\n"
    "block_timeout    seconds to wait for a place; None: for ever\n"
    "precision        \"auto\", \"f32\", \"bf16\" or \"f16\"\n"
    "width            \"narrow\": a prediction uses its share of the device; \"wide\": all of it; "
    "\"elastic\":\n"
    "                 chosen for each when it starts, from the load\n"
    "slots            predictions that run at once on each device; 0: as many as are of use\n"
    "keep_finished    finished predictions wait for take_finished(); a caller that keeps or awaits each\n"
    "                 prediction and never takes clears it\n"
    "finished_limit   while so many of them wait, submit refuses: 1 to 1,048,576\n"
    "watch_share      of one processor, that an idle thread may spend awake for an expected frame: 0 to 1\n"
    "delivery         what take_finished() hands out, and when: see stream()\n"
    "refuse_late      a frame that would not finish by its deadline is refused at once\n"
    "tune             how long a GPU may time ways to compute the model: \"off\": not at all; \"fast\": 5 "
    "seconds;\n"
    "                 \"full\": 60. What is found is kept on disk. Other devices ignore it\n"
    "outputs_on_device  outputs stay in the memory of the device: another predictor there, or PyTorch and "
    "CuPy\n"
    "                 by DLPack, read them without a copy; NDArray.copy_to(\"cpu\") brings one to the "
    "host\n\n"
    "InvalidArgumentError: an option out of bounds; InvalidModelError, UnsupportedError: the device cannot\n"
    "run the model; NoSuchDeviceError; OutOfMemoryError. Compiling may take seconds; the GIL is released.";

}  // namespace

void bind_books(nb::module_& module);
void bind_predictions(nb::module_& module);

void bind_predictors(nb::module_& module) {
  bind_books(module);
  bind_predictions(module);
  nb::class_<PyPredictor>(module, "Predictor", nb::is_weak_referenceable(), kPredictorDoc)
      .def("__init__", make, nb::arg("model"), nb::kw_only(), nb::arg("runtime") = nb::none(),
           nb::arg("device") = nb::none(), nb::arg("threads") = 0, nb::arg("weight") = 1.0,
           nb::arg("in_flight_limit") = 8, nb::arg("overload") = "reject",
           nb::arg("block_timeout") = nb::none(), nb::arg("precision") = "auto", nb::arg("width") = "elastic",
           nb::arg("slots") = 0, nb::arg("keep_finished") = true, nb::arg("finished_limit") = 1024,
           nb::arg("watch_share") = 0.05, nb::arg("delivery") = "as-completed",
           nb::arg("refuse_late") = false, nb::arg("tune") = "fast", nb::arg("outputs_on_device") = false,
           nb::sig("def __init__(self, model: Model, *, runtime: Runtime | None = None, device: Device | str "
                   "| list[Device | str] | tuple[Device | str, ...] | None = "
                   "None, threads: int = 0, weight: float = 1.0, in_flight_limit: int | "
                   "typing.Literal[\"auto\"] = 8, overload: "
                   "typing.Literal[\"reject\", \"block\", \"drop-oldest\", \"keep-latest\"] = \"reject\", "
                   "block_timeout: float | None = None, "
                   "precision: "
                   "typing.Literal[\"auto\", \"f32\", \"bf16\", \"f16\"] = \"auto\", width: "
                   "typing.Literal[\"elastic\", \"narrow\", "
                   "\"wide\"] = \"elastic\", slots: int = 0, keep_finished: bool = True, finished_limit: int "
                   "= 1024, "
                   "watch_share: float = 0.05, delivery: typing.Literal[\"as-completed\", \"in-order\", "
                   "\"newest-only\"] = \"as-completed\", refuse_late: bool = False, tune: "
                   "typing.Literal[\"off\", \"fast\", "
                   "\"full\"] = \"fast\", outputs_on_device: bool = False) -> None"))
      .def("submit", submit, nb::arg("frame").none(), nb::kw_only(), nb::arg("tag") = 0,
           nb::arg("due") = nb::none(), nb::arg("deadline") = nb::none(), nb::arg("copy") = nb::none(),
           nb::arg("stream") = nb::none(),
           nb::sig("def submit(self, frame: object, *, tag: int = 0, due: float | None = None, deadline: "
                   "float | None = "
                   "None, copy: bool | None = None, stream: Stream | None = None) -> Prediction"),
           kSubmitDoc)
      .def("stream", open_stream, nb::arg("name") = "", nb::kw_only(), nb::arg("policy") = "reject",
           nb::arg("block_timeout") = nb::none(), nb::arg("weight") = 1.0, nb::arg("priority") = 0,
           nb::arg("delivery") = "as-completed", nb::arg("in_flight_limit") = 0,
           nb::sig("def stream(self, name: str = \"\", *, policy: typing.Literal[\"reject\", \"block\", "
                   "\"drop-oldest\", \"keep-latest\"] = \"reject\", block_timeout: float | None = None, "
                   "weight: float = 1.0, priority: int = 0, delivery: typing.Literal[\"as-completed\", "
                   "\"in-order\", \"newest-only\"] = \"as-completed\", in_flight_limit: int = 0) -> Stream"),
           kStreamDoc)
      .def(
          "take_finished",
          [](PyPredictor& self) {
            const std::shared_ptr<Predictor> predictor = self.get();
            drain_releases();
            nb::list taken;
            while (!self.taken().empty()) taken.append(nb::cast(first_taken(self)));
            for (Prediction& prediction : predictor->take_finished()) {
              taken.append(nb::cast(PyPrediction(std::move(prediction))));
            }
            return taken;
          },
          nb::sig("def take_finished(self) -> list[Prediction]"),
          "Every prediction that finished since the last call, in the order in which they finished; each is "
          "handed\n"
          "out once. Never blocks. Empty where keep_finished is not set.")
      .def("_take_one", take_one, nb::sig("def _take_one(self) -> tuple[Prediction | None, bool]"))
      .def(
          "wait_any",
          [](PyPredictor& self, std::optional<double> timeout) {
            const std::shared_ptr<Predictor> predictor = self.get();
            if (!self.taken().empty()) return true;
            bool some = false;
            // Nothing in flight is an answer, too: then the slice has not ended in vain.
            return wait_in_slices(end_of(timeout),
                                  [&](TimePoint until) {
                                    some = predictor->wait_any_until(until);
                                    return some || predictor->statistics().in_flight == 0;
                                  }) &&
                   some;
          },
          nb::arg("timeout") = nb::none(),
          "Waits until take_finished() has something to give, or nothing is in flight any more, or for "
          "`timeout`\n"
          "seconds. True: there is something to take. Without the GIL; Ctrl-C ends it.")
      .def(
          "finished", [](nb::object self) { return asyncio_helper("finished")(self); },
          nb::sig("def finished(self) -> collections.abc.AsyncIterator[Prediction]"),
          "The predictions as they finish, for `async for`, over event_fd() and no thread. Each is handed "
          "out once,\n"
          "however many iterate or take. Ends once the predictor is shut down and all are taken.\n\n"
          "UnsupportedError: keep_finished is not set.")
      .def(
          "event_fd", [](PyPredictor& self) { return take(self.get()->event_fd()); },
          "A descriptor that can be read as long as take_finished() has something to give, for select, epoll "
          "and\n"
          "loops built on them. The predictor's own: not to be read, written or closed.\n\n"
          "UnsupportedError: keep_finished is not set; OutOfMemoryError: no descriptor is left.")
      .def(
          "drain",
          [](PyPredictor& self, std::optional<double> timeout) {
            const std::shared_ptr<Predictor> predictor = self.get();
            const bool done = wait_in_slices(end_of(timeout), [&](TimePoint until) {
              // The predictor's own wait has no end; what is in flight falls to 0 between two looks.
              Duration nap = std::chrono::microseconds(50);
              while (predictor->statistics().in_flight > 0) {
                const TimePoint now = steady_clock().now();
                if (now >= until) return false;
                steady_clock().sleep_until(std::min(until, now + nap));
                nap = std::min<Duration>(2 * nap, std::chrono::milliseconds(2));
              }
              return true;
            });
            if (!done) raise(Status(StatusCode::kDeadlineExceeded, "predictions are still in flight"));
          },
          nb::arg("timeout") = nb::none(),
          "Waits until nothing is in flight, without the GIL; Ctrl-C ends it. DeadlineExceededError: "
          "`timeout`\n"
          "seconds came first.")
      .def("shutdown", shut_down, nb::arg("how") = "drain",
           nb::sig("def shutdown(self, how: typing.Literal[\"drain\", \"cancel\"] = \"drain\") -> None"),
           "Refuses submissions from now on. \"cancel\": cancels what has not started. Waits for the rest, "
           "without\n"
           "the GIL. What has finished can still be taken.")
      .def("close", close,
           "shutdown(\"cancel\"), and gives everything back. Its predictions live on. May be called again.")
      .def_prop_ro(
          "closed", [](const PyPredictor& self) { return self.closed(); },
          "Whether it was shut down or closed.")
      .def("statistics", &PyPredictor::statistics, "The books, as they are at this instant.")
      .def(
          "device_statistics", [](PyPredictor& self) { return self.get()->device_statistics(); },
          "What each device did, in the order in which they were named.")
      .def(
          "latencies",
          [](PyPredictor& self) {
            const std::shared_ptr<Predictor> predictor = self.get();
            const WithoutGil release;
            return predictor->latencies();
          },
          "Where the time of completed predictions went.")
      .def(
          "retry_after",
          [](PyPredictor& self) {
            const Duration after = self.get()->retry_after();
            return after == Duration::max() ? std::numeric_limits<double>::infinity() : seconds_of(after);
          },
          "An estimate, in seconds, of when a place will be free; 0 if one is; infinite once every device is "
          "lost.")
      .def_prop_ro("inputs", [](PyPredictor& self) { return specs_of(self.get()->inputs()); })
      .def_prop_ro("outputs", [](PyPredictor& self) { return specs_of(self.get()->outputs()); })
      .def_prop_ro("device_description", [](PyPredictor& self) { return self.get()->device_description(); })
      .def_prop_ro(
          "tuning", [](PyPredictor& self) { return self.get()->tuning(); },
          "What tuning came to when the model was compiled; None where the device does not tune.")
      .def_prop_ro(
          "slots", [](PyPredictor& self) { return self.get()->slots(); }, "How many predictions run at once.")
      .def(
          "__enter__", [](nb::object self) { return self; }, nb::sig("def __enter__(self) -> typing.Self"))
      .def(
          "__exit__", [](nb::handle self, nb::handle, nb::handle, nb::handle) { close(self); },
          nb::arg("type").none(), nb::arg("value").none(), nb::arg("traceback").none(),
          nb::sig("def __exit__(self, type: object, value: object, traceback: object) -> None"));
}

}  // namespace inflight::python
