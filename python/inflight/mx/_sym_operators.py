# SPDX-License-Identifier: Apache-2.0
"""The functions of operators on symbols, made when this is imported. Their types: _sym_operators.pyi, made by the build."""

from __future__ import annotations

from inflight.mx import _operators
from inflight.mx.symbol import Symbol

__all__ = []
for _operator in _operators.OPERATORS:
    for _name in _operators.public_names(_operator):
        globals()[_name] = _operators.symbol_function(_operator, _name, Symbol)
        __all__ += [_name]
