// SPDX-License-Identifier: Apache-2.0
// One thread, one epoll: a timer stands for the camera, the predictor's descriptor for its results. Nothing
// polls and nothing blocks but epoll_wait; GLib's and asyncio's loops take the same descriptor.
#include <inflight/inflight.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <vector>

namespace {

constexpr std::uint64_t kFrames = 50;
constexpr long kPeriodNs = 1'000'000;

int fail(const char* what) {
  std::perror(what);
  return 1;
}

inflight::Result<inflight::Predictor> make_predictor() {
  INFLIGHT_TRY_ASSIGN(const auto model, inflight::Model::opaque("copy", {{"x", inflight::DType::kU8, {4}}},
                                                                {{"y", inflight::DType::kU8, {4}}}));
  return inflight::Predictor::create(model, {.device = inflight::Device::null()});
}

// What the loop does with its two sources.
class Loop {
 public:
  explicit Loop(inflight::Predictor& predictor) : predictor_(predictor) {}

  // The camera: as many frames as periods have passed.
  void timer_ticked(int timer) {
    std::uint64_t periods = 0;
    if (::read(timer, &periods, sizeof(periods)) != static_cast<ssize_t>(sizeof(periods))) return;
    for (; periods > 0 && submitted_ < kFrames; --periods, ++submitted_) {
      const std::vector<std::uint8_t> pixels(4, static_cast<std::uint8_t>(submitted_));
      const auto array = inflight::NDArray::copy_of({pixels.data(), inflight::DType::kU8, {4}}).value();
      if (!predictor_.submit(inflight::Frame::of(array, submitted_)).ok()) ++refused_;
    }
  }

  // The results: the descriptor stays readable until all of them have been taken.
  void predictions_finished() {
    predictor_.take_finished(finished_);
    for (const inflight::Prediction& prediction : finished_) {
      const auto values = prediction.output(0).read();
      const bool right = values.ok() && (*values->as<std::uint8_t>())[0] == prediction.tag();
      ++(right ? results_ : wrong_);
    }
  }

  bool done() const { return results_ + wrong_ + refused_ == kFrames; }
  int report() const {
    std::printf("%lu frames: %lu results, %lu wrong, %lu refused\n", submitted_, results_, wrong_, refused_);
    return wrong_ == 0 ? 0 : 1;
  }

 private:
  inflight::Predictor& predictor_;
  std::vector<inflight::Prediction> finished_;
  std::uint64_t submitted_ = 0, refused_ = 0, results_ = 0, wrong_ = 0;
};

bool watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;  // level triggered
  event.data.fd = fd;
  return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

int main() {
  auto predictor = make_predictor();
  if (!predictor.ok()) {
    std::fprintf(stderr, "epoll_loop: %s\n", predictor.status().to_string().c_str());
    return 1;
  }
  const auto results = predictor->event_fd();
  if (!results.ok()) {
    std::fprintf(stderr, "epoll_loop: %s\n", results.status().to_string().c_str());
    return 1;
  }
  const int timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  const itimerspec period{{0, kPeriodNs}, {0, kPeriodNs}};
  if (timer < 0 || ::timerfd_settime(timer, 0, &period, nullptr) != 0) return fail("timerfd");
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0 || !watch(epoll, timer) || !watch(epoll, *results)) return fail("epoll");

  Loop loop(*predictor);
  while (!loop.done()) {
    epoll_event events[2];
    const int count = ::epoll_wait(epoll, events, 2, -1);
    if (count < 0 && errno != EINTR) return fail("epoll_wait");
    for (int i = 0; i < count; ++i) {
      if (events[i].data.fd == timer) loop.timer_ticked(timer);
      if (events[i].data.fd == *results) loop.predictions_finished();
    }
  }
  ::close(epoll);
  ::close(timer);
  return loop.report();
}
