// SPDX-License-Identifier: Apache-2.0
// inflight.open_source: the program's own sources of frames, paced.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include "errors.h"
#include "media/open_source.h"
#include "media/pacing.h"
#include "media/prefetch.h"
#include "types.h"
#include "waiting.h"

namespace inflight::python {
namespace {

// inflight.VideoFrame
struct PyFrame {
  std::optional<Array> array;  // none where it is damaged
  std::int64_t index = 0;
  std::optional<int> label;
  TimePoint due;
  std::optional<double> pts;
  std::optional<std::string> file;
  Status damage;
};

// A descriptor that the decoding thread writes when there is something to take, for asyncio.
class Wakeup {
 public:
  Wakeup() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (fd_ < 0) {
      raise(Status(StatusCode::kOutOfMemory, "eventfd: " + std::generic_category().message(errno)));
    }
  }
  ~Wakeup() { ::close(fd_); }
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;
  int fd() const noexcept { return fd_; }
  void raise_it() const noexcept {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(fd_, &one, sizeof(one)));
  }
  void lower() const noexcept {
    std::uint64_t count = 0;
    static_cast<void>(!::read(fd_, &count, sizeof(count)));
  }

 private:
  const int fd_;
};

class PySource final : public Closable {
 public:
  PySource(std::unique_ptr<FrameSource> source, FrameRate rate, std::optional<Duration> duration)
      : source_(new PrefetchedSource(std::move(source)), DeleteWithoutGil<PrefetchedSource>()),
        live_(source_->source().live()),
        pacer_(rate, steady_clock()),
        duration_(duration) {
    list();
  }
  ~PySource() override {
    unlist();
    close();
  }
  void close() noexcept override {
    std::shared_ptr<PrefetchedSource> ending = std::exchange(source_, nullptr);
    if (ending == nullptr) return;
    if (forked()) {
      static_cast<void>(new (std::nothrow) std::shared_ptr<PrefetchedSource>(std::move(ending)));
      return;
    }
    ending->interrupt();
    ending.reset();
  }

  std::shared_ptr<PrefetchedSource> get() const {
    check_usable();
    if (source_ == nullptr) raise(Status(StatusCode::kShuttingDown, "the source is closed"));
    return source_;
  }
  bool closed() const noexcept { return source_ == nullptr; }

  // The next frame as soon as it is due; nothing at the end. Blocks without the GIL.
  std::optional<PyFrame> next() {
    const std::shared_ptr<PrefetchedSource> source = get();
    if (over()) return std::nullopt;
    Taken taken;
    static_cast<void>(wait_in_slices(TimePoint::max(), [&](TimePoint until) {
      taken = source->wait_next_until(until);
      return taken.state != Taken::State::kNotYet;
    }));
    std::optional<PyFrame> frame = accept(std::move(taken));
    if (!frame) return frame;
    const TimePoint due = frame->due;
    static_cast<void>(wait_in_slices(due, [&](TimePoint until) {
      steady_clock().sleep_until(until);
      return until == due;
    }));
    return frame;
  }

  // For asyncio: a frame, which may be due later; or "wait": nothing has been decoded yet, see wakeup(); or
  // nothing.
  nb::object poll() {
    const std::shared_ptr<PrefetchedSource> source = get();
    if (over()) return nb::none();
    if (wakeup_ != nullptr) wakeup_->lower();
    Taken taken = source->try_next();
    if (taken.state == Taken::State::kNotYet) return nb::str("wait");
    std::optional<PyFrame> frame = accept(std::move(taken));
    return frame ? nb::cast(*std::move(frame)) : nb::none();
  }
  int wakeup() {
    const std::shared_ptr<PrefetchedSource> source = get();
    if (wakeup_ == nullptr) {
      wakeup_ = std::make_shared<Wakeup>();
      const WithoutGil release;
      source->on_available([shared = wakeup_] { shared->raise_it(); });
    }
    return wakeup_->fd();
  }

 private:
  bool over() const {
    if (ended_ || !duration_ || !started_) return ended_;
    if (!live_ && !pacer_.unpaced()) return pacer_.due(next_) - pacer_.start() >= *duration_;
    return steady_clock().now() - pacer_.start() >= *duration_;
  }

  std::optional<PyFrame> accept(Taken taken) {
    if (taken.state == Taken::State::kError) raise(taken.status);
    if (taken.state != Taken::State::kFrame) {
      ended_ = true;
      return std::nullopt;
    }
    if (!std::exchange(started_, true)) pacer_.restart();  // what a decoder needs to get going is no delay
    VideoFrame& video = taken.frame;
    PyFrame frame;
    frame.index = video.index;
    frame.label = video.label;
    frame.due = live_ ? steady_clock().now() : pacer_.due(next_);
    ++next_;
    if (video.pts) frame.pts = seconds_of(*video.pts);
    if (video.file != nullptr) frame.file = *video.file;
    frame.damage = video.damage;
    if (video.damage.ok()) {
      frame.array.emplace(
          take(NDArray::from_buffer(video.pixels, DType::kU8, Shape{video.height, video.width, 3})));
    }
    return frame;
  }

  std::shared_ptr<PrefetchedSource> source_;
  const bool live_;
  Pacer pacer_;
  const std::optional<Duration> duration_;
  std::int64_t next_ = 0;
  bool started_ = false;
  bool ended_ = false;
  std::shared_ptr<Wakeup> wakeup_;
};

PySource* open(nb::handle text, std::optional<double> fps, std::uint64_t seed, bool rotate,
               std::optional<double> duration) {
  check_startable();
  const std::string words = path_from(text, "source");
  std::optional<FrameRate> wanted;
  if (fps) wanted = take(FrameRate::from_double(*fps));
  std::optional<Duration> length;
  if (duration) length = duration_from(*duration, "duration");
  SourceOptions options;
  options.seed = seed;
  options.rotate = rotate;
  Result<std::unique_ptr<FrameSource>> opened = [&] {
    const WithoutGil release;
    return open_source(words, options);
  }();
  std::unique_ptr<FrameSource> source = take(std::move(opened));
  if (source->live() && fps) raise_invalid("fps: a live source has its own rate; want None");
  const FrameRate rate = wanted ? *wanted : take(FrameRate::from_double(source->live() ? 0 : source->fps()));
  return new PySource(std::move(source), rate, length);  // Python's
}

const FrameSource& described(const std::shared_ptr<PrefetchedSource>& source) { return source->source(); }

void bind_frame(nb::module_& module) {
  nb::class_<PyFrame>(
      module, "VideoFrame", nb::is_weak_referenceable(),
      "One picture of a source. Predictor.submit takes it as it is, without a copy, with its due time.")
      .def_prop_ro(
          "array",
          [](const PyFrame& f) {
            check(f.damage);
            return Array(NDArray(f.array->value));
          },
          "u8[H,W,3], RGB. Raises why the picture cannot be used, where it is damaged.")
      .def_prop_ro(
          "image",
          [](const PyFrame& f) {
            check(f.damage);
            return numpy_view(nb::cast(Array(NDArray(f.array->value))));
          },
          nb::sig("def image(self) -> inflight._types.Image"),
          "The same as a read-only NumPy view u8[H,W,3], without a copy.")
      .def_ro("index", &PyFrame::index,
              "0 for the first frame of the source, then one more each; a lost one leaves a gap.")
      .def_ro("label", &PyFrame::label,
              "What is to be seen, where the source knows: an index of SHAPE_NAMES (synthetic).")
      .def_prop_ro(
          "due", [](const PyFrame& f) { return seconds_of(f.due); },
          "When it was due, in seconds of time.monotonic(); of a live source, when it came.")
      .def_ro("pts", &PyFrame::pts,
              "When it is shown, in seconds, where the media says; 0 for the first frame.")
      .def_ro("file", &PyFrame::file, "Which file of a folder it is.")
      .def_prop_ro(
          "damage",
          [](const PyFrame& f) -> nb::object { return f.damage.ok() ? nb::none() : to_exception(f.damage); },
          nb::sig("def damage(self) -> inflight.errors.Error | None"),
          "Why this picture cannot be used, not raised; None where it can.")
      .def("__repr__", [](const PyFrame& f) {
        return "<inflight.VideoFrame " + std::to_string(f.index) +
               (f.array ? " u8" + f.array->value.shape().to_string() : " damaged") + ">";
      });
}

}  // namespace

std::optional<TimePoint> frame_due(nb::handle object) {
  const auto* frame = as<PyFrame>(object);
  if (frame == nullptr) return std::nullopt;
  return frame->due;
}

std::optional<NDArray> frame_array(nb::handle object) {
  const auto* frame = as<PyFrame>(object);
  if (frame == nullptr) return std::nullopt;
  check(frame->damage);
  return frame->array->value;
}

void bind_sources(nb::module_& module) {
  bind_frame(module);
  nb::class_<PySource>(module, "Source", nb::is_weak_referenceable(),
                       "Frames of a generator, a file, a folder or a camera, paced: an iterator and an "
                       "asynchronous iterator of\n"
                       "VideoFrame. One consumer at a time. A thread of its own decodes 8 frames ahead. Also "
                       "a context manager.")
      .def(
          "__iter__", [](nb::object self) { return self; }, nb::sig("def __iter__(self) -> typing.Self"))
      .def(
          "__next__",
          [](PySource& self) {
            std::optional<PyFrame> frame = self.next();
            if (!frame) throw nb::stop_iteration();
            return *std::move(frame);
          },
          "The next frame, once it is due; at once where that has passed: none is left out. Without the GIL; "
          "Ctrl-C\n"
          "ends it. InvalidMediaError, DeviceError: the source ends here.")
      .def(
          "__aiter__", [](nb::object self) { return self; }, nb::sig("def __aiter__(self) -> typing.Self"))
      .def(
          "__anext__", [](nb::object self) { return asyncio_helper("next_frame")(self); },
          nb::sig("def __anext__(self) -> collections.abc.Coroutine[typing.Any, typing.Any, VideoFrame]"))
      .def("_poll", &PySource::poll, nb::sig("def _poll(self) -> VideoFrame | str | None"))
      .def("_wakeup", &PySource::wakeup)
      .def(
          "close",
          [](nb::handle self) {
            nb::inst_ptr<PySource>(self)->close();
            asyncio_helper("wake_finished")(self);
          },
          "Ends it: joins the decoding thread, whatever that waits for.")
      .def_prop_ro("closed", &PySource::closed)
      .def_prop_ro(
          "fps", [](PySource& s) { return described(s.get()).fps(); },
          "Frames a second at which the source itself is meant to be shown; 0 where it has no rate.")
      .def_prop_ro(
          "height", [](PySource& s) { return described(s.get()).height(); }, "Of the first frame, in pixels.")
      .def_prop_ro(
          "width", [](PySource& s) { return described(s.get()).width(); }, "Of the first frame, in pixels.")
      .def_prop_ro(
          "live", [](PySource& s) { return described(s.get()).live(); },
          "True where frames come when they like and are lost when nobody takes them (a camera).")
      .def_prop_ro(
          "description", [](PySource& s) { return described(s.get()).description(); }, "For people.")
      .def_prop_ro(
          "skipped", [](PySource& s) { return described(s.get()).losses().skipped; },
          "Damaged frames that were left out, so far.")
      .def_prop_ro(
          "notes", [](PySource& s) { return described(s.get()).losses().notes; },
          "What is to be said about losses, a line each.")
      .def(
          "__enter__", [](nb::object self) { return self; }, nb::sig("def __enter__(self) -> typing.Self"))
      .def(
          "__exit__", [](PySource& self, nb::handle, nb::handle, nb::handle) { self.close(); },
          nb::arg("type").none(), nb::arg("value").none(), nb::arg("traceback").none(),
          nb::sig("def __exit__(self, type: object, value: object, traceback: object) -> None"));
  module.def(
      "open_source", open, nb::arg("source").none(), nb::kw_only(), nb::arg("fps") = nb::none(),
      nb::arg("seed") = 1, nb::arg("rotate") = true, nb::arg("duration") = nb::none(),
      nb::sig("def open_source(source: str | os.PathLike[str], *, fps: float | None = None, seed: int = 1, "
              "rotate: "
              "bool = True, duration: float | None = None) -> Source"),
      "Opens `synthetic` (640x480, 60 frames a second), a video or picture file, a folder of pictures, or a\n"
      "capture device (/dev/video0).\n\n"
      "fps       frames a second; None: the source's own; 0: as fast as they are taken\n"
      "seed      of the synthetic source\n"
      "rotate    turns frames as their file asks\n"
      "duration  seconds; None: until the source ends\n\n"
      "NotFoundError, InvalidMediaError, UnsupportedError, DeviceError, InvalidArgumentError. The GIL is "
      "released.");
}

}  // namespace inflight::python
