// SPDX-License-Identifier: Apache-2.0
// PrefetchedSource: decodes ahead on a thread of its own, so that a loop never waits on a decoder.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "inflight/clock.h"
#include "inflight/executor.h"
#include "media/source.h"

namespace inflight {

// What a look into the queue found.
struct Taken {
  enum class State {
    kFrame,   // `frame` is the next one
    kNotYet,  // nothing has been decoded since; there is more to come
    kEnd,     // every frame has been taken
    kError,   // every frame before `status` has been taken; no more will come
  };
  State state = State::kNotYet;
  VideoFrame frame;
  Status status;
};

// Owns a source and the thread that calls its next(). Frames come out in the source's order, none is lost,
// and an error comes after the frames before it; the end and the error are answered again each time. Of a
// live source only the newest frame waits with its pixels: those before it that nobody has taken lose theirs,
// and their `damage` is kOverloaded. So what is taken is never old, and every frame still comes out.
//   bound    `capacity` frames decoded ahead; the thread waits while they are there. Of a live source, one
//            frame with pixels and kLiveWithoutPixelsMax without; then the thread waits too, and frames are
//            lost in the device or on the way
class PrefetchedSource {
 public:
  static constexpr std::size_t kCapacityDefault = 8;
  static constexpr std::size_t kLiveWithoutPixelsMax = 65'536;

  // Starts decoding at once. Requires a source and a capacity of at least 1.
  explicit PrefetchedSource(std::unique_ptr<FrameSource> source, std::size_t capacity = kCapacityDefault);
  // Interrupts the source and joins the thread: returns soon, whatever the queue holds or the source waits
  // for.
  ~PrefetchedSource();
  PrefetchedSource(const PrefetchedSource&) = delete;
  PrefetchedSource& operator=(const PrefetchedSource&) = delete;

  // Never waits for a decoder.
  //   thread   any
  Taken try_next();
  // As try_next(), but waits for a frame, the end or an error until `deadline`; kNotYet when that has passed.
  //   thread   any
  Taken wait_next_until(TimePoint deadline);

  // Calls `hook` each time something to take (a frame, the end, an error) has come into an empty queue; at
  // once, on the calling thread, where something is there already. A loop that it wakes takes until kNotYet.
  // Replaces the hook before it, which is not running any more when this returns; an empty one takes it away.
  // No hook runs once the destructor has begun.
  //   hook     runs on the decoding thread: must be short (wake a loop) and must not call on_available()
  //   thread   any but the hook's own
  void on_available(UniqueFunction<void()> hook);

  // Ends the source early: the frames decoded so far can still be taken, then the end follows.
  //   thread   any
  void interrupt() noexcept;

  // The source's descriptions (fps, size, live, description), which any thread may read.
  const FrameSource& source() const noexcept { return *source_; }

 private:
  void decode();
  void put(Result<std::optional<VideoFrame>> result);
  Taken take_locked();

  const std::unique_ptr<FrameSource> source_;  // next() on the thread only
  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable space_;      // the thread waits for room
  std::condition_variable available_;  // takers wait for something to take
  std::deque<VideoFrame> frames_;      // guarded by mutex_
  bool ended_ = false;                 // guarded by mutex_: no more frames will be put
  Status status_;                      // guarded by mutex_: why, where it was an error
  bool stopping_ = false;              // guarded by mutex_
  std::mutex hook_mutex_;        // held while the hook runs; taken before mutex_, never while it is held
  UniqueFunction<void()> hook_;  // guarded by hook_mutex_
  std::thread thread_;
};

}  // namespace inflight
