# SPDX-License-Identifier: Apache-2.0
"""mx.nd: arrays, their parts, writes through them, and what is refused. Right answers come from NumPy and by hand."""

from __future__ import annotations

import asyncio
import copy
import os
import pathlib
import pickle
import threading
import time

import inflight
import inflight.mx as mx
import numpy as np
import pytest

BASE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_what_an_array_is() -> None:
    a = mx.nd.array(BASE)
    assert a.shape == (2, 3, 4) and a.size == 24 and a.ndim == 3 and len(a) == 2
    assert a.dtype is np.float32 and a.context == mx.cpu() and str(a.context) == "cpu(0)"
    assert (a.asnumpy() == BASE).all() and a.asnumpy().flags.writeable
    assert a.T.shape == (4, 3, 2) and (a.T.asnumpy() == BASE.T).all()
    assert [row.shape for row in a] == [(3, 4), (3, 4)]
    assert repr(mx.nd.array([[1, 2]])) == "\n[[1. 2.]]\n<NDArray 1x2 @cpu(0)>"
    one = mx.nd.array([2.5])
    assert float(one) == 2.5 and int(one) == 2 and bool(one) and one.asscalar() == np.float32(2.5)
    assert [10, 20, 30][mx.nd.array([1], dtype="int32")] == 20
    with pytest.raises(ValueError, match="ambiguous"):
        bool(a)
    with pytest.raises(ValueError, match="found 24 elements, want 1"):
        a.asscalar()
    with pytest.raises(TypeError):
        range(mx.nd.array([1.5]))  # type: ignore[call-overload]
    assert np.asarray(a).shape == (2, 3, 4) and np.asarray(a, dtype="int64").dtype == np.int64
    assert (np.from_dlpack(a) == BASE).all()
    assert 5 in a and 77 not in a


def test_copies_are_apart() -> None:
    a = mx.nd.array(BASE)
    for other in (a.copy(), copy.copy(a), copy.deepcopy(a), pickle.loads(pickle.dumps(a)), a.astype("float32"), a[:, 1:3].copy()):
        before = other.asnumpy()
        a += 1
        assert (other.asnumpy() == before).all()
    source = np.zeros(3, np.float32)
    b = mx.nd.array(source)
    source[:] = 7
    assert b.asnumpy().tolist() == [0, 0, 0]
    whole = a.asnumpy()
    whole[:] = -1
    assert a.asnumpy()[0, 0, 0] != -1


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8", "int8", "int32", "int64", "bool"])
def test_types(dtype: str) -> None:
    a = mx.nd.array([[0, 1], [1, 0]], dtype=dtype)
    assert a.dtype is np.dtype(dtype).type
    assert (a.asnumpy() == np.array([[0, 1], [1, 0]], dtype)).all()
    for made in (mx.nd.zeros((2, 2), dtype=dtype), mx.nd.ones((2, 2), dtype=dtype), mx.nd.full((2, 2), 1, dtype=dtype)):
        assert made.dtype is np.dtype(dtype).type and made.shape == (2, 2)
    assert a.astype("int32").dtype is np.int32
    assert mx.nd.array(np.arange(3, dtype=dtype) if dtype != "bool" else np.ones(3, bool)).dtype is np.float32  # MXNet's rule
    assert mx.nd.array(a).dtype is a.dtype


PAIRS = ["+", "-", "*", "/", "%", "**", ">", ">=", "<", "<=", "==", "!="]


@pytest.mark.parametrize("sign", PAIRS)
def test_operators(sign: str) -> None:
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    for y in (np.array([[2, 2, 2], [3, 5, 7]], np.float32), np.array([[2, 3, 4]], np.float32), np.array([[2], [5]], np.float32)):
        want = eval(f"x {sign} y").astype(np.float32)
        got = eval(f"a {sign} b", {"a": mx.nd.array(x), "b": mx.nd.array(y)})
        assert got.dtype is np.float32
        np.testing.assert_allclose(got.asnumpy(), want, 1e-5, 1e-5)
    for scalar in (2, 2.5, True, np.float32(3), np.int64(2)):
        for text in (f"x {sign} s", f"s {sign} x"):
            want = eval(text, {"x": x, "s": float(scalar)}).astype(np.float32)
            got = eval(text, {"x": mx.nd.array(x), "s": scalar})
            np.testing.assert_allclose(got.asnumpy(), want, 1e-5, 1e-5)
    for wrong in ("1", None, [1, 2, 3], x, {}, object()):
        if sign in ("==", "!=") and not isinstance(wrong, np.ndarray):
            continue  # Python compares identities
        with pytest.raises(TypeError):
            eval(f"a {sign} w", {"a": mx.nd.array(x), "w": wrong})
        if sign == "%" and isinstance(wrong, str):
            continue  # formats the text
        with pytest.raises(TypeError):
            eval(f"w {sign} a", {"a": mx.nd.array(x), "w": wrong})


def test_in_place_makes_a_version() -> None:
    a = mx.nd.array([1, 2, 3, 4])
    same = a
    pinned = a.snapshot()
    for sign, operand, want in (("+", 1, [2, 3, 4, 5]), ("*", 2, [4, 6, 8, 10]), ("-", 2, [2, 4, 6, 8]), ("/", 2, [1, 2, 3, 4]), ("**", 2, [1, 4, 9, 16]), ("%", 5, [1, 4, 4, 1])):
        names = {"a": a}
        exec(f"a {sign}= {operand}", names)
        assert names["a"] is same and same.asnumpy().tolist() == want
    a += mx.nd.array([1])
    assert same.asnumpy().tolist() == [2, 5, 5, 2]
    pinned.wait()
    assert pinned.numpy().tolist() == [1, 2, 3, 4]  # what was there when it was pinned
    with pytest.raises(TypeError):
        a += "1"  # type: ignore[operator, arg-type, misc]


BASIC = [
    0, -1, (0, 1), (1, 2, 3), (0, -1, -1), slice(None), slice(1, 2), slice(0, 2), (0, slice(1, 3)), (0, slice(None), 1),
    (slice(None), slice(1, 3)), (slice(None), slice(None), slice(None, None, 2)), (slice(None), slice(None), slice(None, None, -1)),
    (slice(None, None, -1),), Ellipsis, (Ellipsis, 0), (Ellipsis, slice(1, 3)), (0, Ellipsis, 2), None, (None, 0), (0, None),
    (slice(None), None, 1), (slice(0, 1), slice(1, 2), slice(1, 3)), (1, slice(2, 0, -1), 3), np.int64(1), (slice(-1, None), slice(-2, None)),
]  # fmt: skip


@pytest.mark.parametrize("key", BASIC, ids=str)
def test_parts_and_writes_to_them(key: object) -> None:
    def shaped(values: np.ndarray) -> np.ndarray:
        return values.reshape((1,)) if values.ndim == 0 else values  # MXNet keeps an axis

    a = mx.nd.array(BASE)
    want = BASE.copy()
    got = a[key]
    part = shaped(np.asarray(want[key]))
    assert got.shape == part.shape and (got.asnumpy() == part).all()
    # A number, an array of the part's shape, one that broadcasts, NumPy's, and a list.
    for number in (-1, 0.5):
        a[key] = number
        want[key] = number
        assert (a.asnumpy() == want).all()
    values = np.arange(part.size, dtype=np.float32).reshape(part.shape) + 100
    for source in (mx.nd.array(values), values * 2, (values * 3).tolist()):
        a[key] = source
        want[key] = (source.asnumpy() if isinstance(source, mx.NDArray) else np.array(source)).reshape(np.shape(want[key]))
        assert (a.asnumpy() == want).all()
    a[key] = mx.nd.array([55])
    want[key] = 55
    assert (a.asnumpy() == want).all()


@pytest.mark.parametrize("key", BASIC, ids=str)
def test_a_part_shares_or_is_a_copy(key: object) -> None:
    """As MXNet: what has no gaps is a view, which writes through both ways; the rest is a copy, of which the array knows nothing."""
    a = mx.nd.array(BASE)
    part = a[key]
    shares = part.shares_memory_with(a)
    dense = BASE[key] if not np.isscalar(BASE[key]) else np.zeros(1)
    assert shares == bool(dense.flags.c_contiguous or dense.size == 1)
    part[:] = -7
    assert (part.asnumpy() == -7).all()
    assert (np.asarray(a.asnumpy()[key]) == (-7 if shares else np.asarray(BASE[key]))).all()
    a[:] = 3
    assert (part.asnumpy() == (3 if shares else -7)).all()
    part += 1
    assert (np.asarray(a.asnumpy()[key]) == (4 if shares else 3)).all()


def test_reshape_shares_and_knows_the_codes() -> None:
    a = mx.nd.zeros((2, 3, 4))
    for codes, shape in (
        ((6, 4), (6, 4)), ((-1,), (24,)), ((0, -1), (2, 12)), ((-2,), (2, 3, 4)), ((-3, 0), (6, 4)), ((0, -4, 3, 1, 0), (2, 3, 1, 4)),
        ((-1, 0), (8, 3)), ((4, -1, 2), (4, 3, 2)),
    ):  # fmt: skip
        assert a.reshape(codes).shape == shape and a.reshape(*codes).shape == shape and a.reshape(shape=codes).shape == shape
    assert a.reshape((-1, 0), reverse=True).shape == (6, 4)
    a.reshape((-1,))[5] = 9
    assert a.asnumpy()[0, 1, 1] == 9
    for wrong in ((5, 5), (-1, -1), (0, 0, 0, 0), (-9,)):
        with pytest.raises(inflight.InvalidArgumentError):
            a.reshape(wrong)
    with pytest.raises(TypeError):
        a.reshape("24")
    with pytest.raises(TypeError):
        a.reshape((2.5, 4))


def test_indices() -> None:
    a = mx.nd.array(BASE)
    for key in ([0], [1, 0, 1], [-1, -2], np.array([[0, 1], [1, 0]]), (np.array([0, 1]), np.array([2, -1])), ([0, 1], [0, 1], [3, 2]), ([1], 2)):
        assert (a[key].asnumpy() == BASE[key]).all(), key
    assert (a[mx.nd.array([1, 0])].asnumpy() == BASE[[1, 0]]).all()
    for bad in ([2], [-3], ([0], [3])):
        with pytest.raises(IndexError, match="want -"):
            a[bad]
    for unsupported in (np.array([True, False]), (slice(None), [0]), ([0], slice(0, 1))):
        with pytest.raises(NotImplementedError):
            a[unsupported]
    with pytest.raises(NotImplementedError, match="where"):
        a[[0, 1]] = 3


@pytest.mark.parametrize(
    ("key", "kind"),
    [(2, IndexError), (-3, IndexError), ((0, 3), IndexError), ((0, 0, 0, 0), IndexError), (slice(2, 2), IndexError), ("a", TypeError),
     (1.5, TypeError), ((Ellipsis, Ellipsis), IndexError), (slice("a"), TypeError), (slice(None, None, 0), TypeError), (True, TypeError),
     (object(), TypeError), (slice(0, 2, 0), TypeError)],
)  # fmt: skip
def test_bad_keys(key: object, kind: type[Exception]) -> None:
    a = mx.nd.array(BASE)
    with pytest.raises(kind) as raised:
        a[key]
    assert isinstance(raised.value, mx.MXNetError)
    with pytest.raises(kind):
        a[key] = 1
    assert (a.asnumpy() == BASE).all()


def test_bad_values() -> None:
    a = mx.nd.array(BASE)
    for key, value in ((slice(None), np.zeros((2, 2, 4))), (0, np.zeros((4, 3))), (0, np.zeros((2, 1, 3, 4))), ((0, 0), [1, 2])):
        with pytest.raises(ValueError, match="assign: found|assign: got"):
            a[key] = value
    with pytest.raises(TypeError):
        a[0] = "text"
    with pytest.raises(TypeError):
        a[0] = None
    assert (a.asnumpy() == BASE).all()


@pytest.mark.parametrize(
    ("source", "kind", "says"),
    [
        (None, TypeError, "None"),
        (np.zeros(2, ">f4"), ValueError, "byte order"),
        (np.array([None, 1], object), TypeError, "objects"),
        (np.array(["a"]), ValueError, "format"),
        (np.zeros(2, np.complex64), ValueError, "format"),
        (np.zeros((2, 0)), ValueError, "at least 1"),
        (np.zeros(2, "M8[s]"), ValueError, "."),
        ([[1, 2], [3]], ValueError, "one shape"),
        (["a", "b"], ValueError, "."),
        ("text", TypeError, "."),
        (object(), TypeError, "want an array"),
        ({}, TypeError, "."),
    ],
)
def test_bad_sources(source: object, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says) as raised:
        mx.nd.array(source)
    assert isinstance(raised.value, mx.MXNetError)


def test_bad_creation() -> None:
    for call in (lambda: mx.nd.zeros((2, 0)), lambda: mx.nd.zeros((-1,)), lambda: mx.nd.arange(5, 5), lambda: mx.nd.full((2,), 1, dtype="complex64")):
        with pytest.raises(ValueError):
            call()
    for call in (lambda: mx.nd.zeros("12"), lambda: mx.nd.zeros((2.0,)), lambda: mx.nd.zeros((2,), dtype="no"), lambda: mx.nd.zeros((2,), ctx="cpu")):  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            call()
    with pytest.raises(NotImplementedError, match="bfloat16"):
        mx.nd.zeros((2,), dtype="bfloat16")


def test_creation() -> None:
    assert mx.nd.zeros(3).asnumpy().tolist() == [0, 0, 0]
    assert mx.nd.full((2,), 2.5).asnumpy().tolist() == [2.5, 2.5]
    assert mx.nd.arange(3).asnumpy().tolist() == [0, 1, 2]
    assert mx.nd.arange(1, 2, 0.25, repeat=2).asnumpy().tolist() == [1, 1, 1.25, 1.25, 1.5, 1.5, 1.75, 1.75]
    assert (mx.nd.eye(3, 4, 1).asnumpy() == np.eye(3, 4, 1)).all()
    assert mx.nd.empty((2, 3)).shape == (2, 3)
    x = mx.nd.array([[1, 2], [3, 4]])
    assert mx.nd.concatenate([x, x], axis=1).shape == (2, 4) and mx.nd.concat(x, x, dim=0).shape == (4, 2)
    assert mx.nd.stack(x, x, x).shape == (3, 2, 2)
    assert mx.nd.moveaxis(mx.nd.zeros((2, 3, 4)), 0, -1).shape == (3, 4, 2)
    assert mx.nd.moveaxis(mx.nd.zeros((2, 3, 4)), [0, 1], [-1, 0]).shape == (3, 4, 2)
    out = mx.nd.zeros((2, 2))
    assert mx.nd.full((2, 2), 4, out=out) is out and out.asnumpy().sum() == 16
    assert mx.nd.array(range(3)).asnumpy().tolist() == [0, 1, 2] and mx.nd.array(5).shape == (1,)
    version = x.snapshot()
    assert isinstance(version, inflight.NDArray) and mx.nd.array(version).shape == (2, 2)


def test_functions_of_operators() -> None:
    x = mx.nd.array([[3, 1, 2], [6, 5, 4]])
    n = x.asnumpy()
    assert x.sum().asnumpy().tolist() == [21] and mx.nd.sum(x, 1).asnumpy().tolist() == [6, 15]
    assert x.max(axis=0).asnumpy().tolist() == [6, 5, 4] and mx.nd.argmax(x, axis=1).asnumpy().tolist() == [0, 0]
    assert x.sort(axis=1).asnumpy().tolist() == np.sort(n, 1).tolist() and x.clip(2, 5).asnumpy().tolist() == np.clip(n, 2, 5).tolist()
    assert mx.nd.transpose(x, (1, 0)).shape == (3, 2) and mx.nd.transpose(x, axes=[1, 0]).shape == (3, 2) and x.transpose((1, 0)).shape == (3, 2)
    assert x.expand_dims(0).shape == (1, 2, 3) and x.tile((2, 2)).shape == (4, 6) and x.flatten().shape == (2, 3)
    first, second, third = x.split(3, axis=1)
    assert first.shape == (2, 1) and third.asnumpy().tolist() == [[2], [4]] and second.shape == (2, 1)
    assert mx.nd.dot(x, x.T).asnumpy().tolist() == (n @ n.T).tolist()
    assert mx.nd.one_hot(mx.nd.array([0, 2]), 3).asnumpy().tolist() == [[1, 0, 0], [0, 0, 1]]
    assert mx.nd.cast(x, dtype=np.int32).dtype is np.int32 and mx.nd.Cast(x, dtype="uint8").dtype is np.uint8
    assert mx.nd.where(x > 2, x, mx.nd.zeros_like(x)).asnumpy().tolist() == [[3, 0, 0], [6, 5, 4]]
    assert mx.nd.maximum(x, 3).asnumpy().min() == 3 and mx.nd.maximum(2, 5) == 5 and mx.nd.subtract(10, x).asnumpy()[0, 0] == 7
    out = mx.nd.zeros((2, 3))
    assert mx.nd.exp(x, out=out) is out
    np.testing.assert_allclose(out.asnumpy(), np.exp(n), 1e-4)
    full = mx.nd.FullyConnected(x, weight=mx.nd.ones((2, 3)), bias=mx.nd.ones((2,)), num_hidden=2)
    assert full.asnumpy().tolist() == [[7, 7], [16, 16]]
    assert mx.nd.FullyConnected(x, mx.nd.ones((2, 3)), num_hidden=2, no_bias=True).asnumpy().tolist() == [[6, 6], [15, 15]]


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda x: mx.nd.exp(x.asnumpy()), TypeError, "found ndarray, want an mx.nd.NDArray"),
        (lambda x: mx.nd.exp(data=3), TypeError, "data: found int"),
        (lambda x: mx.nd.exp(x, x), TypeError, "."),
        (lambda x: mx.nd.exp(x, rate=3), ValueError, "rate"),
        (lambda x: mx.nd.FullyConnected(x, mx.nd.ones((2, 3)), num_hidden="many", no_bias=True), ValueError, "num_hidden"),
        (lambda x: mx.nd.FullyConnected(x, mx.nd.ones((2, 3)), no_bias=True), ValueError, "num_hidden"),
        (lambda x: mx.nd.FullyConnected(x, bias=x, num_hidden=2), TypeError, "bias without weight"),
        (lambda x: mx.nd.FullyConnected(x, x, data=x, num_hidden=2), TypeError, "twice"),
        (lambda x: mx.nd.FullyConnected(x, mx.nd.ones((2, 7)), num_hidden=2, no_bias=True), ValueError, "FullyConnected"),
        (lambda x: mx.nd.exp(x, out=mx.nd.zeros((9,))), ValueError, "out"),
        (lambda x: mx.nd.exp(x, out=3), TypeError, "out"),
        (lambda x: mx.nd.concat(x, 3), TypeError, "input 1"),
        (lambda x: mx.nd.sum(x, axis={}), TypeError, "axis"),
        (lambda x: mx.nd.sum(x, axis=7), ValueError, "axis"),
        (lambda x: x + mx.nd.ones((5, 5)), ValueError, "broadcast"),
        (lambda x: mx.nd.no_such_thing(x), AttributeError, "no_such_thing"),
        (lambda x: mx.nd.exponent(x), ValueError, "."),
        (lambda x: mx.nd.sotfmax(x), ValueError, "softmax"),
        (lambda x: mx.nd.RNN(x), NotImplementedError, "RNN"),
        (lambda x: mx.nd.sparse, NotImplementedError, "dense"),
        (lambda x: mx.gluon.nn, NotImplementedError, "training"),
        (lambda x: mx.autograd, AttributeError, "training"),
        (lambda x: mx.nothing, AttributeError, "nothing"),
        (lambda x: x.attach_grad(), NotImplementedError, "training"),
        (lambda x: x.nothing, AttributeError, "nothing"),
        (lambda x: mx.gpu(99), LookupError, r"gpu\(99\)"),
        (lambda x: mx.cpu(1), LookupError, r"cpu\(1\)"),
        (lambda x: x.as_in_context("gpu"), TypeError, "Context"),
        (lambda x: x.copyto(mx.nd.zeros((9,))), ValueError, "copyto"),
        (lambda x: x.copyto(None), TypeError, "copyto"),
        (lambda x: x.astype("nothing"), TypeError, "nothing"),
        (lambda x: x.astype(">f4"), ValueError, "byte order"),
        (lambda x: mx.nd.random.uniform(0, 1, shape=(0,)), ValueError, "at least 1"),
        (lambda x: mx.nd.random.uniform(2, 1), ValueError, "."),
        (lambda x: mx.nd.random.uniform(0, 1, dtype="int32"), ValueError, "dtype"),
        (lambda x: mx.nd.random.uniform(x, 1), NotImplementedError, "number"),
        (lambda x: mx.nd.random.gamma(1, 1), NotImplementedError, "gamma"),
        (lambda x: mx.random.seed("a"), TypeError, "seed"),
    ],
)  # fmt: skip
def test_bad_calls(call: object, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says) as raised:
        call(mx.nd.array([[1, 2, 3]]))  # type: ignore[operator]
    assert isinstance(raised.value, mx.MXNetError) or kind is AttributeError


def test_what_fails_later_is_the_arrays_own() -> None:
    x = mx.nd.array([2**40], dtype="int64")
    y = x + 1  # more than the device computes with
    for look in (y.wait_to_read, y.asnumpy, lambda: np.asarray(y), lambda: (y * 2).asnumpy(), lambda: repr(y)):
        with pytest.raises(NotImplementedError, match="32 bits"):
            look()
    assert y.can_read() and isinstance(y.status(), inflight.UnsupportedError)


def test_writes_that_overlap_and_share() -> None:
    a, n = mx.nd.array(BASE[0]), BASE[0].copy()
    for statement in ("x[0] += 1", "x[:] = x", "x[1:] = x[:-1]", "x[:, 1:] = x[:, :-1]", "x[::-1] = x", "x[0][1:3] = x[2][0:2]"):
        exec(statement, {"x": a})
        exec(statement.split(" = ")[0] + " = " + statement.split(" = ")[1] + ".copy()" if " = " in statement else statement, {"x": n})
        assert (a.asnumpy() == n).all(), statement
    for place, row in enumerate(a):
        row[:] = place
    assert (a.asnumpy() == np.arange(3)[:, None]).all()
    mx.nd.square(a, out=a)
    mx.nd.exp(a[1], out=a[0])
    assert a.asnumpy()[2].tolist() == [4, 4, 4, 4]
    np.testing.assert_allclose(a.asnumpy()[0], np.e, 1e-5)


def test_threads_write_their_rows() -> None:
    a = mx.nd.zeros((8, 4))

    def work(row: int) -> None:
        for number in range(50):
            a[row] = number
            a[row] += row

    threads = [threading.Thread(target=work, args=(row,)) for row in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (a.asnumpy() == np.arange(8)[:, None] + 49).all()


def test_more_operations_than_there_may_be_are_refused() -> None:
    slow = mx.nd.random.uniform(0, 1, (2000, 2000))
    for _ in range(3):
        slow = mx.nd.dot(slow, slow) * 1e-3
    a = slow[0:2, 0:2]  # a small one that what follows waits for
    with pytest.raises(inflight.OverloadedError, match="pending"):
        for _ in range(300_000):
            a += 1
    mx.nd.waitall()
    a += 1
    a.wait_to_read()


def test_random_numbers_are_those_of_the_calls() -> None:
    def draw() -> list[list[float]]:
        mx.random.seed(17)
        drawn = [mx.nd.random.uniform(0, 1, (50,)), mx.nd.random.normal(1, 2, (40,)), mx.nd.random.randint(-5, 5, (30,)), mx.nd.random.randn(3, 4), mx.random.uniform(shape=3)]
        return [one.asnumpy().reshape(-1).tolist() for one in drawn]

    first = draw()
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            (mx.nd.ones((100, 100)) + 1).wait_to_read()

    others = [threading.Thread(target=busy) for _ in range(3)]
    for one in others:
        one.start()
    try:
        assert all(draw() == first for _ in range(20))
    finally:
        stop.set()
        for one in others:
            one.join()
    assert first[0] != first[1][:50] and all(0 <= one < 1 for one in first[0]) and all(-5 <= one < 5 and one == int(one) for one in first[2])
    mx.random.seed(18)
    assert mx.nd.random.uniform(0, 1, (50,)).asnumpy().tolist() != first[0]
    out = mx.nd.zeros((4,))
    assert mx.nd.random.uniform(5, 6, out=out) is out and (out.asnumpy() >= 5).all()
    assert mx.nd.random.uniform().shape == (1,) and mx.nd.random.randint(0, 3, dtype="int64").dtype is np.int64


def test_files(tmp_path: pathlib.Path) -> None:
    a, b = mx.nd.array(BASE), mx.nd.array([1, 2], dtype="int32")
    path = str(tmp_path / "arrays")
    mx.nd.save(path, {"a": a, "arg:b": b})
    read = mx.nd.load(path)
    assert isinstance(read, dict) and list(read) == ["a", "arg:b"] and (read["a"].asnumpy() == BASE).all() and read["arg:b"].dtype is np.int32
    mx.nd.save(path, [a, b])
    pair = mx.nd.load(path)
    assert isinstance(pair, list) and pair[1].asnumpy().tolist() == [1, 2]
    data = pathlib.Path(path).read_bytes()
    assert len(mx.nd.load_frombuffer(data)) == 2
    for end in (0, 7, 20, len(data) - 1):
        with pytest.raises(inflight.InvalidModelError):
            mx.nd.load_frombuffer(data[:end])
    with pytest.raises(FileNotFoundError):
        mx.nd.load(str(tmp_path / "absent"))
    with pytest.raises(TypeError):
        mx.nd.save(path, ["text"])  # type: ignore[list-item]
    with pytest.raises(OSError):
        mx.nd.save(str(tmp_path / "no" / "folder"), a)


def test_names_of_files(tmp_path: pathlib.Path) -> None:
    arrays = {"a": mx.nd.ones((2,))}
    symbol = mx.sym.Variable("x") + 1
    for path in (tmp_path / "a.params", str(tmp_path / "b.params"), tmp_path / os.fsdecode(b"\xff.params")):
        mx.nd.save(path, arrays)
        assert list(mx.nd.load(path)) == ["a"]
        symbol.save(path)
        assert mx.sym.load(path).list_arguments() == ["x"]
    with pytest.raises(TypeError, match="fname: found int, want a string or an os.PathLike"):
        mx.nd.load(3)


def test_integers_that_are_too_large() -> None:
    a = mx.nd.ones((2,))
    calls = [lambda: a + 10**400, lambda: 10**400 - a, lambda: mx.sym.Variable("x") * 10**400, lambda: mx.nd.full((2,), 10**400)]
    calls += [lambda: a.__setitem__(0, -(10**400)), lambda: a.__setitem__(slice(None), 10**400)]
    for call in calls:
        with pytest.raises(inflight.InvalidArgumentError, match="found an integer that is too large for a float"):
            call()
    assert (a.asnumpy() == 1).all()


def test_awaiting() -> None:
    async def main() -> None:
        x = mx.nd.ones((300, 300))
        y = await mx.nd.dot(x, x)
        assert y.can_read() and y.asnumpy()[0, 0] == 300
        many = [x * number for number in range(50)]
        async with asyncio.timeout(30):
            assert await asyncio.gather(*map(_awaited, many)) == many
        with pytest.raises(NotImplementedError):
            await (mx.nd.array([2**40], dtype="int64") + 1)

    async def _awaited(array: mx.NDArray) -> mx.NDArray:
        return await array

    asyncio.run(main())


def test_waits_have_ends() -> None:
    x = mx.nd.random.uniform(0, 1, (2000, 2000))
    for _ in range(3):
        x = mx.nd.dot(x, x) * 1e-3
    began = time.monotonic()
    if not x.can_read():
        with pytest.raises(TimeoutError):
            x.wait(timeout=0.001)
        assert time.monotonic() - began < 5
    x.wait(timeout=60)
    mx.nd.waitall()
    assert x.can_read() and x.status() is None
    x.wait_to_write()
