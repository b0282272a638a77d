// SPDX-License-Identifier: Apache-2.0
#include "base/in_parallel.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/scheduling.h"
#include "base/user_code.h"

namespace inflight::internal {

Status in_parallel(std::size_t count, const std::function<Status(std::size_t)>& work, std::size_t threads) {
  if (threads == 0) threads = static_cast<std::size_t>(usable_processors());
  std::vector<Status> results(count);
  std::atomic<std::size_t> next{0};
  const auto run = [&] {
    for (std::size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1))
      results[i] = call_user([&] { return work(i); });
  };
  std::vector<std::thread> others;
  others.reserve(std::min(count, threads));
  try {
    for (std::size_t i = 1; i < std::min(count, threads); ++i) others.emplace_back(run);
  } catch (const std::system_error&) {  // the threads that there are do all of it
  } catch (const std::bad_alloc&) {     // the same
  }
  run();
  for (std::thread& thread : others) thread.join();
  for (Status& result : results) INFLIGHT_TRY(std::move(result));
  return Status();
}

}  // namespace inflight::internal
