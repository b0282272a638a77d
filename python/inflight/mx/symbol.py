# SPDX-License-Identifier: Apache-2.0
"""Symbol: a network as MXNet describes it, without memory and without a device; and what makes symbols."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from inflight import _inflight, errors
from inflight.mx import _operators
from inflight.mx.attribute import attributes_of
from inflight.mx.base import TRAINING, MissingError, dtype_name, is_number, shape_of
from inflight.mx.context import Context, device_of
from inflight.mx.executor import Executor, check_no_gradients
from inflight.mx.name import name_of
from inflight.mx.ndarray import NDArray

if TYPE_CHECKING:
    from inflight.mx._sym_operators import Methods

    class _Base(_inflight.MxSymbol, Methods):
        """The extension's class with the operators as methods."""
else:
    _Base = _inflight.MxSymbol

_MISSING = {
    "grad": TRAINING,
    "gradient": TRAINING,
    "get_backend_symbol": "bind(): every graph is compiled",
    "optimize_for": "bind(): every graph is compiled",
    "as_np_ndarray": "the symbol itself",
    "debug_str": "tojson()",
    "handle": "tojson()",
}


def _apply(op: str, inputs: Sequence[Symbol], attributes: dict[str, str]) -> Any:
    users = attributes_of(None)
    return _inflight._mx_apply(op, [("", one) for one in inputs], {**users, **attributes}, name_of(None, op))


def _scalar(op: str, symbol: Symbol, value: Any) -> Any:
    try:
        number = float(value)
    except OverflowError:
        raise errors.InvalidArgumentError(f"{op}: found an integer that is too large for a float, want one below 1.8e308") from None
    return _apply(op, [symbol], {"scalar": repr(number)})


def _pair(symbol_op: str, scalar_op: str) -> Any:
    def apply(self: Symbol, other: Any) -> Any:
        if isinstance(other, Symbol):
            return _apply(symbol_op, [self, other], {})
        return _scalar(scalar_op, self, other) if is_number(other) else NotImplemented

    return apply


def _reversed(scalar_op: str) -> Any:
    def apply(self: Symbol, other: Any) -> Any:
        return _scalar(scalar_op, self, other) if is_number(other) else NotImplemented

    return apply


class Symbol(_Base):
    """One or more outputs of a graph of operators and variables, which never changes.

    Operators between symbols want the same shapes, as in MXNet; the ``broadcast_`` functions take others.
    Any thread may call it.
    """

    __slots__ = ()
    __array_priority__ = 1000.0
    __array_ufunc__ = None  # NumPy's scalars and arrays leave operators to this class

    __add__ = __radd__ = _pair("_Plus", "_PlusScalar")
    __sub__ = _pair("_Minus", "_MinusScalar")
    __rsub__ = _reversed("_RMinusScalar")
    __mul__ = __rmul__ = _pair("_Mul", "_MulScalar")
    __truediv__ = _pair("_Div", "_DivScalar")
    __rtruediv__ = _reversed("_RDivScalar")
    __mod__ = _pair("_Mod", "_ModScalar")
    __rmod__ = _reversed("_RModScalar")
    __pow__ = _pair("_Power", "_PowerScalar")
    __rpow__ = _reversed("_RPowerScalar")
    __gt__ = _pair("_Greater", "_GreaterScalar")
    __ge__ = _pair("_Greater_Equal", "_GreaterEqualScalar")
    __lt__ = _pair("_Lesser", "_LesserScalar")
    __le__ = _pair("_Lesser_Equal", "_LesserEqualScalar")
    __eq__ = _pair("_Equal", "_EqualScalar")
    __ne__ = _pair("_Not_Equal", "_NotEqualScalar")

    def __hash__(self) -> int:
        return id(self) >> 4

    def __neg__(self) -> Symbol:
        return _scalar("_MulScalar", self, -1)  # type: ignore[no-any-return]

    def __abs__(self) -> Symbol:
        return _apply("abs", [self], {})  # type: ignore[no-any-return]

    def __bool__(self) -> bool:
        raise errors.InvalidTypeError("the truth of a symbol: it has no values; bind() and forward() give some")

    @property
    def name(self) -> str | None:
        """Of the operator or variable; None for a group."""
        return self._name or None

    def __repr__(self) -> str:
        if self.name is None:
            return f"<Symbol group [{', '.join(one.name or '' for one in self)}]>"
        return f"<Symbol {self.name}>"

    def __len__(self) -> int:
        return self._outputs

    def __iter__(self) -> Iterator[Symbol]:
        return (self._output(place) for place in range(self._outputs))

    def __getitem__(self, index: Any) -> Symbol:
        if isinstance(index, str):
            return self._output_named(index)
        if isinstance(index, slice):
            return Group([self._output(place) for place in range(*index.indices(self._outputs))])
        if isinstance(index, bool) or not isinstance(index, int):
            raise errors.InvalidTypeError(f"output: found {type(index).__name__}, want an integer, a slice or a name")
        if not -self._outputs <= index < self._outputs:
            raise OutputOutOfBounds(f"output: found {index}, want {-self._outputs} to {self._outputs - 1}")
        return self._output(index % self._outputs)

    @property
    def num_outputs(self) -> int:
        """The same as ``len``."""
        return self._outputs

    def __call__(self, *args: Symbol, **kwargs: Symbol) -> Symbol:
        """This graph with variables replaced: by place, in the order of ``list_arguments()``, or by name."""
        if args and kwargs:
            raise errors.InvalidTypeError("composition: found symbols by place and by name, want one way")
        arguments = self.list_arguments()
        if len(args) > len(arguments):
            raise errors.InvalidTypeError(f"composition: found {len(args)} symbols, want at most {len(arguments)}")
        return self._compose(dict(zip(arguments, args)) if args else kwargs)  # type: ignore[no-any-return]

    def __copy__(self) -> Symbol:
        return self[:]

    def __deepcopy__(self, memo: Any) -> Symbol:
        return self[:]

    def __reduce__(self) -> Any:
        return load_json, (self.tojson(),)

    def get_internals(self) -> Symbol:
        """The outputs of all operators and variables, inner ones first."""
        return self._internals()

    def get_children(self) -> Symbol | None:
        """What the outputs' operators take as inputs; None: nothing."""
        return self._children()

    def attr(self, key: str) -> str | None:
        """An attribute of this operator or variable; None: it has none of that name."""
        return self._attribute(key)

    def list_attr(self) -> dict[str, str]:
        """All attributes of this operator or variable."""
        return self._attributes()

    def attr_dict(self) -> dict[str, dict[str, str]]:
        """The attributes of all operators and variables, by name."""
        return self._all_attributes()

    def _known_shapes(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, tuple[int, ...]]:
        known = _by_place("infer_shape", self, args, kwargs)
        return {name: shape_of(shape) for name, shape in known.items()}

    def infer_shape(self, *args: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
        """The shapes of arguments, outputs and auxiliary states, from those of some arguments.

        Three times None, with a warning, where they do not follow. InvalidArgumentError: they do not fit.
        """
        complete, *shapes = self._infer_shape(self._known_shapes(args, kwargs), True)
        if not complete:
            unknown = [name for name, shape in zip(self.list_arguments(), shapes[0]) if shape is None]
            warnings.warn(f"infer_shape: the shapes of these arguments do not follow: {', '.join(unknown)}", stacklevel=2)
            return None, None, None
        return shapes[0], shapes[1], shapes[2]

    def infer_shape_partial(self, *args: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
        """The same, with () for a shape that does not follow."""
        _, *shapes = self._infer_shape(self._known_shapes(args, kwargs), True)
        first, second, third = ([() if shape is None else shape for shape in group] for group in shapes)
        return first, second, third

    def infer_type(self, *args: Any, **kwargs: Any) -> tuple[list[Any], list[Any], list[Any]]:
        """The element types of arguments, outputs and auxiliary states, from those of some arguments."""
        known = {name: dtype_name(dtype) for name, dtype in _by_place("infer_type", self, args, kwargs).items()}
        first, second, third = ([numpy.dtype(name).type for name in group] for group in self._infer_type(known))
        return first, second, third

    def tojson(self, remove_amp_cast: bool = True) -> str:
        """The graph as MXNet 1.9 writes it."""
        return self._to_json()

    def save(self, fname: str | os.PathLike[str], remove_amp_cast: bool = True) -> None:
        """Writes ``tojson()`` to a file."""
        self._save(fname)

    def bind(
        self,
        ctx: Context | None = None,
        args: Sequence[NDArray] | Mapping[str, NDArray] | None = None,
        args_grad: Any = None,
        grad_req: str = "write",
        aux_states: Sequence[NDArray] | Mapping[str, NDArray] | None = None,
        group2ctx: Any = None,
        shared_exec: Executor | None = None,
    ) -> Executor:
        """An executor on arrays, which are shared, not copied: a forward reads what they hold when it is called.

        ctx               where it computes, and where all arrays are; None: the current one
        args, aux_states  in the order of ``list_arguments()`` and ``list_auxiliary_states()``, or by name
        shared_exec       any executor: programs and memory are shared anyway

        Cheap: a program is compiled once for graphs of one structure, types and shapes. InvalidArgumentError:
        an array is missing, unknown, or does not fit.
        """
        device = device_of(ctx)
        check_no_gradients("bind", args_grad, grad_req, group2ctx, shared_exec)
        states: Any = {} if aux_states is None else aux_states
        if isinstance(args, Mapping) != isinstance(states, Mapping):
            states = _as_kind(args, states, self.list_auxiliary_states())
        if isinstance(args, Mapping):
            return _inflight._mx_bind(self, dict(args), dict(states), device)  # type: ignore[no-any-return]
        return _inflight._mx_bind(self, [] if args is None else list(args), list(states), device)  # type: ignore[no-any-return]

    def simple_bind(
        self,
        ctx: Context | None = None,
        grad_req: str = "write",
        type_dict: Mapping[str, Any] | None = None,
        stype_dict: Any = None,
        group2ctx: Any = None,
        shared_arg_names: Any = None,
        shared_exec: Executor | None = None,
        shared_buffer: Any = None,
        **kwargs: Any,
    ) -> Executor:
        """An executor on new arrays of zeros, from the shapes of some arguments by name."""
        device = device_of(ctx)
        check_no_gradients("simple_bind", None, grad_req, group2ctx, shared_exec)
        for name, value in (("stype_dict", stype_dict), ("shared_arg_names", shared_arg_names), ("shared_buffer", shared_buffer)):
            if value:
                raise errors.UnsupportedError(f"simple_bind: {name}: it is not offered; use bind() with arrays that are shared")
        shapes = {name: shape_of(shape) for name, shape in kwargs.items()}
        types = {name: dtype_name(dtype) for name, dtype in (type_dict or {}).items()}
        return _inflight._mx_simple_bind(self, shapes, types, device)  # type: ignore[no-any-return]

    def eval(self, ctx: Context | None = None, **kwargs: NDArray) -> list[NDArray]:
        """The outputs for arrays by argument name, still to come."""
        return self.bind(ctx, kwargs).forward()

    def astype(self, dtype: Any) -> Symbol:
        """The elements converted."""
        return _apply("Cast", [self], {"dtype": dtype_name(dtype)})  # type: ignore[no-any-return]

    def reshape(self, *shape: Any, **options: Any) -> Symbol:
        """The same elements in another shape; 0, -1, -2, -3 and -4 are MXNet's codes."""
        if "shape" in options:
            shape = (options.pop("shape"),)
        reverse = options.pop("reverse", False)
        if options:
            raise errors.InvalidTypeError(f"reshape: found an argument {next(iter(options))!r}, want shape or reverse")
        extents = shape_of(shape[0]) if len(shape) == 1 else shape_of(shape)
        return _apply("Reshape", [self], {"shape": str(extents), "reverse": str(bool(reverse))})  # type: ignore[no-any-return]

    def transpose(self, *axes: Any) -> Symbol:
        """The axes in this order; without any, in the opposite one."""
        if len(axes) == 1 and not isinstance(axes[0], int):
            axes = tuple(axes[0] or ())
        return _apply("transpose", [self], {"axes": str(tuple(axes))})  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        instead = _MISSING.get(name)
        if instead is not None:
            raise MissingError(f"Symbol.{name}: it is not offered; use {instead}")
        raise AttributeError(f"Symbol has no attribute {name!r}")


class OutputOutOfBounds(errors.InvalidArgumentError, IndexError):
    """An output that a symbol does not have."""


for _name, _operator in _operators.by_method().items():
    if _name not in vars(Symbol):
        setattr(Symbol, _name, _operators.method(_operators.symbol_function(_operator, _name, Symbol), _name))


def _by_place(what: str, symbol: Symbol, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    if args and kwargs:
        raise errors.InvalidTypeError(f"{what}: found values by place and by name, want one way")
    arguments = symbol.list_arguments()
    if len(args) > len(arguments):
        raise errors.InvalidTypeError(f"{what}: found {len(args)} values, want at most {len(arguments)}")
    known = dict(zip(arguments, args)) if args else kwargs
    return {name: value for name, value in known.items() if value is not None and not (isinstance(value, tuple) and not value)}


def _as_kind(args: Any, states: Any, names: list[str]) -> Any:
    """States the way that arguments came: MXNet takes one by name and the other by place."""
    if isinstance(args, Mapping):
        return dict(zip(names, states))
    absent = [name for name in names if name not in states]
    if absent:
        raise errors.InvalidArgumentError(f"bind: state \"{absent[0]}\" is missing")
    return [states[name] for name in names]


# What makes symbols.


def Variable(  # noqa: N802: MXNet's name
    name: str,
    attr: Mapping[str, str] | None = None,
    shape: Any = None,
    lr_mult: float | None = None,
    wd_mult: float | None = None,
    dtype: Any = None,
    init: Any = None,
    stype: Any = None,
    **kwargs: str,
) -> Symbol:
    """A place for an array. Attributes of your own begin and end with two underscores."""
    if not isinstance(name, str):
        raise errors.InvalidTypeError(f"Variable: name: found {type(name).__name__}, want a str")
    attributes = attributes_of(attr)
    for key, value in kwargs.items():
        if not (key.startswith("__") and key.endswith("__")):
            raise errors.InvalidArgumentError(f"Variable: found an attribute {key!r}, want names such as __{key}__")
        attributes[key] = str(value)
    if stype not in (None, "default"):
        raise errors.UnsupportedError(f"Variable: stype: found {stype!r}, want None: sparse arrays are not offered")
    for key, given in (("__lr_mult__", lr_mult), ("__wd_mult__", wd_mult)):
        if given is not None:
            attributes[key] = str(given)
    if init is not None:
        attributes["__init__"] = init if isinstance(init, str) else init.dumps()
    extents = None if shape is None else shape_of(shape)
    return _inflight._mx_variable(name, extents, None if dtype is None else dtype_name(dtype), attributes)  # type: ignore[no-any-return]


var = Variable


def Group(symbols: Sequence[Symbol], create_fn: Any = None) -> Symbol:  # noqa: N802: MXNet's name
    """All outputs of several symbols as one."""
    if create_fn is not None:
        raise errors.UnsupportedError("Group: create_fn: it is not offered; use None")
    return _inflight._mx_group(symbols)  # type: ignore[no-any-return]


def load(fname: str | os.PathLike[str]) -> Symbol:
    """Reads a graph that MXNet wrote, 0.8 to 1.9.

    NotFoundError (a FileNotFoundError); InvalidModelError (a ValueError): damaged, cut short, a cycle;
    UnsupportedError, InvalidArgumentError: an operator or attribute that is not offered.
    """
    return _inflight._mx_load_symbol(fname)  # type: ignore[no-any-return]


def load_json(json_str: str) -> Symbol:
    """The same from text."""
    if not isinstance(json_str, str):
        raise errors.InvalidTypeError(f"load_json: found {type(json_str).__name__}, want a str")
    try:
        json_str.encode()
    except UnicodeEncodeError as refused:
        raise errors.InvalidModelError(f"load_json: found text that is not Unicode ({refused})") from refused
    return _inflight._mx_symbol_from_json(json_str)  # type: ignore[no-any-return]


fromjson = load_json


def _created(op: str, name: str | None, attributes: dict[str, str]) -> Symbol:
    return _inflight._mx_apply(op, [], {**attributes_of(None), **attributes}, name_of(name, op))  # type: ignore[no-any-return]


def zeros(shape: Any, dtype: Any = None, name: str | None = None) -> Symbol:
    """All elements 0."""
    return _created("_zeros", name, {"shape": str(shape_of(shape)), "dtype": dtype_name(dtype or "float32")})


def ones(shape: Any, dtype: Any = None, name: str | None = None) -> Symbol:
    """All elements 1."""
    return _created("_ones", name, {"shape": str(shape_of(shape)), "dtype": dtype_name(dtype or "float32")})


def full(shape: Any, val: float, dtype: Any = None, name: str | None = None) -> Symbol:
    """All elements ``val``."""
    attributes = {"shape": str(shape_of(shape)), "dtype": dtype_name(dtype or "float32"), "value": repr(float(val))}
    return _created("_full", name, attributes)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1.0,
    repeat: int = 1,
    infer_range: bool = False,
    name: str | None = None,
    dtype: Any = None,
) -> Symbol:
    """start, start + step, ... before stop, each ``repeat`` times. Without ``stop``, from 0 to ``start``."""
    if infer_range:
        raise errors.UnsupportedError("arange: infer_range: found True, want False: say where it stops")
    attributes = {"start": repr(start), "stop": repr(stop), "step": repr(step), "repeat": str(repeat)}
    return _created("_arange", name, {**attributes, "dtype": dtype_name(dtype or "float32")})


def eye(N: int, M: int = 0, k: int = 0, dtype: Any = None, name: str | None = None) -> Symbol:  # noqa: N803
    """Ones where column - row is ``k``."""
    return _created("_eye", name, {"N": str(N), "M": str(M), "k": str(k), "dtype": dtype_name(dtype or "float32")})


def _either(name: str, symbol_op: str, scalar_op: str, reversed_op: str, of_numbers: Any) -> Any:
    def apply(lhs: Any, rhs: Any) -> Any:
        if isinstance(lhs, Symbol):
            if isinstance(rhs, Symbol):
                return _apply(symbol_op, [lhs, rhs], {})
            if is_number(rhs):
                return _scalar(scalar_op, lhs, rhs)
        elif is_number(lhs):
            if isinstance(rhs, Symbol):
                return _scalar(reversed_op, rhs, lhs)
            if is_number(rhs):
                return of_numbers(lhs, rhs)
        wrong = lhs if not isinstance(lhs, Symbol) and not is_number(lhs) else rhs
        raise errors.InvalidTypeError(f"mx.sym.{name}: found {type(wrong).__name__}, want a Symbol or a number")

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = f"{name} of symbols, or of a symbol and a number."
    return apply


pow = power = _either("power", "_Power", "_PowerScalar", "_RPowerScalar", operator.pow)
maximum = _either("maximum", "_Maximum", "_MaximumScalar", "_MaximumScalar", max)
minimum = _either("minimum", "_Minimum", "_MinimumScalar", "_MinimumScalar", min)
hypot = _either("hypot", "_Hypot", "_HypotScalar", "_HypotScalar", lambda a, b: (a * a + b * b) ** 0.5)
logical_and = _either("logical_and", "_Logical_And", "_LogicalAndScalar", "_LogicalAndScalar", lambda a, b: int(bool(a and b)))
logical_or = _either("logical_or", "_Logical_Or", "_LogicalOrScalar", "_LogicalOrScalar", lambda a, b: int(bool(a or b)))
logical_xor = _either(
    "logical_xor", "_Logical_Xor", "_LogicalXorScalar", "_LogicalXorScalar", lambda a, b: int(bool(a) != bool(b))
)

__all__ = [
    "Group", "Symbol", "Variable", "arange", "eye", "fromjson", "full", "hypot", "load", "load_json", "logical_and",
    "logical_or", "logical_xor", "maximum", "minimum", "ones", "pow", "power", "var", "zeros",
]  # fmt: skip
