# SPDX-License-Identifier: Apache-2.0
"""Writes the types of the functions that inflight.mx makes from the operator table: operator_stubs.py FOLDER."""

from __future__ import annotations

import keyword
import pathlib
import sys

from inflight.mx import _operators


def stub(kind: str, module: str) -> str:
    lines = ["from typing import Any", "", f"from inflight.mx.{module} import {kind}", ""]
    for operator in _operators.OPERATORS:
        for name in _operators.public_names(operator):
            if not keyword.iskeyword(name):
                lines.append(f"def {name}({_operators.signature(operator, kind)}) -> Any: ...")
    lines += ["", "class Methods:"]
    for name in _operators.by_method():
        lines.append(f"    def {name}(self, *args: Any, **kwargs: Any) -> Any: ...")
    return "\n".join(lines) + "\n"


folder = pathlib.Path(sys.argv[1])
(folder / "_nd_operators.pyi").write_text(stub("NDArray", "ndarray"))
(folder / "_sym_operators.pyi").write_text(stub("Symbol", "symbol"))
