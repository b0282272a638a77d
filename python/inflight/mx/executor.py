# SPDX-License-Identifier: Apache-2.0
"""Executor: a symbol with arrays, which computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inflight import _inflight, errors
from inflight.mx.base import TRAINING, MissingError, shape_of
from inflight.mx.ndarray import NDArray, array

if TYPE_CHECKING:
    from inflight.mx.symbol import Symbol

_MISSING = {
    "backward": TRAINING,
    "grad_arrays": TRAINING,
    "grad_dict": TRAINING,
    "set_monitor_callback": "Symbol.get_internals() as outputs",
    "debug_str": "Symbol.tojson()",
    "handle": "the executor itself",
}


def check_no_gradients(what: str, args_grad: Any, grad_req: Any, group2ctx: Any, shared_exec: Any) -> None:
    """Refuses what is for training or for several devices."""
    if args_grad:
        raise errors.UnsupportedError(f"{what}: args_grad: found arrays, want None; {TRAINING}")
    if not (grad_req in ("null", "write", "add") or isinstance(grad_req, (dict, list))):
        raise errors.InvalidArgumentError(f"{what}: grad_req: found {grad_req!r}, want 'null', or 'write' and 'add', of which no use is made")
    if group2ctx:
        raise errors.UnsupportedError(f"{what}: group2ctx: found {group2ctx!r}, want None: an executor computes on one device")
    if shared_exec is not None and not isinstance(shared_exec, Executor):
        raise errors.InvalidTypeError(f"{what}: shared_exec: found {type(shared_exec).__name__}, want an Executor")


class Executor(_inflight.MxExecutor):
    """A symbol with arrays, which computes; ``Symbol.bind`` and ``simple_bind`` make one.

    Any thread may call it; forwards of one executor follow each other as they are called.
    """

    __slots__ = ()

    def forward(self, is_train: bool = False, **kwargs: Any) -> list[NDArray]:
        """Orders one inference of what the arguments hold now, and returns at once.

        kwargs    arrays that are written to the arguments of these names first, of the same shapes
        returns   the outputs, still to come; new arrays, which later forwards leave alone

        UnsupportedError: ``is_train``; InvalidArgumentError: an input of no argument's name or of another
        shape; OverloadedError: too many operations are pending.
        """
        inputs = {name: value if isinstance(value, NDArray) else array(value) for name, value in kwargs.items()} if kwargs else None
        return self._forward(inputs, is_train)

    @property
    def outputs(self) -> list[NDArray]:
        """Of the last forward; before the first, zeros."""
        return self._outputs

    @property
    def output_dict(self) -> dict[str, NDArray]:
        """The outputs by name."""
        return dict(zip(self._symbol.list_outputs(), self._outputs))

    @property
    def arg_dict(self) -> dict[str, NDArray]:
        """The arrays of the arguments, by name."""
        return self._arguments

    @property
    def arg_arrays(self) -> list[NDArray]:
        """The arrays of the arguments, in the order of ``list_arguments()``."""
        return list(self._arguments.values())

    @property
    def aux_dict(self) -> dict[str, NDArray]:
        """The arrays of the auxiliary states, by name."""
        return self._states

    @property
    def aux_arrays(self) -> list[NDArray]:
        """The arrays of the auxiliary states, in order."""
        return list(self._states.values())

    def get_optimized_symbol(self) -> Symbol:
        """The symbol, as it was bound."""
        return self._symbol  # type: ignore[no-any-return]

    def copy_params_from(
        self,
        arg_params: Mapping[str, NDArray],
        aux_params: Mapping[str, NDArray] | None = None,
        allow_extra_params: bool = False,
    ) -> None:
        """Writes arrays to arguments and states by name. ``allow_extra_params``: names of no use are passed over."""
        self._copy_params_from(dict(arg_params), dict(aux_params or {}), allow_extra_params)

    def reshape(self, partial_shaping: bool = False, allow_up_sizing: bool = False, **kwargs: Any) -> Executor:
        """An executor for other shapes of some arguments. Arrays whose shapes stay are shared.

        partial_shaping   arguments that are not named may change their shapes, too
        allow_up_sizing   arrays may grow
        """
        shapes = {name: shape_of(shape) for name, shape in kwargs.items()}
        return self._rebound(shapes, partial_shaping, allow_up_sizing)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        instead = _MISSING.get(name)
        if instead is not None:
            raise MissingError(f"Executor.{name}: it is not offered; use {instead}")
        raise AttributeError(f"Executor has no attribute {name!r}")
