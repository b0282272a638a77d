// SPDX-License-Identifier: Apache-2.0
// inflight.Engine and Var: closures in Python that run in the order of what they read and write.
#include "inflight/engine.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <memory>
#include <string>
#include <thread>

#include "errors.h"
#include "types.h"
#include "waiting.h"

namespace inflight::python {
namespace {

// How deep this thread is in operations of engines. Who is in one cannot wait for an engine's end.
thread_local int in_operation = 0;

struct PyVar : Kept<Var> {
  using Kept::Kept;
};

struct PyToken : Kept<OpToken> {
  using Kept::Kept;
};

// Joins the engine's threads, which may want the GIL to end what they run.
struct DeleteEngine {
  void operator()(Engine* engine) const noexcept {
    if (in_operation > 0) {
      // A thread of an engine cannot wait for itself.
      try {
        std::thread([engine] { delete engine; }).detach();
      } catch (...) {  // no thread is left: the engine stays
      }
      return;
    }
    const WithoutGil release;
    delete engine;
  }
};

class PyEngine final : public Closable {
 public:
  explicit PyEngine(std::unique_ptr<Engine> engine) : engine_(engine.release(), DeleteEngine()) { list(); }
  ~PyEngine() override {
    unlist();
    end(Shutdown::kDrain);
  }
  void close() noexcept override { end(Shutdown::kCancel); }

  std::shared_ptr<Engine> get() const {
    check_usable();
    if (engine_ == nullptr) raise(Status(StatusCode::kShuttingDown, "the engine is closed"));
    return engine_;
  }

 private:
  void end(Shutdown how) noexcept {
    std::shared_ptr<Engine> ending = std::exchange(engine_, nullptr);
    if (ending == nullptr) return;
    if (forked()) {
      static_cast<void>(new (std::nothrow) std::shared_ptr<Engine>(std::move(ending)));
      return;
    }
    {
      const WithoutGil release;
      ending->shutdown(how);
    }
    ending.reset();
    drain_releases();
  }

  std::shared_ptr<Engine> engine_;
};

template <typename Call>
Status run_python(Call&& call) {
  const nb::gil_scoped_acquire gil;
  if (!gil.is_valid()) return Status(StatusCode::kShuttingDown, "the interpreter ends");
  drain_releases();
  ++in_operation;
  Status status;
  try {
    call();
  } catch (nb::python_error& raised) {
    status = status_of(raised);
  }
  --in_operation;
  drain_releases();
  return status;
}

VarList vars_from(nb::handle sequence, const char* what) {
  VarList vars;
  for (nb::handle item : nb::iter(sequence)) {
    if (PyVar* const var = as<PyVar>(item); var != nullptr) {
      vars.push_back(var->value);
    } else if (Array* const array = as<Array>(item); array != nullptr) {
      vars.push_back(array->value.var());
    } else {
      raise_type(what, item, "an inflight.Var, or an inflight.NDArray to read");
    }
  }
  return vars;
}

OpOptions options_from(nb::handle reads, nb::handle writes, int priority, nb::object on_finish) {
  OpOptions options;
  options.reads = vars_from(reads, "reads");
  options.writes = vars_from(writes, "writes");
  options.priority = priority;
  if (!on_finish.is_none()) {
    if (PyCallable_Check(on_finish.ptr()) == 0) raise_type("on_finish", on_finish, "a callable");
    options.on_finish = [fn = HeldPtr(new Held(on_finish.release().ptr()))](const Status& status) {
      const Status called =
          run_python([&] { nb::handle(fn->object())(status.ok() ? nb::none() : to_exception(status)); });
      if (!called.ok()) throw std::runtime_error(std::string(called.message()));
    };
  }
  return options;
}

HeldPtr closure_from(nb::object fn) {
  if (PyCallable_Check(fn.ptr()) == 0) raise_type("fn", fn, "a callable");
  return HeldPtr(new Held(fn.release().ptr()));
}

void push(PyEngine& self, nb::object fn, nb::handle reads, nb::handle writes, int priority,
          nb::object on_finish) {
  const std::shared_ptr<Engine> engine = self.get();
  drain_releases();
  OpOptions options = options_from(reads, writes, priority, std::move(on_finish));
  Engine::Closure closure = [held = closure_from(std::move(fn))] {
    return run_python([&] { nb::handle(held->object())(); });
  };
  Status pushed;
  {
    const WithoutGil release;
    pushed = engine->push(std::move(closure), std::move(options));
  }
  check(pushed);
}

void push_async(PyEngine& self, nb::object fn, nb::handle reads, nb::handle writes, int priority,
                nb::object on_finish) {
  const std::shared_ptr<Engine> engine = self.get();
  drain_releases();
  OpOptions options = options_from(reads, writes, priority, std::move(on_finish));
  Engine::AsyncClosure closure = [held = closure_from(std::move(fn))](OpToken token) {
    // The token goes to Python; where the call fails before that, it ends here with what was raised.
    const Status called = run_python([&] {
      nb::object python_token = nb::cast(PyToken(std::move(token)));
      try {
        nb::handle(held->object())(python_token);
      } catch (nb::python_error& raised) {
        OpToken left = std::move(nb::inst_ptr<PyToken>(python_token)->value);
        const Status status = status_of(raised);
        if (left) {
          const WithoutGil release;
          left.complete(status);
        }
      }
    });
    if (!called.ok() && token) token.complete(called);
  };
  Status pushed;
  {
    const WithoutGil release;
    pushed = engine->push_async(std::move(closure), std::move(options));
  }
  check(pushed);
}

void complete(PyToken& self, nb::handle error) {
  check_usable();
  OpToken token = std::move(self.value);
  if (!token) raise_invalid("complete: the operation has been ended already");
  Status status;
  if (!error.is_none()) {
    if (PyExceptionInstance_Check(error.ptr()) == 0) {
      self.value = std::move(token);
      raise_type("error", error, "None or an exception");
    }
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
    status = status_of_exception();
  }
  const WithoutGil release;
  token.complete(std::move(status));
}

void not_in_operation(const char* what) {
  if (in_operation > 0) raise_invalid(std::string(what) + ": an operation cannot wait for an engine's end");
}

}  // namespace

void bind_engines(nb::module_& module) {
  nb::class_<PyVar>(
      module, "Var", nb::is_weak_referenceable(),
      "Something that operations read and write, by versions: each write makes the next one. What it stands\n"
      "for is the caller's business.")
      .def("__init__", [](PyVar* self) { new (self) PyVar(Var::make()); })
      .def(
          "status",
          [](const PyVar& self) -> nb::object {
            check_usable();
            const Status status = self.value.status();
            return status.ok() ? nb::none() : to_exception(status);
          },
          nb::sig("def status(self) -> inflight.errors.Error | None"),
          "How the last finished write ended: None where it went well, else the exception, not raised.");
  nb::class_<PyToken>(
      module, "OpToken",
      "The duty to say how an asynchronous operation ended, exactly once. One that is dropped unused ends\n"
      "its operation with InternalError, so nothing waits for ever. Any thread.")
      .def("complete", complete, nb::arg("error") = nb::none(),
           nb::sig("def complete(self, error: BaseException | None = None) -> None"),
           "Ends the operation: what waits for it starts, or fails with `error`.");
  nb::class_<PyEngine>(
      module, "Engine", nb::is_weak_referenceable(),
      "Runs callables in the order that their variables demand, on threads of its own, which take the GIL "
      "for\n"
      "them. An operation runs once all that it reads and writes is free. If something that it reads has\n"
      "failed, it is skipped and ends with that first cause. Also a context manager, which drains and "
      "closes.")
      .def(
          "__init__",
          [](PyEngine* self, int threads, std::size_t pending_limit, double spin, bool naive) {
            check_startable();
            EngineOptions options;
            options.threads = threads;
            options.pending_limit = pending_limit;
            options.spin = duration_from(spin, "spin");
            if (naive) {
              new (self) PyEngine(take(make_naive_engine()));
              return;
            }
            Result<std::unique_ptr<Engine>> made = [&] {
              const WithoutGil release;
              return make_threaded_engine(options);
            }();
            new (self) PyEngine(take(std::move(made)));
          },
          nb::kw_only(), nb::arg("threads") = 1, nb::arg("pending_limit") = std::size_t{1} << 20,
          nb::arg("spin") = 50e-6, nb::arg("naive") = false,
          "threads        1 to 1,024\n"
          "pending_limit  a push past it raises OverloadedError: 1 to 2**30\n"
          "spin           seconds that a thread without work looks for more before it sleeps: 0 to 1\n"
          "naive          runs every operation inside push(), in the order of the pushes: to find the one "
          "that is\n"
          "               to blame; the other options are not used\n\n"
          "InvalidArgumentError: an option is out of its bounds; OutOfMemoryError.")
      .def("push", push, nb::arg("fn"), nb::kw_only(), nb::arg("reads") = nb::make_tuple(),
           nb::arg("writes") = nb::make_tuple(), nb::arg("priority") = 0, nb::arg("on_finish") = nb::none(),
           nb::sig("def push(self, fn: collections.abc.Callable[[], object], *, reads: "
                   "collections.abc.Iterable[Var | "
                   "NDArray] = (), writes: collections.abc.Iterable[Var] = (), priority: int = 0, on_finish: "
                   "collections.abc.Callable[[inflight.errors.Error | None], object] | None = None) -> None"),
           "Orders fn(), which has done its work when it returns. What it raises is the operation's failure, "
           "and that\n"
           "of operations that read what it writes. Never blocks, unless the engine is naive.\n\n"
           "priority   of the operations that can start, the one with the highest starts first\n"
           "on_finish  called once with None or the failure, before any dependent operation starts\n\n"
           "OverloadedError: pending_limit operations are pending; ShuttingDownError.")
      .def("push_async", push_async, nb::arg("fn"), nb::kw_only(), nb::arg("reads") = nb::make_tuple(),
           nb::arg("writes") = nb::make_tuple(), nb::arg("priority") = 0, nb::arg("on_finish") = nb::none(),
           nb::sig("def push_async(self, fn: collections.abc.Callable[[OpToken], object], *, reads: "
                   "collections.abc.Iterable[Var | NDArray] = (), writes: collections.abc.Iterable[Var] = "
                   "(), priority: int "
                   "= 0, on_finish: collections.abc.Callable[[inflight.errors.Error | None], object] | None "
                   "= None) -> None"),
           "Orders fn(token), which starts work that ends later: the operation ends when its token is "
           "completed.")
      .def(
          "drain",
          [](PyEngine& self, std::optional<double> timeout) {
            not_in_operation("drain");
            const std::shared_ptr<Engine> engine = self.get();
            const bool done = wait_in_slices(end_of(timeout), [&](TimePoint until) {
              Duration nap = std::chrono::microseconds(20);
              while (engine->pending() > 0) {
                const TimePoint now = steady_clock().now();
                if (now >= until) return false;
                steady_clock().sleep_until(std::min(until, now + nap));
                nap = std::min<Duration>(2 * nap, std::chrono::milliseconds(2));
              }
              return true;
            });
            if (!done) raise(Status(StatusCode::kDeadlineExceeded, "operations are still pending"));
          },
          nb::arg("timeout") = nb::none(),
          "Waits until no operation is pending, without the GIL; Ctrl-C ends it. Not from within an "
          "operation.")
      .def(
          "shutdown",
          [](PyEngine& self, const std::string& how) {
            const std::shared_ptr<Engine> engine = self.get();
            if (how != "drain" && how != "cancel")
              raise_invalid("how: got \"" + how + "\", want \"drain\" or \"cancel\"");
            {
              const WithoutGil release;
              engine->shutdown(how == "drain" ? Shutdown::kDrain : Shutdown::kCancel);
            }
            drain_releases();
          },
          nb::arg("how") = "drain",
          nb::sig("def shutdown(self, how: typing.Literal[\"drain\", \"cancel\"] = \"drain\") -> None"),
          "Refuses pushes from now on. Runs what is pending, or cancels what has not started, and waits for "
          "the end;\n"
          "from within an operation it does not wait.")
      .def("close", &PyEngine::close, "shutdown(\"cancel\"), and gives everything back. May be called again.")
      .def(
          "pending", [](PyEngine& self) { return self.get()->pending(); },
          "How many operations have been pushed and have not ended, at this moment.")
      .def(
          "__enter__", [](nb::object self) { return self; }, nb::sig("def __enter__(self) -> typing.Self"))
      .def(
          "__exit__",
          [](PyEngine& self, nb::handle type, nb::handle, nb::handle) {
            const std::shared_ptr<Engine> engine = self.get();
            {
              const WithoutGil release;
              engine->shutdown(type.is_none() ? Shutdown::kDrain : Shutdown::kCancel);
            }
            self.close();
          },
          nb::arg("type").none(), nb::arg("value").none(), nb::arg("traceback").none(),
          nb::sig("def __exit__(self, type: object, value: object, traceback: object) -> None"));
}

}  // namespace inflight::python
