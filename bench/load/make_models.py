# SPDX-License-Identifier: Apache-2.0
"""Makes the networks of `./dev bench load` as ONNX files: real architectures, with weights that mean nothing.

usage: make_models.py FOLDER
The onnx wheel brings the architectures along, without their weights (onnx/backend/test/data/light). The weights are
one table of random numbers over and over, so that a packed file is small; what an inference costs does not depend on
them. A file that is there is left as it is.
"""

import pathlib
import sys

import numpy as np
import onnx
import onnx.backend.test
from onnx import numpy_helper

NAMES = ("resnet50", "squeezenet", "shufflenet", "densenet121")
# A prime, so that the rows of no weight are equal.
TABLE = np.random.default_rng(0).standard_normal(4099).astype(np.float32)


def weights(shape):
    values = np.resize(TABLE, shape)
    if len(shape) < 2:  # of a normalisation: its scale, shift, mean and variance; or a bias
        return (np.abs(values) * 0.1 + 0.5).astype(np.float32)
    return (values * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


def fill(model):
    """Replaces each constant that the architecture has in a weight's place by a weight."""
    graph = model.graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    constants = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    made = [numpy_helper.from_array(weights(tuple(int(n) for n in values[node.input[0]])), node.output[0]) for node in constants]
    shapes = {node.input[0] for node in constants}
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    # Scores instead of probabilities: they tell systems apart, and MXNet takes the axis of an old Softmax for another one.
    if nodes[-1].op_type == "Softmax":
        graph.output[0].name = nodes.pop().input[0]
    initializers = [i for i in graph.initializer if i.name not in shapes] + made
    given = shapes | {i.name for i in initializers}
    inputs = [i for i in graph.input if i.name not in given]
    for field, new in (("node", nodes), ("initializer", initializers), ("input", inputs)):
        graph.ClearField(field)
        getattr(graph, field).extend(new)
    model.ir_version = 8
    onnx.checker.check_model(model)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    light = pathlib.Path(onnx.backend.test.__file__).parent / "data" / "light"
    for name in NAMES:
        path = folder / f"{name}.onnx"
        if path.exists():
            continue
        model = onnx.load(light / f"light_{name}.onnx")
        fill(model)
        whole = path.with_suffix(".new")
        onnx.save(model, whole)
        whole.rename(path)


if __name__ == "__main__":
    main()
