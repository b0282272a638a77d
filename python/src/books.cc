// SPDX-License-Identifier: Apache-2.0
// inflight.Stream, and what predictors and streams count: Statistics, StageLatencies, Histogram.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <string>

#include "errors.h"
#include "types.h"

namespace inflight::python {

void bind_books(nb::module_& module) {
  nb::class_<Statistics>(
      module, "Statistics",
      "How many submissions ended how. At every instant submitted == completed + failed + rejected +\n"
      "dropped + expired + cancelled + in_flight.")
      .def_ro("submitted", &Statistics::submitted)
      .def_ro("completed", &Statistics::completed)
      .def_ro("failed", &Statistics::failed)
      .def_ro("rejected", &Statistics::rejected)
      .def_ro("dropped", &Statistics::dropped)
      .def_ro("expired", &Statistics::expired)
      .def_ro("cancelled", &Statistics::cancelled)
      .def_ro("in_flight", &Statistics::in_flight)
      .def_ro("in_flight_max", &Statistics::in_flight_max, "The most there ever were.")
      .def_ro("wide", &Statistics::wide, "Of those that ran, at this width.")
      .def_ro("medium", &Statistics::medium, "Of those that ran, at this width.")
      .def_ro("narrow", &Statistics::narrow, "Of those that ran, at this width.")
      .def_ro("superseded", &Statistics::superseded,
              "Results that take_finished() did not hand out, since a newer one came first (newest-only).")
      .def_ro("late", &Statistics::late, "Of those rejected, the ones that refuse_late refused.")
      .def_ro("in_flight_limit", &Statistics::in_flight_limit, "As it is now.")
      .def_prop_ro(
          "limit_reason", [](const Statistics& s) { return std::string(limit_reason_name(s.limit_reason)); },
          nb::sig("def limit_reason(self) -> typing.Literal[\"fixed\", \"measuring\", \"knee\"]"))
      .def("__repr__", [](const Statistics& s) {
        return "<inflight.Statistics submitted=" + std::to_string(s.submitted) +
               " completed=" + std::to_string(s.completed) + " failed=" + std::to_string(s.failed) +
               " rejected=" + std::to_string(s.rejected) + " dropped=" + std::to_string(s.dropped) +
               " expired=" + std::to_string(s.expired) + " cancelled=" + std::to_string(s.cancelled) +
               " in_flight=" + std::to_string(s.in_flight) + ">";
      });
  nb::class_<DeviceStatistics>(module, "DeviceStatistics", "What one device of a predictor did.")
      .def_ro("device", &DeviceStatistics::device)
      .def_ro("description", &DeviceStatistics::description, "The device in words.")
      .def_ro("slots", &DeviceStatistics::slots, "Prediction.slot counts on from one device to the next.")
      .def_ro("completed", &DeviceStatistics::completed, "Of the predictions that ran there.")
      .def_ro("failed", &DeviceStatistics::failed, "Of the predictions that ran there.")
      .def_prop_ro(
          "lost",
          [](const DeviceStatistics& s) {
            return s.lost.ok() ? std::nullopt : std::optional(std::string(s.lost.message()));
          },
          "Why the device is lost; None: it is not.")
      .def("__repr__", [](const DeviceStatistics& s) {
        return "<inflight.DeviceStatistics " + s.device.to_string() + " slots=" + std::to_string(s.slots) +
               " completed=" + std::to_string(s.completed) + " failed=" + std::to_string(s.failed) +
               (s.lost.ok() ? "" : " lost") + ">";
      });
  nb::class_<Histogram>(module, "Histogram",
                        "Quantiles of many durations, in seconds, to 1.6 %; the maximum is exact.")
      .def_prop_ro("count", &Histogram::count)
      .def(
          "quantile",
          [](const Histogram& h, double fraction) {
            if (!(fraction >= 0 && fraction <= 1)) raise_invalid("fraction: want 0 to 1");
            return static_cast<double>(h.quantile(fraction)) * 1e-9;
          },
          nb::arg("fraction"),
          "Seconds that at least this fraction (0 to 1) did not exceed; 0 where there is none.")
      .def_prop_ro(
          "max", [](const Histogram& h) { return static_cast<double>(h.max()) * 1e-9; }, "Seconds.");
  nb::class_<StageLatencies>(module, "StageLatencies", "Where the time of completed predictions went.")
      .def_ro("input_wait", &StageLatencies::input_wait, "From submitted to ready.")
      .def_ro("slot_wait", &StageLatencies::slot_wait, "From ready to launched.")
      .def_ro("running", &StageLatencies::running, "From launched to finished.")
      .def_ro("total", &StageLatencies::total, "From due to finished.")
      .def_ro("age", &StageLatencies::age, "Of the newest results, over time; counts microseconds.");
  nb::class_<Tuning>(module, "Tuning", "What tuning came to when a predictor's model was compiled.")
      .def_prop_ro(
          "level", [](const Tuning& t) { return std::string(tune_level_name(t.level)); },
          nb::sig("def level(self) -> typing.Literal[\"off\", \"fast\", \"full\"]"), "As it was asked for.")
      .def_ro("seconds", &Tuning::seconds, "That it took.")
      .def_ro(
          "gain", &Tuning::gain,
          "How much faster the steps that could be tuned are than with the vendor's first choices: 0.18 is\n"
          "18 % faster.")
      .def_ro("cached", &Tuning::cached, "All of it was known from an earlier load.")
      .def("__repr__", [](const Tuning& t) {
        return "<inflight.Tuning level=" + std::string(tune_level_name(t.level)) +
               " gain=" + std::to_string(t.gain) + ">";
      });
  nb::class_<PyStream>(module, "Stream",
                       "The frames of one camera or client, from Predictor.stream(). Any thread may use it.")
      .def_prop_ro("name", [](const PyStream& s) { return std::string(s.value.name()); })
      .def(
          "has_place", [](const PyStream& s) { return s.value.has_place(); },
          "Whether no limit stands in the way of a frame of it now: it would get a place, if need be that\n"
          "of one that may be dropped. Only another thread that submits can take the place first, or an\n"
          "automatic limit that falls.")
      .def(
          "statistics",
          [](const PyStream& s) {
            Statistics books = s.value.statistics();
            books.submitted -= s.slices_refused;
            books.rejected -= s.slices_refused;
            return books;
          },
          "The books of its own frames, as they are at this instant.")
      .def(
          "latency", [](const PyStream& s) { return s.value.latency(); },
          "From due to finished, of its completed predictions.")
      .def(
          "age", [](const PyStream& s) { return s.value.age(); },
          "How old its newest result was over time, from when that frame was due; counts microseconds.")
      .def("__repr__",
           [](const PyStream& s) { return "<inflight.Stream \"" + std::string(s.value.name()) + "\">"; });
}

}  // namespace inflight::python
