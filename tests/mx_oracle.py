# SPDX-License-Identifier: Apache-2.0
"""Asks the real MXNet 1.9.1 what its operators compute, for src/mx/oracle_test.cc.

Usage: mx_oracle.py FOLDER     writes mx_oracle.json and mx_oracle.params there

Wants Python with mxnet 1.9.1, numpy 1.23.5, requests and graphviz 0.8.4. Each call runs in a process of its own: some
inputs that MXNet should refuse damage its memory. Left out is what MXNet computes from memory that it does not own or
draws at random: `stack` of different shapes, `rrelu`, the pooling convention `same`; and deconvolutions to a target shape
that need a padding, which its CPU library refuses though its own rules allow them.
"""

import itertools
import json
import os
import pickle
import random
import sys
import warnings

os.environ["MXNET_ENGINE_TYPE"] = "NaiveEngine"  # no threads: it forks
os.environ["OMP_NUM_THREADS"] = "1"
warnings.filterwarnings("ignore")
import mxnet as mx  # noqa: E402
import numpy as np  # noqa: E402

rng = np.random.RandomState(0)
random.seed(0)
cases = []
store = {}


def A(*s, lo=-3, hi=3, dt="float32", intv=False):
    a = rng.uniform(lo, hi, s)
    if intv:
        a = np.floor(a)
    return a.astype(dt)


def case(op, ins, **kw):
    cid = len(cases)
    rec = {"op": op, "attrs": {k: str(v) for k, v in kw.items()}, "n": len(ins)}
    for i, a in enumerate(ins):
        store["%d.i%d" % (cid, i)] = a
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        try:
            f = getattr(mx.nd, op, None) or getattr(mx.nd._internal, op)
            out = f(*[mx.nd.array(a, dtype=a.dtype) for a in ins], **kw)
            outs = [o.asnumpy() for o in (out if isinstance(out, (list, tuple)) else [out])]
            d = pickle.dumps((True, outs))
        except Exception as e:
            d = pickle.dumps((False, str(e).split("\n")[0][:200]))
        with os.fdopen(w, "wb") as g:
            g.write(d)
        os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as g:
        d = g.read()
    os.waitpid(pid, 0)
    ok, val = pickle.loads(d) if d else (False, "CRASH")
    rec["ok"] = ok
    if ok and any(o.size == 0 for o in val):
        rec["ok"] = ok = False
        val = "zero-size"
    if ok:
        rec["m"] = len(val)
        for i, o in enumerate(val):
            store["%d.o%d" % (cid, i)] = np.ascontiguousarray(o)
    else:
        rec["err"] = val
    cases.append(rec)


S = [(2, 3), (1,), (2, 1, 3, 2)]
for (
    u
) in "negative abs sign square relu logical_not round rint ceil floor trunc fix exp sin cos tan arctan sinh cosh tanh arcsinh degrees radians sigmoid softsign erf expm1 cbrt rcbrt reciprocal identity BlockGrad zeros_like ones_like shape_array size_array Flatten".split():
    for s in S:
        case(u, [A(*s)])
    case(u, [A(2, 3, intv=True, dt="int32")]) if u not in ("identity",) else None
for u in "sqrt rsqrt log log10 log2 log1p arccosh".split():
    case(u, [A(2, 3, lo=1.01, hi=9)])
for u in "arcsin arccos arctanh".split():
    case(u, [A(2, 3, lo=-0.95, hi=0.95)])
B = "add sub mul div mod power maximum minimum hypot equal not_equal greater greater_equal lesser lesser_equal logical_and logical_or logical_xor".split()
for b in B:
    for s, t in [((2, 3), (2, 3)), ((2, 3), (1, 3)), ((2, 1, 3), (1, 4, 1)), ((3,), (2, 3)), ((2, 3), (2,))]:
        lo = 0.1 if b == "power" else -3
        x, y = A(*s, lo=lo, intv=b in ("equal", "not_equal", "logical_and", "logical_or", "logical_xor")), A(
            *t, lo=lo, intv=b in ("equal", "not_equal", "logical_and", "logical_or", "logical_xor")
        )
        case("broadcast_" + b, [x, y])
        e = {"add": "elemwise_add", "sub": "elemwise_sub", "mul": "elemwise_mul", "div": "elemwise_div"}.get(
            b, "_" + b
        )
        case(e, [x, y])
    for dt in ("int32", "uint8"):
        lo = 1 if dt == "uint8" else -7
        case(
            "broadcast_" + b, [A(2, 3, lo=lo, hi=8, intv=True, dt=dt), A(2, 3, lo=1, hi=5, intv=True, dt=dt)]
        )
sc = "plus minus rminus mul div rdiv mod rmod power rpower maximum minimum hypot equal not_equal greater greater_equal lesser lesser_equal logical_and logical_or logical_xor".split()
for b in sc:
    for v in (2.0, -1.5, 0.5):
        case("_%s_scalar" % b, [A(2, 3, lo=0.5)], scalar=v)
    case("_%s_scalar" % b, [A(2, 3, lo=1, hi=9, intv=True, dt="int32")], scalar=2.0)
for r in "sum mean prod max min nansum nanprod".split():
    for kw in (
        {},
        {"axis": 1},
        {"axis": (0, 2)},
        {"axis": -1, "keepdims": True},
        {"axis": (1,), "exclude": True},
        {"axis": (), "keepdims": True},
        {"axis": 5},
        {"axis": (0, 0)},
    ):
        case(r, [A(2, 3, 4)], **kw)
for kw in ({}, {"ord": 1}, {"axis": 1}, {"axis": (0, 1)}, {"axis": 1, "ord": 1, "keepdims": True}):
    case("norm", [A(2, 3, 4)], **kw)
for r in ("argmax", "argmin"):
    for kw in ({}, {"axis": 0}, {"axis": 1, "keepdims": True}, {"axis": -1}):
        case(r, [A(2, 3, 4)], **kw)
    case(r, [A(4)], axis=0)
for kw in itertools.product((-1, 0, None), (1, 2), ("indices", "value", "mask"), (True, False)):
    case("topk", [A(3, 4)], axis=kw[0], k=kw[1], ret_typ=kw[2], is_ascend=kw[3])
case("topk", [A(3, 4)], ret_typ="both", k=2, dtype="int32")
case("topk", [A(3, 4)], k=0)
case("topk", [A(3, 4)], k=5)
for ax in (-1, 0, None):
    for asc in (True, False):
        case("sort", [A(3, 4)], axis=ax, is_ascend=asc)
        case("argsort", [A(3, 4)], axis=ax, is_ascend=asc)
for op in ("softmax", "log_softmax", "softmin"):
    for kw in ({}, {"axis": 1}, {"axis": 0, "temperature": 2.0}, {"axis": 3}):
        case(op, [A(2, 3, 4)], **kw)
for s in (
    (4, 0, 2),
    (6, 1, -1),
    (-3, 4),
    (0, -3),
    (-4, 1, 2, -2),
    (2, -4, -1, 3, -2),
    (-2,),
    (2, -2),
    (-2, 1, 1),
    (-1, 0),
    (-1, -1),
    (7,),
    (0, 0, 0),
    (24,),
):
    for rev in ((False, True) if min(s) > -2 else (False,)):
        case("Reshape", [A(2, 3, 4)], shape=s, reverse=rev)
for ax in ((), (1, 0, 2), (2, 0, 1), (0, 0, 1), (0, 1), (-1, 0, 1)):
    case("transpose", [A(2, 3, 4)], **({"axes": ax} if ax else {}))
case("SwapAxis", [A(2, 3, 4)], dim1=0, dim2=2)
case("SwapAxis", [A(2, 3, 4)], dim1=0, dim2=-1)
for ax in (0, 1, 2, -1, 3):
    case("expand_dims", [A(2, 3)], axis=ax)
for kw in ({}, {"axis": 0}, {"axis": (0, 2)}, {"axis": 1}, {"axis": -1}):
    case("squeeze", [A(1, 3, 1)], **kw)
case("squeeze", [A(1, 1)])
for b, e, st in (
    ((0, 1), (2, 3), None),
    ((None, -2), (None, None), None),
    ((1, 3), (None, 0), (-1, -2)),
    ((0,), (1,), None),
    ((-5, 0), (9, 2), None),
    ((0, 2), (2, 1), None),
    ((None, None), (None, None), (1, 2)),
    ((0, 0, 0, 0), (1, 1, 1, 1), None),
):
    case("slice", [A(2, 4, 2)], begin=b, end=e, **({"step": st} if st else {}))
for ax, b, e in ((0, 0, 1), (1, 1, 3), (-1, -2, None), (1, 2, 1), (1, 0, 9), (1, -9, 2)):
    case("slice_axis", [A(2, 4)], axis=ax, begin=b, end=e)
case("slice_like", [A(3, 4), A(2, 2)])
case("slice_like", [A(3, 4), A(2, 2)], axes=(0,))
case("slice_like", [A(3, 4), A(2, 9)])
case("slice_like", [A(3, 4, 2), A(2, 2)], axes=(0, 1))
for d in (0, 1, -1):
    case("Concat", [A(2, 3), A(2, 3), A(2, 3)], dim=d)
case("Concat", [A(2, 3), A(4, 3)], dim=0)
case("Concat", [A(2, 3), A(4, 3)], dim=1)
for d in (0, 1, 2, -1):
    case("stack", [A(2, 3), A(2, 3)], axis=d)
for n, ax, sq in (
    (2, 1, False),
    (4, 1, True),
    (3, 1, False),
    (2, 0, True),
    (2, 0, False),
    (1, 0, False),
    (4, -1, False),
):
    case("SliceChannel", [A(2, 4)], num_outputs=n, axis=ax, squeeze_axis=sq)
for r in ((2,), (2, 3), (1, 2, 3), (2, 2, 2)):
    case("tile", [A(2, 3)], reps=r)
for kw in ({"repeats": 2}, {"repeats": 2, "axis": 0}, {"repeats": 3, "axis": -1}):
    case("repeat", [A(2, 3)], **kw)
for ax in (0, 1, (0, 1), -1):
    case("reverse", [A(2, 3)], axis=ax)
for m in ("constant", "edge", "reflect"):
    for pw in ((0, 0, 0, 0, 1, 2, 2, 1), (0, 0, 0, 0, 0, 0, 3, 3), (0, 0, 0, 0, 1, 1)):
        case("Pad", [A(1, 2, 4, 4)], mode=m, pad_width=pw, constant_value=1.5)
    case("Pad", [A(1, 1, 3, 3, 3)], mode=m, pad_width=(0, 0, 0, 0, 1, 1, 1, 2, 2, 1))
case("broadcast_to", [A(2, 1, 3)], shape=(2, 4, 3))
case("broadcast_to", [A(2, 1, 3)], shape=(0, 4, 0))
case("broadcast_to", [A(2, 1, 3)], shape=(3, 4, 3))
case("broadcast_axis", [A(1, 1, 3)], axis=(0, 1), size=(2, 4))
case("broadcast_like", [A(1, 3), A(2, 3)])
for md in ("clip", "wrap"):
    for ax in (0, 1, -1):
        case("take", [A(3, 4), A(2, 2, lo=-6, hi=6, intv=True)], axis=ax, mode=md)
    for ax, sh in ((1, (3,)), (0, (4,)), (-1, (3, 1))):
        for kd in (True, False):
            case("pick", [A(3, 4), A(*sh, lo=-2, hi=6, intv=True)], axis=ax, keepdims=kd, mode=md)
case("batch_take", [A(3, 4), A(3, lo=0, hi=4, intv=True, dt="int32")])
for kw in ({"depth": 3}, {"depth": 4, "on_value": 5, "off_value": -1}, {"depth": 3, "dtype": "int32"}):
    case("one_hot", [A(2, 2, lo=-1, hi=4, intv=True)], **kw)
case("Embedding", [A(2, 2, lo=0, hi=4, intv=True), A(4, 3)], input_dim=4, output_dim=3)
case("Embedding", [A(2, 2, lo=0, hi=4, intv=True), A(4, 3)], input_dim=5, output_dim=3)
case("gather_nd", [A(3, 4, 2), A(2, 3, lo=0, hi=3, intv=True)])
case("gather_nd", [A(3, 4, 2), A(1, 2, 2, lo=0, hi=3, intv=True)])
case("where", [A(2, 3, intv=True, lo=0, hi=2), A(2, 3), A(2, 3)])
case("where", [A(2, intv=True, lo=0, hi=2), A(2, 3), A(2, 3)])
case("where", [A(3, intv=True, lo=0, hi=2), A(2, 3), A(2, 3)])
for ta in (0, 1):
    for tb in (0, 1):
        for s, t in (
            ((2, 3), (3, 2)),
            ((3, 2), (3, 2)),
            ((2, 3), (2, 3)),
            ((3, 2), (2, 3)),
            ((3, 3), (3, 3)),
        ):
            case("dot", [A(*s), A(*t)], transpose_a=bool(ta), transpose_b=bool(tb))
        for s, t in (
            ((2, 2, 3), (2, 3, 4)),
            ((2, 3, 2), (2, 3, 4)),
            ((2, 2, 3), (2, 4, 3)),
            ((2, 3, 2), (2, 4, 3)),
        ):
            case("batch_dot", [A(*s), A(*t)], transpose_a=bool(ta), transpose_b=bool(tb))
            case("linalg_gemm2", [A(*s), A(*t)], transpose_a=bool(ta), transpose_b=bool(tb), alpha=0.5)
case("dot", [A(3), A(3)])
case("dot", [A(2, 3), A(3)])
case("dot", [A(3), A(3, 2)])
case("dot", [A(2, 2, 3), A(3, 2, 2)])
case("dot", [A(2, 3, 2), A(2, 4, 3)], transpose_a=True, transpose_b=False)
case("clip", [A(2, 3)], a_min=-1, a_max=1)
case("clip", [A(2, 3, dt="int32", intv=True)], a_min=-1, a_max=1)
case("smooth_l1", [A(2, 3)], scalar=2.0)
case("hard_sigmoid", [A(2, 3)])
case("hard_sigmoid", [A(2, 3)], alpha=0.5, beta=0.1)
for d in ("uint8", "int32", "int8", "float16", "int64"):
    case("Cast", [A(2, 3, lo=-300, hi=300)], dtype=d)
case("depth_to_space", [A(1, 8, 2, 3)], block_size=2)
case("space_to_depth", [A(1, 2, 4, 6)], block_size=2)
case("space_to_depth", [A(1, 2, 3, 6)], block_size=2)
case("SequenceMask", [A(3, 2, 2), A(2, lo=0, hi=4, intv=True)], use_sequence_length=True, value=-1.0)
case("SequenceMask", [A(2, 3, 2), A(2, lo=0, hi=4, intv=True)], use_sequence_length=True, axis=1)
case("add_n", [A(2, 3), A(2, 3), A(2, 3)])
case("cumsum", [A(2, 3)], axis=1) if hasattr(mx.nd, "cumsum") else None
# layers
for fl in (True, False):
    for nb in (True, False):
        for s in ((2, 3), (2, 3, 2), (4,)):
            k = int(np.prod(s[1:])) if fl else s[-1]
            case(
                "FullyConnected",
                [A(*s), A(5, k)] + ([] if nb else [A(5)]),
                num_hidden=5,
                flatten=fl,
                no_bias=nb,
            )
for k, st, pd, dl, g in itertools.product((1, 2, 3), (1, 2), (0, 1), (1, 2), (1, 2)):
    case(
        "Convolution",
        [A(2, 4, 7, 6), A(4, 4 // g, k, k), A(4)],
        kernel=(k, k),
        stride=(st, st),
        pad=(pd, pd),
        dilate=(dl, dl),
        num_filter=4,
        num_group=g,
    )
    case(
        "Deconvolution",
        [A(2, 4, 4, 5), A(4, 4 // g, k, k)],
        kernel=(k, k),
        stride=(st, st),
        pad=(pd, pd),
        dilate=(dl, dl),
        num_filter=4,
        num_group=g,
    )
case("Convolution", [A(2, 3, 9), A(4, 3, 3), A(4)], kernel=(3,), num_filter=4)
case(
    "Convolution",
    [A(1, 2, 4, 4, 4), A(3, 2, 2, 2, 2), A(3)],
    kernel=(2, 2, 2),
    num_filter=3,
    stride=(2, 1, 1),
)
for adj in ((0, 0), (1, 1), (1, 0)):
    case(
        "Deconvolution",
        [A(1, 2, 3, 4), A(2, 3, 3, 3), A(3)],
        kernel=(3, 3),
        stride=(2, 2),
        pad=(1, 1),
        adj=adj,
        num_filter=3,
        no_bias=False,
    )
for ts in ((7, 9), (99, 99)):
    case(
        "Deconvolution",
        [A(1, 2, 3, 4), A(2, 3, 3, 3)],
        kernel=(3, 3),
        stride=(2, 2),
        target_shape=ts,
        num_filter=3,
    )
for pt, cv, k, st, pd in itertools.product(
    ("max", "avg", "sum", "lp"), ("valid", "full"), (2, 3), (1, 2, 3), (0, 1)
):
    kw = {"p_value": 2} if pt == "lp" else {}
    if pt == "lp" and pd:
        continue
    case(
        "Pooling",
        [A(1, 2, 7, 8, lo=0)],
        kernel=(k, k),
        stride=(st, st),
        pad=(pd, pd),
        pool_type=pt,
        pooling_convention=cv,
        **kw
    )
    if pt == "avg":
        case(
            "Pooling",
            [A(1, 2, 7, 8)],
            kernel=(k, k),
            stride=(st, st),
            pad=(pd, pd),
            pool_type=pt,
            pooling_convention=cv,
            count_include_pad=False,
        )
    case(
        "Pooling",
        [A(1, 2, 7, lo=0)],
        kernel=(k,),
        stride=(st,),
        pad=(pd,),
        pool_type=pt,
        pooling_convention=cv,
        **kw
    )
for pt in ("max", "avg", "sum"):
    case("Pooling", [A(1, 2, 5, 4)], global_pool=True, pool_type=pt, kernel=(2, 2))
    case("Pooling", [A(1, 2, 5, 4, 3)], kernel=(2, 2, 2), pool_type=pt)
for a in ("relu", "sigmoid", "tanh", "softrelu", "softsign"):
    case("Activation", [A(2, 3)], act_type=a)
for a in ("leaky", "elu", "selu", "gelu"):
    case("LeakyReLU", [A(2, 3, 2)], act_type=a, slope=0.3)
for g in ((3,), (1,)):
    case("LeakyReLU", [A(2, 3, 2), A(*g)], act_type="prelu")
case("LeakyReLU", [A(2, 3), A(3)], act_type="prelu")
case("LeakyReLU", [A(4), A(1)], act_type="prelu")
for fg in (True, False):
    for ax in (1, -1):
        c = 3 if ax == 1 else 4
        case(
            "BatchNorm",
            [A(2, 3, 4), A(c), A(c), A(c), A(c, lo=0.1)],
            fix_gamma=fg,
            axis=ax,
            use_global_stats=True,
        )
case("InstanceNorm", [A(2, 3, 4), A(3), A(3)])
case("InstanceNorm", [A(2, 3, 4, 2), A(3), A(3)], eps=0.1)
for ax in (-1, 1, 0):
    case("LayerNorm", [A(2, 3, 4), A((2, 3, 4)[ax]), A((2, 3, 4)[ax])], axis=ax)
for m in ("instance", "channel", "spatial"):
    for s in ((2, 3), (2, 3, 4), (2, 3, 2, 2)):
        case("L2Normalization", [A(*s)], mode=m)
for n in (1, 3, 5, 4):
    case("LRN", [A(2, 6, 3, 3)], nsize=n, alpha=0.1, beta=0.6, knorm=1.0)
for sc_ in (1, 2, 3):
    case("UpSampling", [A(1, 2, 3, 2)], scale=sc_, sample_type="nearest", num_args=1)
    kk = 2 * sc_ - sc_ % 2
    case(
        "UpSampling",
        [A(1, 2, 3, 2), A(2, 1, kk, kk)],
        scale=sc_,
        sample_type="bilinear",
        num_filter=2,
        num_args=2,
    )
case("UpSampling", [A(1, 2, 3, 2), A(1, 3, 6, 4)], scale=2, sample_type="nearest", num_args=2)
case(
    "UpSampling",
    [A(1, 2, 3, 2), A(1, 2, 6, 4)],
    scale=2,
    sample_type="nearest",
    num_args=2,
    multi_input_mode="sum",
)
for mo in (True, False):
    for ps in (True, False):
        case(
            "SoftmaxOutput",
            [A(2, 3, 4), A(*((2, 4) if mo else (2, 3)), lo=0, intv=True)],
            multi_output=mo,
            preserve_shape=ps,
        )
case("SoftmaxOutput", [A(2, 3), A(2, lo=0, intv=True)])
for m in ("instance", "channel"):
    case("SoftmaxActivation", [A(2, 3)], mode=m)
    case("SoftmaxActivation", [A(2, 3, 2, 2)], mode=m)
case("Dropout", [A(2, 3)], p=0.5)
case("LinearRegressionOutput", [A(2, 3), A(2, 3)])
case("LogisticRegressionOutput", [A(2, 3), A(2, 3)])
for kw in (
    {"start": 0, "stop": 5},
    {"start": 1, "stop": 2, "step": 0.3},
    {"start": 5, "stop": 1, "step": -2},
    {"start": 0, "stop": 3, "repeat": 2},
):
    case("_arange", [], **kw)
case("_eye", [], N=3, M=4, k=1)
case("_zeros", [], shape=(2, 3))
case("_full", [], shape=(2,), value=2.5)
mx.nd.save(sys.argv[1] + "/mx_oracle.params", {k: mx.nd.array(v, dtype=v.dtype) for k, v in store.items()})
json.dump(cases, open(sys.argv[1] + "/mx_oracle.json", "w"), separators=(",", ":"))
print(len(cases), sum(c["ok"] for c in cases))
