// SPDX-License-Identifier: Apache-2.0
// What a Predictor is inside: the places, the queue, the slots with their threads, and the books.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "inflight/internal/event_fd.h"
#include "inflight/predictor.h"
#include "predictor/admission.h"
#include "predictor/arrival_watch.h"
#include "predictor/slot.h"

namespace inflight::internal {

// Threads: where launch() blocks, one worker a slot; otherwise one launcher and one poller. None of them runs
// code of the user's, unless the user gave an inline executor. Lives as long as a handle to one of its
// predictions does; its threads end with shutdown().
class PredictorCore : public std::enable_shared_from_this<PredictorCore> {
 public:
  PredictorCore(PredictorOptions options, std::shared_ptr<Backend> backend, std::shared_ptr<Program> program);

  // Binds and warms up the slots and starts the threads. Once, before anything else.
  Status start();

  Result<Prediction> submit(Frame&& frame);
  void take_finished(std::vector<Prediction>& finished);
  bool wait_any(const TimePoint* until);
  Result<int> event_fd();
  void close_event_fd();
  void drain();
  void shutdown(Shutdown how);
  bool cancel(PredictionState& state);
  Statistics statistics() const;
  Duration retry_after() const;

  std::span<const TensorSpec> inputs() const noexcept { return inputs_; }
  std::span<const TensorSpec> outputs() const noexcept { return outputs_; }
  std::string device_description() const { return backend_->device_description(); }
  int slots() const noexcept { return slots_count_; }

  // A state comes back when its last handle goes.
  void recycle(PredictionState* state) noexcept;
  ~PredictorCore();

 private:
  friend class PredictionState::InputWaiter;
  using Lock = std::unique_lock<std::mutex>;
  // How a frame that has been queued finds a thread: the watch, awake or soon to be, sees it; the watch, long
  // asleep, is woken before its time; another sleeper is woken, if there is one.
  enum class Wake : std::uint8_t { kWatchAwake, kWatchAsleep, kOther };

  // Submission (predictor_core.cc).
  Lock lock_awake();
  Status check_fits(const Frame& frame) const;
  Result<PredictionState*> admit(const Status& fits);
  void fill(PredictionState& state, Frame& frame);
  void await_inputs(PredictionState& state);
  void input_came(PredictionState& state);
  void enqueue(PredictionState& state, Stage stage);
  Wake choose_wake(TimePoint now);
  void wake(Wake whom);
  bool give_up(PredictionState& state, Stage stage);
  void let_go_of_inputs(PredictionState& state);

  // Running (predictor_threads.cc).
  void work(Slot& slot);
  void launch_loop();
  void launch_next(Slot& slot, Lock& lock);
  void wait_for_work(Lock& lock);
  void keep_watch(TimePoint began, TimePoint until, Lock& lock);
  void poll_loop();
  bool poll_once(std::vector<Slot*>& active);
  void fail_all(std::vector<Slot*>& active, const Status& why);
  void complete(Slot& slot);

  // The end of every admitted frame: frees its place and its slot, settles the books, publishes, then tells.
  //   slot   where it ran, to be handed to the launcher again; null where there is none to hand back
  void finish(PredictionState& state, Slot* slot, Outcome outcome, const Status& status);

  const PredictorOptions options_;
  const std::vector<TensorSpec> inputs_;
  const std::vector<TensorSpec> outputs_;
  const std::shared_ptr<Backend> backend_;
  std::shared_ptr<Program> program_;
  BufferPool output_pool_;
  const Status full_;       // made once: refusing allocates nothing
  const Status untaken_;    // likewise
  const Status shut_down_;  // likewise
  int slots_count_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable work_;      // a prediction or a slot became free for the other, or stopping_
  std::condition_variable watch_;     // whoever holds the watch, asleep, is called, or stopping_
  std::condition_variable place_;     // a place became free, or shutting_down_
  std::condition_variable finished_;  // something finished
  // Guarded by mutex_.
  Statistics statistics_;
  std::uint64_t next_id_ = 0;
  // A share in each: a prediction in flight has one of the core's, one that waits to be taken has one of
  // done_'s.
  StateList awaiting_;  // inputs still to come
  StateList queued_;    // inputs there, waiting for a slot
  StateList done_;      // finished, waiting to be taken
  std::size_t untaken_count_ = 0;
  EventFd event_fd_;               // raised exactly while untaken_count_ > 0
  std::vector<Slot*> free_slots_;  // of the launcher; workers keep theirs
  std::vector<PredictionState*> idle_states_;
  Duration service_mean_{0};
  ArrivalWatch arrivals_;
  // Some waiter of work_'s (a worker, or the launcher) holds the watch: it waits as arrivals_ says, asleep in
  // watch_ until watch_from_, or awake (min()). The first frame calls it, the others are not its own.
  bool watch_held_ = false;
  bool watch_called_ = false;
  TimePoint watch_from_;
  bool shutting_down_ = false;
  bool cancelling_ = false;
  bool stopping_ = false;  // the threads are to end

  // Calls whoever is awake on watch. Stored after the lock is released, so it may come late, to the next
  // watch: one that is called for nothing looks, and begins again.
  std::atomic<bool> watch_call_{false};

  // From the launcher to the poller.
  std::mutex launched_mutex_;
  std::condition_variable launched_wake_;
  std::vector<Slot*> launched_;  // guarded by launched_mutex_
  bool polling_ends_ = false;    // guarded by launched_mutex_
  std::atomic<bool> any_launched_{false};

  std::mutex ending_mutex_;  // one shutdown joins, the others wait for it
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<std::thread> threads_;
};

}  // namespace inflight::internal
