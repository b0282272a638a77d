// SPDX-License-Identifier: Apache-2.0
// inflight.CompletionQueue, wait_any and wait_all.
#include "inflight/completion_queue.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <memory>
#include <new>
#include <vector>

#include "errors.h"
#include "types.h"
#include "waiting.h"

namespace inflight::python {
namespace {

// Left as it is in the child of a fork, where a lock of it may be held for ever.
class Queue {
 public:
  Queue() {
    check_usable();
    queue_ = std::make_unique<CompletionQueue>();
  }
  ~Queue() {
    if (forked()) static_cast<void>(queue_.release());
    queue_.reset();
    if (!forked()) drain_releases();
  }
  CompletionQueue& get() const {
    check_usable();
    return *queue_;
  }

 private:
  std::unique_ptr<CompletionQueue> queue_;
};

constexpr const char* kWantedHandle = "an inflight.NDArray or an inflight.Prediction";

void add(Queue& self, nb::handle handle, std::uint64_t tag) {
  CompletionQueue& queue = self.get();
  if (PyPrediction* const prediction = as<PyPrediction>(handle); prediction != nullptr) {
    queue.add(prediction->value, tag);
  } else if (Array* const array = as<Array>(handle); array != nullptr) {
    queue.add(array->value, tag);
  } else {
    raise_type("handle", handle, kWantedHandle);
  }
}

// A version, whichever kind of handle it has.
struct Handle {
  internal::Ref<internal::Version> version;
  internal::Completion& completion() const noexcept { return version->completion; }
};

std::vector<Handle> handles_from(nb::handle sequence) {
  std::vector<Handle> handles;
  for (nb::handle handle : nb::iter(sequence)) {
    internal::Version* version = nullptr;
    if (PyPrediction* const prediction = as<PyPrediction>(handle); prediction != nullptr) {
      version = &prediction->value.version();
    } else if (Array* const array = as<Array>(handle); array != nullptr) {
      version = &array->value.version();
    } else {
      raise_type("handles", handle, kWantedHandle);
    }
    handles.push_back({internal::Ref<internal::Version>::share(version)});
  }
  return handles;
}

std::optional<std::size_t> py_wait_any(nb::handle sequence, std::optional<double> timeout) {
  check_usable();
  const std::vector<Handle> handles = handles_from(sequence);
  if (handles.empty()) return std::nullopt;
  std::optional<std::size_t> found;
  static_cast<void>(wait_in_slices(end_of(timeout), [&](TimePoint until) {
    found = wait_any_until(handles, until);
    return found.has_value();
  }));
  return found;
}

void py_wait_all(nb::handle sequence, std::optional<double> timeout) {
  check_usable();
  const std::vector<Handle> handles = handles_from(sequence);
  const bool done = wait_in_slices(end_of(timeout), [&](TimePoint until) {
    for (std::size_t i = handles.size(); i-- > 0;) {
      if (!handles[i].completion().wait_until(until)) return false;
    }
    return true;
  });
  if (!done) raise(Status(StatusCode::kDeadlineExceeded, "not all were ready in time"));
  for (const Handle& handle : handles) check(handle.completion().status());
}

}  // namespace

void bind_queues(nb::module_& module) {
  nb::class_<Queue>(
      module, "CompletionQueue", nb::is_weak_referenceable(),
      "Which of many are ready? Arrays and predictions are added with a tag; the tags come out as they\n"
      "become ready, each exactly once, in the order of completion. Costs what became ready, however many\n"
      "still wait. Any number of threads may add, take and wait.")
      .def(nb::init<>())
      .def("add", add, nb::arg("handle").none(), nb::arg("tag"),
           nb::sig("def add(self, handle: NDArray | Prediction, tag: int) -> None"),
           "Hands `tag` (0 to 2**64 - 1) out once the handle is ready: at once where it is. The handle "
           "itself may be\n"
           "dropped. Never blocks.")
      .def(
          "take",
          [](Queue& self) {
            std::vector<std::uint64_t> tags;
            self.get().take(tags);
            nb::list taken;
            for (const std::uint64_t tag : tags) taken.append(nb::int_(tag));
            return taken;
          },
          nb::sig("def take(self) -> list[int]"),
          "The tags of all that became ready since the last call, the first to become ready first. Never "
          "blocks.")
      .def(
          "take_one", [](Queue& self) { return self.get().take_one(); },
          "The oldest of them; None where there is none.")
      .def(
          "wait",
          [](Queue& self, std::optional<double> timeout) {
            CompletionQueue& queue = self.get();
            return wait_in_slices(end_of(timeout), [&](TimePoint until) { return queue.wait_until(until); });
          },
          nb::arg("timeout") = nb::none(),
          "Waits until there is something to take, or for `timeout` seconds. True: there is something to "
          "take.\n"
          "Without the GIL; Ctrl-C ends it.")
      .def(
          "__len__", [](Queue& self) { return self.get().size(); },
          "Everything that was added and not taken yet, ready or not.")
      .def(
          "event_fd", [](Queue& self) { return take(self.get().event_fd()); },
          "A descriptor that can be read as long as there is something to take. The queue's own: not to be "
          "read,\n"
          "written or closed. OutOfMemoryError: no descriptor is left.");
  module.def("wait_any", py_wait_any, nb::arg("handles"), nb::arg("timeout") = nb::none(),
             nb::sig("def wait_any(handles: collections.abc.Iterable[NDArray | Prediction], timeout: float | "
                     "None = None) "
                     "-> int | None"),
             "Waits until at least one is ready, failed ones too.\n\n"
             "Gives the lowest index of those that are; None: `timeout` seconds came first, or there are no "
             "handles.\n"
             "Without the GIL; Ctrl-C ends it.");
  module.def(
      "wait_all", py_wait_all, nb::arg("handles"), nb::arg("timeout") = nb::none(),
      nb::sig("def wait_all(handles: collections.abc.Iterable[NDArray | Prediction], timeout: float | None = "
              "None) "
              "-> None"),
      "Waits until all are ready, and raises the failure of the first that has one. DeadlineExceededError:\n"
      "`timeout` seconds came first. Without the GIL; Ctrl-C ends it.");
}

}  // namespace inflight::python
