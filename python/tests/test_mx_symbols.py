# SPDX-License-Identifier: Apache-2.0
"""mx.sym and executors: composition, names, inference, files, binding, and what is refused."""

from __future__ import annotations

import copy
import json
import pathlib
import pickle
import threading

import inflight
import inflight.mx as mx
import numpy as np
import pytest


def mlp() -> mx.Symbol:
    data = mx.sym.Variable("data")
    hidden = mx.sym.Activation(mx.sym.FullyConnected(data, num_hidden=4, name="fc1"), act_type="relu", name="act")
    return mx.sym.softmax(mx.sym.FullyConnected(hidden, num_hidden=3, name="fc2"), name="out")


def test_lists_and_names() -> None:
    net = mlp()
    assert net.name == "out" and repr(net) == "<Symbol out>" and len(net) == 1
    assert net.list_arguments() == ["data", "fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias"]
    assert net.list_outputs() == ["out_output"] and net.list_auxiliary_states() == []
    inner = net.get_internals()
    assert "act_output" in inner.list_outputs() and inner["act_output"].name == "act"
    assert inner[0].name == "data" and [one.name for one in inner[:2]] == ["data", "fc1_weight"]
    children = net.get_children()
    assert children is not None and children.list_outputs() == ["fc2_output"]
    assert mx.sym.Variable("x").get_children() is None
    norm = mx.sym.BatchNorm(mx.sym.var("x"), name="bn")
    assert norm.list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]
    assert norm.list_inputs() == ["x", "bn_gamma", "bn_beta", "bn_moving_mean", "bn_moving_var"]
    group = mx.sym.Group([net, inner["act_output"]])
    assert len(group) == 2 and group.name is None and [one.name for one in group] == ["out", "act"] and group[-1].name == "act"
    with pytest.raises(IndexError):
        group[2]
    with pytest.raises(inflight.NotFoundError):
        group["none"]
    with pytest.raises(TypeError):
        group[1.5]
    with pytest.raises(TypeError, match="truth"):
        bool(net == net)


def test_names_that_are_made() -> None:
    with mx.name.NameManager():
        x = mx.sym.var("x")
        assert [mx.sym.FullyConnected(x, num_hidden=2).name for _ in range(2)] == ["fullyconnected0", "fullyconnected1"]
        assert (x + x).name == "_plus0" and (x + 1).name == "_plusscalar0" and (2 - x).name == "_rminusscalar0"
    with mx.name.Prefix("left_"):
        assert mx.sym.relu(x).name == "left_relu0" and mx.sym.relu(x, name="r").name == "left_r"
    with mx.AttrScope(__group__="4"):
        with mx.AttrScope(__other__="5"):
            y = mx.sym.exp(mx.sym.Variable("a", attr={"__own__": "6"}), name="y")
    assert y.attr("__group__") == "4" and y.attr("__other__") == "5" and y.attr("__own__") is None
    assert y.attr_dict()["a"]["__own__"] == "6" and y.list_attr()["__group__"] == "4"
    assert mx.sym.exp(x).attr("__group__") is None


VALUES = {"a": np.array([[1, 2, 3], [4, 5, 6]], np.float32), "b": np.array([[2, 2, 1], [3, 5, 7]], np.float32)}


@pytest.mark.parametrize(
    "text",
    ["a+b", "a-b", "a*b", "a/b", "a%b", "a**b", "a>b", "a>=b", "a<b", "a<=b", "a==b", "a!=b", "a+2", "2+a", "2-a", "a-2", "3*a", "a/2", "2/a",
     "a%2", "7%a", "a**2", "2**a", "a>2", "2>a", "a==2", "-a", "abs(a-3)", "(a+b)*2-a/b"],
)  # fmt: skip
def test_operators(text: str) -> None:
    a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
    net = eval(text, {"a": a, "b": b})
    arrays = {name: mx.nd.array(VALUES[name]) for name in net.list_arguments()}
    (got,) = net.eval(mx.cpu(), **arrays)
    np.testing.assert_allclose(got.asnumpy(), np.asarray(eval(text, dict(VALUES))).astype(np.float32), 1e-5, 1e-5)


def test_no_broadcast_by_operators_as_in_mxnet() -> None:
    net = mx.sym.var("a") + mx.sym.var("b")
    with pytest.raises(ValueError, match="same shape"):
        net.infer_shape(a=(2, 3), b=(1, 3))
    assert mx.sym.broadcast_add(mx.sym.var("a"), mx.sym.var("b")).infer_shape(a=(2, 3), b=(1, 3))[1] == [(2, 3)]


def test_composition() -> None:
    net = mlp()
    first = mx.sym.exp(mx.sym.Variable("image"), name="first")
    for composed in (net(data=first), net(first)):
        assert composed.list_arguments()[0] == "image" and "data" not in composed.list_arguments()
    assert net.list_arguments()[0] == "data"  # as it was
    with pytest.raises(ValueError, match="none"):
        net(none=first)
    with pytest.raises(TypeError):
        net(first, data=first)
    for twin in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net)), mx.sym.load_json(net.tojson())):
        assert twin.list_arguments() == net.list_arguments() and twin.name == net.name


def test_inference() -> None:
    net = mlp()
    arguments, outputs, states = net.infer_shape(data=(8, 5))
    assert arguments == [(8, 5), (4, 5), (4,), (3, 4), (3,)] and outputs == [(8, 3)] and states == []
    assert net.infer_shape((8, 5))[1] == [(8, 3)]
    with pytest.warns(UserWarning, match="data"):
        assert net.infer_shape() == (None, None, None)
    partial = mx.sym.Group([net, mx.sym.exp(mx.sym.var("z"))]).infer_shape_partial(z=(2, 7))
    assert partial[0][0] == () and partial[0][5] == (2, 7) and partial[1] == [(), (2, 7)]
    assert net.infer_type(data="float32")[0] == [np.float32] * 5
    assert mx.sym.Cast(mx.sym.var("x"), dtype="int32").infer_type(x=np.float16) == ([np.float16], [np.int32], [])
    for bad in (lambda: net.infer_shape(data=(8, 5), fc1_weight=(4, 6)), lambda: net.infer_shape(none=(1,)), lambda: net.infer_type(data="complex64")):
        with pytest.raises(ValueError):
            bad()
    with pytest.raises(TypeError):
        net.infer_shape(data="85")
    with pytest.raises(TypeError):
        net.infer_shape((1,), (1,), (1,), (1,), (1,), (1,))


def test_creation_and_shapes_of_variables() -> None:
    x = mx.sym.Variable("x", shape=(2, 3), dtype="float32")
    assert (x + 1).infer_shape()[1] == [(2, 3)]
    for net, want in (
        (mx.sym.zeros((2,)), [0, 0]), (mx.sym.ones((2,), dtype="int32"), [1, 1]), (mx.sym.full((2,), 3), [3, 3]),
        (mx.sym.arange(3), [0, 1, 2]), (mx.sym.arange(1, 2, 0.5), [1, 1.5]), (mx.sym.eye(1, 2), [[1, 0]]),
    ):  # fmt: skip
        assert net.eval()[0].asnumpy().tolist() == want
    assert mx.sym.maximum(x, 2).list_arguments() == ["x"] and mx.sym.maximum(1, 2) == 2 and mx.sym.pow(x, x).list_arguments() == ["x"]
    parts = mx.sym.SliceChannel(x, num_outputs=3, axis=1, name="parts")
    assert len(parts) == 3 and parts[1].list_outputs() == ["parts_output1"]
    assert mx.sym.concat(*parts, dim=1).infer_shape()[1] == [(2, 3)]
    assert x.reshape((3, 2)).infer_shape()[1] == [(3, 2)] and x.transpose().infer_shape()[1] == [(3, 2)] and x.sum(axis=1).infer_shape()[1] == [(2,)]


def reference(data: np.ndarray, parameters: dict[str, np.ndarray]) -> np.ndarray:
    hidden = np.maximum(data @ parameters["fc1_weight"].T + parameters["fc1_bias"], 0)
    scores = hidden @ parameters["fc2_weight"].T + parameters["fc2_bias"]
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def parameters(seed: int = 1) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    shapes = {"fc1_weight": (4, 5), "fc1_bias": (4,), "fc2_weight": (3, 4), "fc2_bias": (3,)}
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_binding() -> None:
    net, given = mlp(), parameters()
    data = np.random.default_rng(3).normal(size=(8, 5)).astype(np.float32)
    want = reference(data, given)
    arrays = {name: mx.nd.array(value) for name, value in given.items()}
    by_name = net.bind(mx.cpu(), {"data": mx.nd.array(data), **arrays})
    by_place = net.bind(mx.cpu(), [mx.nd.array(data), *(arrays[name] for name in net.list_arguments()[1:])])
    made = net.simple_bind(mx.cpu(), data=(8, 5))
    assert all((array.asnumpy() == 0).all() for array in made.arg_arrays)
    made.copy_params_from(arrays)
    for executor in (by_name, by_place, made):
        for _ in range(4):  # programs with weights built in come later
            (got,) = executor.forward(data=mx.nd.array(data))
            np.testing.assert_allclose(got.asnumpy(), want, 1e-4, 1e-5)
        assert executor.outputs[0].shape == (8, 3) and list(executor.output_dict) == ["out_output"]
        assert list(executor.arg_dict) == net.list_arguments() and executor.aux_arrays == [] and executor.aux_dict == {}
    # A write to an argument is seen by the next forward, not by the last.
    before = by_name.outputs[0]
    arrays["fc2_bias"][:] = 5
    by_name.arg_dict["fc1_weight"][:] = 0
    after = by_name.forward()[0]
    np.testing.assert_allclose(before.asnumpy(), want, 1e-4, 1e-5)
    changed = {**given, "fc2_bias": np.full(3, 5, np.float32), "fc1_weight": np.zeros((4, 5), np.float32)}
    np.testing.assert_allclose(after.asnumpy(), reference(data, changed), 1e-4, 1e-5)
    (got,) = by_name.forward(data=np.ones((8, 5)))  # what nd.array takes
    assert got.shape == (8, 3)
    wider = made.reshape(data=(2, 5), partial_shaping=True)
    assert wider.arg_dict["data"].shape == (2, 5) and wider.arg_dict["fc1_weight"].shares_memory_with(made.arg_dict["fc1_weight"])
    assert net.bind(mx.cpu(), dict(by_place.arg_dict)).outputs[0].asnumpy().shape == (8, 3)


def test_outputs_are_versions() -> None:
    net = mx.sym.var("x") * 2
    executor = net.bind(mx.cpu(), {"x": mx.nd.zeros((50, 50))})
    held = [executor.forward(x=mx.nd.full((50, 50), number))[0] for number in range(40)]
    assert [array.asnumpy()[3, 3] for array in held] == [2 * number for number in range(40)]


def test_states() -> None:
    net = mx.sym.BatchNorm(mx.sym.var("x"), name="bn", fix_gamma=False, eps=1e-3)
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    args = {"x": mx.nd.array(x), "bn_gamma": mx.nd.array([1, 2, 3]), "bn_beta": mx.nd.array([0, 1, 0])}
    mean, var = mx.nd.array([1, 2, 3]), mx.nd.array([4, 4, 4])
    want = (x - np.array([1, 2, 3])[:, None]) / np.sqrt(4 + 1e-3) * np.array([1, 2, 3])[:, None] + np.array([0, 1, 0])[:, None]
    for states in ({"bn_moving_mean": mean, "bn_moving_var": var}, [mean, var]):
        executor = net.bind(mx.cpu(), args, aux_states=states)
        np.testing.assert_allclose(executor.forward()[0].asnumpy(), want, 1e-4, 1e-4)
        assert list(executor.aux_dict) == ["bn_moving_mean", "bn_moving_var"]


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda n, a: n.bind(mx.cpu(), {}), ValueError, 'argument "data" is missing'),
        (lambda n, a: n.bind(mx.cpu()), ValueError, "want 5"),
        (lambda n, a: n.bind(mx.cpu(), [mx.nd.zeros((1,))]), ValueError, "got 1 arguments"),
        (lambda n, a: n.bind(mx.cpu(), {**a, "data": np.zeros((8, 5))}), TypeError, "data: found ndarray"),
        (lambda n, a: n.bind(mx.cpu(), {**a, "data": mx.nd.zeros((8, 6))}), ValueError, "fc1"),
        (lambda n, a: n.bind("cpu", a), TypeError, "Context"),
        (lambda n, a: n.bind(mx.cpu(), a, args_grad=a), NotImplementedError, "training"),
        (lambda n, a: n.bind(mx.cpu(), a, grad_req="maybe"), ValueError, "grad_req"),
        (lambda n, a: n.bind(mx.cpu(), a, group2ctx={"a": mx.cpu()}), NotImplementedError, "group2ctx"),
        (lambda n, a: n.bind(mx.cpu(), 3), TypeError, "."),
        (lambda n, a: n.simple_bind(mx.cpu()), ValueError, "."),
        (lambda n, a: n.simple_bind(mx.cpu(), data=(8, 5), none=(3,)), ValueError, "none"),
        (lambda n, a: n.simple_bind(mx.cpu(), data=(8, 5), type_dict={"data": "nothing"}), TypeError, "nothing"),
        (lambda n, a: n.simple_bind(mx.cpu(), data=(8, 5), shared_buffer={"a": 1}), NotImplementedError, "shared_buffer"),
        (lambda n, a: n.bind(mx.cpu(), a).forward(is_train=True), NotImplementedError, "training"),
        (lambda n, a: n.bind(mx.cpu(), a).forward(none=mx.nd.zeros((1,))), ValueError, "none"),
        (lambda n, a: n.bind(mx.cpu(), a).forward(data=mx.nd.zeros((8, 6))), ValueError, "data"),
        (lambda n, a: n.bind(mx.cpu(), a).forward(data=None), TypeError, "."),
        (lambda n, a: n.bind(mx.cpu(), a).backward(), NotImplementedError, "training"),
        (lambda n, a: n.bind(mx.cpu(), a).grad_dict, AttributeError, "training"),
        (lambda n, a: n.bind(mx.cpu(), a).copy_params_from({"none": mx.nd.zeros((1,))}), ValueError, "none"),
        (lambda n, a: n.bind(mx.cpu(), a).copy_params_from({"data": mx.nd.zeros((1,))}), ValueError, "data"),
        (lambda n, a: n.bind(mx.cpu(), a).reshape(data=(80, 5)), ValueError, "allow_up_sizing|grow"),
        (lambda n, a: mx.sym.Variable(3), TypeError, "name"),
        (lambda n, a: mx.sym.Variable(""), ValueError, "name"),
        (lambda n, a: mx.sym.Variable("x", color="red"), ValueError, "__color__"),
        (lambda n, a: mx.sym.Variable("x", attr={"__a__": 3}), TypeError, "texts"),
        (lambda n, a: mx.sym.Group([]), ValueError, "."),
        (lambda n, a: mx.sym.Group([3]), TypeError, "Symbol"),
        (lambda n, a: mx.sym.exp(3), TypeError, "Symbol"),
        (lambda n, a: mx.sym.exp(mx.nd.zeros((1,))), TypeError, "found NDArray, want an mx.sym.Symbol"),
        (lambda n, a: mx.sym.exp(n, rate=3), ValueError, "rate"),
        (lambda n, a: mx.sym.FullyConnected(n), ValueError, "num_hidden"),
        (lambda n, a: mx.sym.Activation(n, act_type="other"), ValueError, "act_type"),
        (lambda n, a: mx.sym.Convolution(n, kernel=(3,), num_filter="x"), ValueError, "num_filter"),
        (lambda n, a: mx.sym.FullyConnected(n, wieght=n, num_hidden=3), ValueError, "wieght"),
        (lambda n, a: mx.sym.concat(n, 3), TypeError, "input 1"),
        (lambda n, a: n + "a", TypeError, "."),
        (lambda n, a: n + np.ones(3), TypeError, "."),
        (lambda n, a: mx.sym.no_such(n), AttributeError, "no_such"),
        (lambda n, a: mx.sym.RNN(n), NotImplementedError, "RNN"),
        (lambda n, a: mx.sym.random.uniform(), NotImplementedError, "mx.nd.random"),
        (lambda n, a: n.grad("x"), NotImplementedError, "training"),
        (lambda n, a: mx.sym.load_json(3), TypeError, "str"),
        (lambda n, a: mx.sym.load_json("\ud800"), ValueError, "Unicode"),
        (lambda n, a: mx.sym.exp(n, name=3), TypeError, "name"),
        (lambda n, a: mx.sym.load("/nonexistent"), FileNotFoundError, "nonexistent"),
        (lambda n, a: n.save("/nonexistent/x"), OSError, "nonexistent"),
    ],
)  # fmt: skip
def test_bad_calls(call: object, kind: type[Exception], says: str) -> None:
    arrays = {name: mx.nd.array(value) for name, value in parameters().items()}
    with pytest.raises(kind, match=says) as raised:
        call(mlp(), {"data": mx.nd.zeros((8, 5)), **arrays})  # type: ignore[operator]
    assert isinstance(raised.value, mx.MXNetError) or kind in (AttributeError, TypeError)


def test_graphs_in_files(tmp_path: pathlib.Path) -> None:
    net = mlp()
    path = tmp_path / "net.json"
    net.save(path)
    assert mx.sym.load(path).tojson() == net.tojson() == path.read_text().rstrip("\n")
    text = net.tojson()
    graph = json.loads(text)
    assert {node["op"] for node in graph["nodes"]} == {"null", "FullyConnected", "Activation", "softmax"}

    def changed(change: object) -> str:
        again = json.loads(text)
        change(again)  # type: ignore[operator]
        return json.dumps(again)

    last = len(graph["nodes"]) - 1
    bad = [text[:end] for end in (0, 1, len(text) // 2, len(text) - 2)]
    bad += ["[]", "3", "null", '{"nodes": 3}', '{"nodes": [], "heads": []}', "{" * 5000]
    bad += [
        changed(lambda g: g["nodes"][3]["inputs"][0].__setitem__(0, last)),  # a cycle
        changed(lambda g: g["nodes"][3]["inputs"][0].__setitem__(0, 3)),
        changed(lambda g: g["nodes"][3]["inputs"][0].__setitem__(0, 999)),
        changed(lambda g: g["nodes"][3]["inputs"][0].__setitem__(0, -1)),
        changed(lambda g: g["nodes"][3]["inputs"][0].__setitem__(1, 7)),
        changed(lambda g: g["heads"].__setitem__(0, [999, 0, 0])),
        changed(lambda g: g["nodes"][3].__setitem__("op", 7)),
        changed(lambda g: g["nodes"][3].pop("op")),
        changed(lambda g: g.pop("nodes")),
    ]
    for one in bad:
        with pytest.raises(inflight.InvalidModelError):
            mx.sym.load_json(one)
    with pytest.raises(ValueError, match="Unheard"):
        mx.sym.load_json(changed(lambda g: g["nodes"][3].__setitem__("op", "Unheard")))
    with pytest.raises(NotImplementedError, match="RNN"):
        mx.sym.load_json(changed(lambda g: g["nodes"][3].__setitem__("op", "RNN")))
    with pytest.raises(ValueError, match="num_hidden"):
        mx.sym.load_json(changed(lambda g: g["nodes"][3]["attrs"].__setitem__("num_hidden", "x")))


def test_a_graph_of_any_depth_ends() -> None:
    net = mx.sym.var("x")
    for _ in range(100_000):
        net = net + 1
    assert net.list_arguments() == ["x"] and len(net.tojson()) > 1_000_000
    del net


def test_many_threads_bind_at_once() -> None:
    given = {name: mx.nd.array(value) for name, value in parameters().items()}
    data = np.random.default_rng(3).normal(size=(8, 5)).astype(np.float32)
    want = reference(data, parameters())
    wrong: list[object] = []

    def work() -> None:
        try:
            for _ in range(50):
                executor = mlp().bind(mx.cpu(), {"data": mx.nd.array(data), **given})
                np.testing.assert_allclose(executor.forward()[0].asnumpy(), want, 1e-4, 1e-5)
        except BaseException as raised:  # noqa: BLE001
            wrong.append(raised)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
