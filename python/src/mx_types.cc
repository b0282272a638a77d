// SPDX-License-Identifier: Apache-2.0
#include "mx_types.h"

#include <array>

#include "tensors.h"

namespace inflight::python {
namespace detail {
bool mx_engine_listed = false;  // guarded by the GIL
}

namespace {

// The engine of arrays and executors: at exit, what has not started is cancelled.
class MxEngine final : public Closable {
 public:
  explicit MxEngine(Engine* engine) : engine_(engine) { list(); }
  void close() noexcept override {
    const WithoutGil release;
    engine_->shutdown(Shutdown::kCancel);
  }

 private:
  Engine* const engine_;
};

// The Python classes, held until the interpreter ends.
PyObject* array_class = nullptr;
PyObject* symbol_class = nullptr;
PyObject* executor_class = nullptr;

template <typename T, typename... Args>
nb::object made(PyObject* python_class, Args&&... args) {
  const nb::handle type = python_class != nullptr ? nb::handle(python_class) : nb::type<T>();
  nb::object object = nb::inst_alloc(type);
  new (nb::inst_ptr<T>(object)) T{std::forward<Args>(args)...};
  nb::inst_mark_ready(object);
  return object;
}

struct TypeName {
  DType dtype;
  const char* name;
};
constexpr std::array<TypeName, 12> kTypeNames = {{
    {DType::kF32, "float32"},
    {DType::kF64, "float64"},
    {DType::kF16, "float16"},
    {DType::kU8, "uint8"},
    {DType::kI8, "int8"},
    {DType::kI32, "int32"},
    {DType::kI64, "int64"},
    {DType::kBool, "bool"},
    {DType::kI16, "int16"},
    {DType::kU16, "uint16"},
    {DType::kU32, "uint32"},
    {DType::kU64, "uint64"},
}};

template <typename Value, typename Convert>
std::map<std::string, Value> dict_of(nb::handle dict, const char* what, Convert convert) {
  std::map<std::string, Value> result;
  if (dict.is_none()) return result;
  if (PyDict_Check(dict.ptr()) == 0) raise_type(what, dict, "a dict");
  for (auto [key, value] : nb::borrow<nb::dict>(dict))
    result.emplace(mx_text(key, what), convert(value, mx_text(key, what)));
  return result;
}

}  // namespace

void start_mx() {
  check_startable();
  Engine* const engine = take(mx::engine());
  static auto* const listed = new MxEngine(engine);  // for good: the engine is never given back
  static_cast<void>(listed);
  detail::mx_engine_listed = true;
}

void end_mx() noexcept {
  for (PyObject** held : {&array_class, &symbol_class, &executor_class}) Py_CLEAR(*held);
}

nb::object mx_object(mx::NDArray array) { return made<MxArray>(array_class, std::move(array)); }
nb::object mx_object(mx::Symbol symbol) { return made<MxSymbol>(symbol_class, std::move(symbol)); }
nb::object mx_object(mx::Executor executor) { return made<MxExecutor>(executor_class, std::move(executor)); }

nb::dict mx_dict(const mx::Executor::Named& arrays) {
  nb::dict dict;
  for (const auto& [name, array] : arrays) dict[nb::str(name.data(), name.size())] = mx_object(array);
  return dict;
}

const mx::NDArray& mx_array(nb::handle object, const char* what) {
  MxArray* const array = as<MxArray>(object);
  if (array == nullptr) raise_type(what, object, "an mx.nd.NDArray (mx.nd.array() makes one)");
  return array->value;
}

const mx::Symbol& mx_symbol(nb::handle object, const char* what) {
  MxSymbol* const symbol = as<MxSymbol>(object);
  if (symbol == nullptr) raise_type(what, object, "an mx.sym.Symbol");
  return symbol->value;
}

std::vector<mx::NDArray> mx_arrays(nb::handle sequence, const char* what) {
  std::vector<mx::NDArray> arrays;
  if (sequence.is_none()) return arrays;
  if (as<MxArray>(sequence) != nullptr) return {mx_array(sequence, what)};
  if (PySequence_Check(sequence.ptr()) == 0) raise_type(what, sequence, "a list of mx.nd.NDArray");
  for (nb::handle object : nb::iter(sequence)) arrays.push_back(mx_array(object, what));
  return arrays;
}

std::map<std::string, mx::NDArray> mx_named_arrays(nb::handle dict, const char* what) {
  return dict_of<mx::NDArray>(
      dict, what, [](nb::handle value, const std::string& name) { return mx_array(value, name.c_str()); });
}

mx::Attributes mx_attributes(nb::handle dict) {
  return dict_of<std::string>(dict, "attributes", [](nb::handle value, const std::string& name) {
    return mx_text(value, name.c_str());
  });
}

std::map<std::string, Shape> mx_shapes(nb::handle dict, const char* what) {
  return dict_of<Shape>(dict, what,
                        [](nb::handle value, const std::string& name) { return shape_from(value, name); });
}

mx::NDArray::OptionalInts mx_optional_ints(nb::handle sequence, const char* what) {
  mx::NDArray::OptionalInts ints;
  if (sequence.is_none()) return ints;
  if (PySequence_Check(sequence.ptr()) == 0) raise_type(what, sequence, "a sequence of integers");
  for (nb::handle one : nb::iter(sequence)) {
    std::int64_t value = 0;
    if (one.is_none()) {
      ints.emplace_back();
    } else if (nb::try_cast(one, value)) {
      ints.emplace_back(value);
    } else {
      raise_type(what, one, "an integer");
    }
  }
  return ints;
}

std::string mx_text(nb::handle object, const char* what) {
  Py_ssize_t size = 0;
  const char* text =
      PyUnicode_Check(object.ptr()) != 0 ? PyUnicode_AsUTF8AndSize(object.ptr(), &size) : nullptr;
  if (text == nullptr) {
    PyErr_Clear();
    raise_type(what, object, "a str");
  }
  return {text, static_cast<std::size_t>(size)};
}

DType mx_dtype(const std::string& numpy_name) {
  for (const TypeName& type : kTypeNames) {
    if (numpy_name == type.name) return type.dtype;
  }
  raise_invalid("dtype: found '" + numpy_name +
                "', want float32, float64, float16, uint8, int8, int32, int64 or bool");
}

const char* mx_dtype_name(DType dtype) {
  for (const TypeName& type : kTypeNames) {
    if (dtype == type.dtype) return type.name;
  }
  raise(Status(StatusCode::kUnsupported, "NumPy has no bf16: use snapshot().__dlpack__()"));
}

namespace {

void set_classes(nb::handle array, nb::handle symbol, nb::handle executor) {
  array_class = Py_NewRef(array.ptr());
  symbol_class = Py_NewRef(symbol.ptr());
  executor_class = Py_NewRef(executor.ptr());
}

}  // namespace

void bind_mx_classes(nb::module_& module) {
  module.def("_mx_set_classes", set_classes, nb::arg("array"), nb::arg("symbol"), nb::arg("executor"),
             nb::sig("def _mx_set_classes(array: type[MxArray], symbol: type[MxSymbol], executor: "
                     "type[MxExecutor]) -> None"));
}

}  // namespace inflight::python
