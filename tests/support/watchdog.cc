// SPDX-License-Identifier: Apache-2.0
// A timer of the kernel sends a signal when a test has run for too long. The handler makes every thread print
// its own stack, one after the other, and ends the program. The watchdog has no thread of its own: death
// tests fork, and some tests count threads. Once the signal has come, nothing here allocates or locks,
// because a thread that hangs may hold any lock. It is built without sanitizers for the same reason.
#include "support/watchdog.h"

#include <execinfo.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

// glibc's own function, which ThreadSanitizer does not intercept. ThreadSanitizer delays handlers until the
// thread makes a call that it intercepts, and a thread that hangs makes none.
extern "C" int __sigaction(int signal, const struct sigaction* action, struct sigaction* old) noexcept;
// Symbols of the linker: where the program begins and ends.
extern "C" const char __executable_start;
extern "C" const char _end;

namespace inflight {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAnswerMax{500};  // how long a thread gets to print its stack

struct Stack {
  pid_t thread = 0;
  int count = 0;
  std::array<void*, 64> frames{};
  void* interrupted_at = nullptr;
};

timer_t timer;
void* limit_came_at = nullptr;  // in the thread that got the signal
bool installed = false;
int output = -1;  // the first standard error: death tests put a file in its place
milliseconds limit_now;
std::array<char, 200> test_name;
std::array<Stack, 64> stacks;  // one a thread, and none for those past the last
std::atomic<bool> claimed{false};
std::atomic<int> asked{0};     // stack number asked for; the thread that is asked fills it in
std::atomic<int> answered{0};  // and says so here

int limit_signal() { return SIGRTMAX - 1; }
int stack_signal() { return SIGRTMAX - 2; }

template <typename... Args>
void print(const char* format, Args... args) {
  std::array<char, 300> text;
  const int length = std::snprintf(text.data(), text.size(), format, args...);
  if (write(output, text.data(), std::min<std::size_t>(static_cast<std::size_t>(length), text.size() - 1)) <
      0)
    return;
}

void sleep_for(milliseconds time) {
  const timespec wanted{time.count() / 1000, time.count() % 1000 * 1'000'000};
  nanosleep(&wanted, nullptr);
}

void print_own_stack(int number) {
  Stack& stack = stacks[static_cast<std::size_t>(number)];
  stack.count = backtrace(stack.frames.data(), static_cast<int>(stack.frames.size()));
  backtrace_symbols_fd(stack.frames.data(), stack.count, output);
}

// Where the signal came in; null where this processor is not known here.
void* interrupted_at([[maybe_unused]] const void* context) {
#if defined(__x86_64__)
  return reinterpret_cast<void*>(static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return reinterpret_cast<void*>(static_cast<const ucontext_t*>(context)->uc_mcontext.pc);
#else
  return nullptr;
#endif
}

void on_stack_signal(int, siginfo_t*, void* context) {
  const int error = errno;
  stacks[static_cast<std::size_t>(asked.load())].interrupted_at = interrupted_at(context);
  print_own_stack(asked.load());
  answered.store(asked.load());
  errno = error;
}

void print_thread(pid_t thread, int number) {
  std::array<char, 64> path;
  std::snprintf(path.data(), path.size(), "/proc/self/task/%d/comm", static_cast<int>(thread));
  std::array<char, 20> name{};
  if (const int file = open(path.data(), O_RDONLY | O_CLOEXEC); file >= 0) {
    if (read(file, name.data(), name.size() - 1) <= 0) name[0] = '\0';
    close(file);
  }
  name[std::strcspn(name.data(), "\n")] = '\0';
  print("\nthread %d \"%s\":\n", static_cast<int>(thread), name.data());
  stacks[static_cast<std::size_t>(number)].thread = thread;
  if (thread == gettid()) {
    stacks[static_cast<std::size_t>(number)].interrupted_at = limit_came_at;
    print_own_stack(number);
    return;
  }
  asked.store(number);
  if (syscall(SYS_tgkill, getpid(), thread, stack_signal()) != 0) return;  // it has just ended
  for (milliseconds waited{0}; answered.load() != number; waited += milliseconds(1)) {
    if (waited > kAnswerMax) {
      print("  (does not answer)\n");
      return;
    }
    sleep_for(milliseconds(1));
  }
}

// Calls `visit` with each thread of this process. readdir() allocates.
template <typename Visit>
void for_each_thread(Visit visit) {
  const int folder = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  struct Entry {  // linux_dirent64
    std::uint64_t inode;
    std::int64_t offset;
    std::uint16_t length;
    std::uint8_t type;
    char name[1];
  };
  alignas(Entry) static std::array<char, 32768> entries;
  long bytes = 0;
  while ((bytes = syscall(SYS_getdents64, folder, entries.data(), entries.size())) > 0) {
    for (long at = 0; at < bytes;) {
      const auto* const entry = reinterpret_cast<const Entry*>(entries.data() + at);
      if (entry->name[0] != '.') visit(static_cast<pid_t>(std::strtol(entry->name, nullptr, 10)));
      at += entry->length;
    }
  }
  close(folder);
}

// Prints the same stack as places in the source, which also names functions that are in unnamed namespaces or
// were inlined. Needs binutils; prints nothing without it.
void print_places(const Stack& stack, char* program) {
  static std::array<std::array<char, 20>, 64> texts;
  static std::array<char*, 70> arguments;
  static char tool[] = "addr2line", options[] = "-Cfipse";
  std::size_t count = 0;
  for (char* argument : {tool, options, program}) arguments[count++] = argument;
  const std::size_t fixed = count;
  for (int i = 0; i < stack.count; ++i) {
    const auto* const at = static_cast<const char*>(stack.frames[static_cast<std::size_t>(i)]);
    if (at < &__executable_start || at >= &_end) continue;
    std::array<char, 20>& text = texts[static_cast<std::size_t>(i)];
    // A call stands before the address that it returns to, but the instruction that a signal interrupted may
    // be the first of its function.
    const int before = at == stack.interrupted_at ? 0 : 1;
    std::snprintf(text.data(), text.size(), "0x%lx",
                  static_cast<unsigned long>(at - before - &__executable_start));
    arguments[count++] = text.data();
  }
  arguments[count] = nullptr;
  if (count == fixed) return;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  print("\nthread %d:\n", static_cast<int>(stack.thread));
  pid_t child = 0;
  if (posix_spawnp(&child, tool, &actions, nullptr, arguments.data(), environ) == 0)
    waitpid(child, nullptr, 0);
}

void on_limit(int, siginfo_t*, void* context) {
  if (claimed.exchange(true)) {
    while (true) pause();
  }
  limit_came_at = interrupted_at(context);
  print("\nwatchdog: %s has run for more than %lld ms. The stacks of all threads:\n", test_name.data(),
        static_cast<long long>(limit_now.count()));
  int threads = 0;
  for_each_thread([&](pid_t thread) {
    ++threads;
    if (threads < static_cast<int>(stacks.size())) print_thread(thread, threads);
  });
  if (threads >= static_cast<int>(stacks.size())) print("\nand those of %d more threads\n", threads - 63);
  print("\nwatchdog: the same as places in the source:\n");
  static std::array<char, 4096> program{};
  if (readlink("/proc/self/exe", program.data(), program.size() - 1) > 0) {
    for (const Stack& stack : stacks) {
      if (stack.count > 0) print_places(stack, program.data());
    }
  }
  print("\nwatchdog: FAILED: %s exceeded its limit of %lld ms\n", test_name.data(),
        static_cast<long long>(limit_now.count()));
  _exit(1);
}

void arm(milliseconds limit) {
  if (!installed) return;
  limit_now = limit;
  itimerspec wanted{};
  wanted.it_value = {limit.count() / 1000, limit.count() % 1000 * 1'000'000};
  timer_settime(timer, 0, &wanted, nullptr);
}

class Watchdog final : public testing::EmptyTestEventListener {
 public:
  void OnTestStart(const testing::TestInfo& test) override {
    name(test.test_suite_name(), test.name(), "");
    arm(kTestLimit);
  }
  void OnTestEnd(const testing::TestInfo& test) override {
    name(test.test_suite_name(), test.name(), ", or what comes after it,");
    arm(kTestLimit);
  }

 private:
  static void name(const char* suite, const char* test, const char* after) {
    arm(milliseconds(0));
    std::snprintf(test_name.data(), test_name.size(), "%s.%s%s", suite, test, after);
  }
};

void handle(int signal, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_RESTART | SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  __sigaction(signal, &action, nullptr);
}

void install_watchdog() {
  output = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  void* frame = nullptr;
  backtrace(&frame, 1);  // loads the unwinder, which allocates
  handle(limit_signal(), on_limit);
  handle(stack_signal(), on_stack_signal);
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = limit_signal();
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) {
    std::perror("watchdog: timer_create");
    std::exit(1);
  }
  installed = true;
  // The child of a death test has no timer, and must not outlive its parent.
  pthread_atfork(nullptr, nullptr, [] { prctl(PR_SET_PDEATHSIG, SIGKILL); });
  testing::UnitTest::GetInstance()->listeners().Append(new Watchdog);
}

}  // namespace

void limit_test_to(milliseconds limit) { arm(limit); }

}  // namespace inflight

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  // That flag is for debuggers, in which a test may take any time.
  if (!testing::GTEST_FLAG(break_on_failure)) inflight::install_watchdog();
  return RUN_ALL_TESTS();
}
