# SPDX-License-Identifier: Apache-2.0
"""Functions of operators, made from the operator table: for arrays (``mx.nd``) and for symbols (``mx.sym``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from inflight import _inflight, errors
from inflight.mx.attribute import attributes_of
from inflight.mx.base import NULL, attribute_text
from inflight.mx.name import name_of


class Attribute(NamedTuple):
    """One attribute of an operator."""

    name: str
    type: str
    required: bool
    fallback: str


class Operator(NamedTuple):
    """One operator of the table."""

    name: str
    aliases: list[str]
    attributes: list[Attribute]
    inputs: list[str]
    states: list[str]
    variadic: bool


OPERATORS = [
    Operator(name, aliases, [Attribute(*one) for one in attributes], inputs, states, variadic)
    for name, aliases, attributes, inputs, states, variadic in _inflight._mx_operators()
]

# Names that Python code of inflight.mx has itself, with arguments that differ from the operators'.
METHODS = (
    "abs arccos arccosh arcsin arcsinh arctan arctanh argmax argmax_channel argmin argsort broadcast_axes broadcast_like "
    "broadcast_to cbrt ceil clip cos cosh degrees depth_to_space diag exp expand_dims expm1 fix flatten flip floor log "
    "log10 log1p log2 log_softmax max mean min nanprod nansum norm one_hot pad pick prod radians rcbrt reciprocal relu "
    "repeat reshape_like rint round rsqrt shape_array sigmoid sign sin sinh size_array slice slice_axis slice_like "
    "softmax softmin sort space_to_depth split sqrt square squeeze sum swapaxes take tan tanh tile topk transpose trunc "
    "zeros_like ones_like"
).split()


def public_names(operator: Operator) -> list[str]:
    """What functions of it are called in ``mx.nd`` and ``mx.sym``."""
    return [name for name in (operator.name, *operator.aliases) if not name.startswith("_")]


def by_method() -> dict[str, Operator]:
    """The operators that arrays and symbols have as methods."""
    found = {name: operator for operator in OPERATORS for name in public_names(operator)}
    return {name: found[name] for name in METHODS if name in found}


def signature(operator: Operator, kind: str) -> str:
    """The arguments, as Python code. ``kind`` is the class of the inputs."""
    if operator.variadic:
        parts = [f"*args: {kind}"]
    else:
        parts = [f"{name}: {kind} | None = None" for name in operator.inputs]
    parts += [f"{one.name}: Any = ..." for one in operator.attributes if one.name not in operator.inputs]
    if kind == "NDArray":
        return ", ".join([*parts, "out: Any = None", "name: str | None = None"])
    parts += ["name: str | None = None", "attr: dict[str, str] | None = None"]
    return ", ".join([*parts, f"**kwargs: {kind}"] if operator.variadic else parts)


def docstring(operator: Operator, kind: str) -> str:
    """What is known of it from the table."""
    lines = [f"MXNet's operator {operator.name} on {kind}s.", ""]
    lines.append("inputs      " + ("any number" if operator.variadic else ", ".join(operator.inputs) or "none"))
    if operator.states:
        lines.append("of these, states: " + ", ".join(operator.states))
    for one in operator.attributes:
        lines.append(f"{one.name:<11} {one.type}" + (", required" if one.required else f"; {one.fallback or '()'}"))
    return "\n".join(lines)


def _split(
    operator: Operator, what: str, kind: type, args: tuple[Any, ...], given: dict[str, Any]
) -> tuple[list[tuple[str, Any]], dict[str, str]]:
    """Inputs with their names ("" where the place says it), and attributes as texts."""
    inputs: list[tuple[str, Any]] = []
    attributes: dict[str, str] = {}
    if operator.variadic:
        if len(args) == 1 and isinstance(args[0], (list, tuple)):
            args = tuple(args[0])
        for place, value in enumerate(args):
            if not isinstance(value, kind):
                raise _wrong_kind(what, f"input {place}", value, kind)
            inputs.append(("", value))
    else:
        names = operator.inputs
        for place, value in enumerate(args[: len(names)]):
            if isinstance(value, kind):
                inputs.append(("" if len(inputs) == place else names[place], value))
            elif value is not None:
                raise _wrong_kind(what, names[place], value, kind)
        # After the inputs come the attributes, in the order of the table.
        rest = args[len(names) :]
        if len(rest) > len(operator.attributes):
            raise errors.InvalidTypeError(
                f"{what}: found {len(args)} arguments, want at most {len(names) + len(operator.attributes)}"
            )
        for one, value in zip(operator.attributes, rest):
            if one.name in given:
                raise errors.InvalidTypeError(f"{what}: {one.name}: found twice, by place and by name")
            given[one.name] = value
    for name, value in given.items():
        is_attribute = any(one.name == name for one in operator.attributes)
        if isinstance(value, kind):
            if is_attribute and name not in operator.inputs:
                raise errors.InvalidTypeError(
                    f"{what}: {name}: found {kind.__name__}, want an attribute ({_type_of(operator, name)})"
                )
            inputs.append((name, value))
        elif value is NULL or (value is None and name in operator.inputs):
            continue
        elif name in operator.inputs and not is_attribute:
            raise _wrong_kind(what, name, value, kind)
        else:
            attributes[name] = attribute_text(name, value)
    return inputs, attributes


def _type_of(operator: Operator, name: str) -> str:
    return next(one.type for one in operator.attributes if one.name == name)


def _wrong_kind(what: str, name: str, value: object, kind: type) -> Exception:
    module = "nd" if kind.__name__ == "NDArray" else "sym"
    hint = " (mx.nd.array() makes one)" if module == "nd" else ""
    return errors.InvalidTypeError(f"{what}: {name}: found {type(value).__name__}, want an mx.{module}.{kind.__name__}{hint}")


def _misplaced(operator: Operator, what: str, name: str, place: int) -> Exception:
    if name not in operator.inputs or operator.variadic:
        wanted = "inputs by place" if operator.variadic else ", ".join(operator.inputs)
        return errors.InvalidTypeError(f"{what}: found an input {name!r}, want {wanted}")
    if operator.inputs.index(name) < place:
        return errors.InvalidTypeError(f"{what}: {name}: found twice, by place and by name")
    return errors.InvalidTypeError(f"{what}: found {name} without {operator.inputs[place]}, want both")


def array_function(operator: Operator, name: str, kind: type) -> Callable[..., Any]:
    """The function of ``mx.nd``. ``kind`` is its class of arrays."""
    places = {input_name: place for place, input_name in enumerate(operator.inputs)}
    what = f"mx.nd.{name}"

    def function(*args: Any, out: Any = None, name: str | None = None, **given: Any) -> Any:
        inputs, attributes = _split(operator, what, kind, args, given)
        if any(input_name for input_name, _ in inputs):
            inputs.sort(key=lambda one: places.get(one[0], -1))  # stable: those that go by place stay in front
        arrays = []
        for input_name, value in inputs:
            if input_name and places.get(input_name) != len(arrays):
                raise _misplaced(operator, what, input_name, len(arrays))
            arrays.append(value)
        return _inflight._mx_invoke(operator.name, arrays, attributes, out)

    function.__name__ = function.__qualname__ = name
    function.__module__ = "inflight.mx.nd"
    function.__doc__ = docstring(operator, "array")
    return function


def symbol_function(operator: Operator, name: str, kind: type) -> Callable[..., Any]:
    """The function of ``mx.sym``. ``kind`` is its class of symbols."""
    what = f"mx.sym.{name}"

    def function(*args: Any, name: Any = None, attr: Any = None, **given: Any) -> Any:
        inputs, attributes = _split(operator, what, kind, args, given)
        users = attributes_of(attr)
        if users:
            attributes = {**users, **attributes}
        return _inflight._mx_apply(op_name, inputs, attributes, name_of(name, op_name))

    op_name = name  # as it is called: names of nodes follow it
    function.__name__ = function.__qualname__ = name
    function.__module__ = "inflight.mx.sym"
    function.__doc__ = docstring(operator, "symbol")
    return function


def method(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function as a method of its first input."""

    def called(self: Any, *args: Any, **given: Any) -> Any:
        return function(self, *args, **given)

    called.__name__ = called.__qualname__ = name
    called.__doc__ = function.__doc__
    return called
