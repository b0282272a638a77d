# SPDX-License-Identifier: Apache-2.0
"""The sweep: which MXNet operators, with which attributes, on which inputs. It needs neither MXNet nor NumPy.

A case is {"op", "attrs" (strings, as in a symbol's JSON), "inputs"}. An input is {"shape", "dtype", "seed", "low", "high"}: its
elements are those of `uniform`, rounded down where "whole" is true.

Left out is what MXNet computes and we refuse: slices that leave no element, parameters longer than the channels.
"""

import itertools


def uniform(seed, count, low, high):
    """`count` numbers from `low` to below `high`: a linear congruential generator (Numerical Recipes), its upper 24 bits."""
    state = seed * 2654435761 % 2**32
    for _ in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        yield low + (high - low) * ((state >> 8) / 2**24)


def tensor(*shape, low=-2.0, high=2.0, dtype="float32", whole=False):
    return {"shape": list(shape), "dtype": dtype, "low": low, "high": high, "whole": whole}


def text(value):
    return value if isinstance(value, str) else str(value)


class Sweep:
    def __init__(self):
        self.cases = []

    def add(self, op, *inputs, **attrs):
        number = len(self.cases)
        numbered = [dict(one, seed=number * 8 + i + 1) for i, one in enumerate(inputs)]
        self.cases.append({"op": op, "attrs": {k: text(v) for k, v in attrs.items()}, "inputs": numbered})

    def grid(self, op, inputs, **choices):
        """Every combination of the choices; None leaves the attribute out."""
        for values in itertools.product(*choices.values()):
            self.add(op, *inputs, **{k: v for k, v in zip(choices, values) if v is not None})


def elementwise(s):
    wide = tensor(2, 3, 4)
    for op in ("relu sigmoid tanh exp square abs sign floor ceil round rint trunc fix negative sin cos tan arctan sinh cosh "
               "arcsinh expm1 erf cbrt softsign logical_not zeros_like ones_like _copy BlockGrad degrees radians "
               "hard_sigmoid identity make_loss").split():
        s.add(op, wide)
        s.add(op, tensor(5))
    positive = tensor(2, 3, low=0.1, high=4.0)
    for op in "log sqrt rsqrt reciprocal log10 log2 log1p rcbrt".split():
        s.add(op, positive)
    for op in "arcsin arccos arctanh".split():
        s.add(op, tensor(2, 3, low=-0.9, high=0.9))
    s.add("arccosh", tensor(2, 3, low=1.1, high=3.0))
    s.add("sqrt", tensor(4, low=-2.0, high=-1.0))
    s.add("log", tensor(4, low=-2.0, high=-1.0))
    s.grid("hard_sigmoid", [wide], alpha=[0.2, 0.5], beta=[None, 0.3])
    s.grid("smooth_l1", [wide], scalar=[None, 1.0, 2.0])
    s.grid("clip", [wide], a_min=[-1.0, 0.5], a_max=[1.0, 0.75])
    s.add("clip", wide, a_min=0)
    for dtype in ("float16", "float64", "int32", "int64", "uint8", "int8"):
        s.add("Cast", tensor(3, 4, low=0.0, high=100.0), dtype=dtype)
        s.add("cast", tensor(3, 4, low=0.0, high=100.0, dtype="int32", whole=True), dtype="float32")
    s.add("Cast", tensor(3, 4, low=-100.0, high=100.0), dtype="int32")
    s.add("Cast", wide, dtype="complex64")

    a, b = tensor(2, 3), tensor(2, 3)
    binary = "add sub mul div".split()
    for op in binary:
        s.add("elemwise_" + op, a, b)
        s.add("elemwise_" + op, a, tensor(1, 3))
        s.add("elemwise_" + op, a, tensor(3))
    for op in "_plus _minus _mul _div _maximum _minimum _hypot _equal _not_equal _greater _greater_equal _lesser _lesser_equal".split():
        s.add(op, a, b)
    for op in (binary + "maximum minimum hypot equal not_equal greater greater_equal lesser lesser_equal logical_and "
               "logical_or logical_xor mod plus minus".split()):
        name = "broadcast_" + op
        s.add(name, a, b)
        s.add(name, tensor(2, 1, 4), tensor(1, 3, 4))
        s.add(name, tensor(2, 3, 4), tensor(1, 1, 1))
        s.add(name, tensor(2, 3), tensor(3))
        s.add(name, tensor(2, 3), tensor(2, 4))
    s.add("broadcast_power", positive, tensor(2, 3))
    s.add("broadcast_power", positive, tensor(2, 1))
    s.add("_power", positive, tensor(2, 3))
    few = tensor(3, 4, low=0.0, high=3.0, whole=True)
    for op in "equal not_equal greater greater_equal lesser lesser_equal".split():
        s.add("broadcast_" + op, few, few)
        s.grid(f"_{op}_scalar", [few], scalar=[1, 2.5])
    for op in "logical_and logical_or logical_xor".split():
        s.grid(f"_{op}_scalar", [few], scalar=[0, 1])
    for op in "plus minus rminus mul div rdiv maximum minimum mod rmod hypot".split():
        s.grid(f"_{op}_scalar", [wide], scalar=[2, -0.75, 1.5])
    s.grid("_power_scalar", [positive], scalar=[2, 0.5, -1])
    s.grid("_rpower_scalar", [wide], scalar=[2, 0.5])
    s.add("_plus_scalar", tensor(3, 4, low=0, high=50, dtype="int32", whole=True), scalar=3)
    s.add("_mul_scalar", tensor(3, 4, low=0, high=9, dtype="uint8", whole=True), scalar=3)
    s.add("add_n", a, b, tensor(2, 3), num_args=3)
    s.add("ElementWiseSum", a, num_args=1)
    s.add("where", tensor(2, 3, low=0, high=2, whole=True), a, b)
    s.add("where", tensor(2, low=0, high=2, whole=True), a, b)
    s.add("where", tensor(3, low=0, high=2, whole=True), a, b)


def shapes(s):
    t = tensor(2, 3, 4)
    for shape in ("(4,3,2)", "(-1,)", "(0,-1)", "(-2,)", "(2,-2)", "(-3,4)", "(0,-3)", "(-4,1,2,-2)", "(-4,-1,2,0,0)", "(6,4)",
                  "(0,0,2,2)", "(-3,-2)", "(2,-1,2)", "(0,-4,3,-1,0)", "(5,-1)", "(-1,-1)", "(2,3,5)", "(-2,1,1)", "(1,-3,0)"):
        s.add("Reshape", t, shape=shape)
        s.add("reshape", t, shape=shape, reverse=True)
    s.add("Flatten", t)
    s.add("flatten", tensor(2, 3, 2, 2))
    s.add("Flatten", tensor(5))
    s.grid("transpose", [t], axes=[None, "(0,2,1)", "(2,0,1)", "(1,0,2)", "()", "(0,1)", "(0,0,1)"])
    s.add("transpose", tensor(4))
    s.grid("expand_dims", [t], axis=[0, 1, 3, -1, -2, 5])
    s.grid("squeeze", [tensor(1, 3, 1, 2)], axis=[None, 0, 2, -2, "(0,2)", 1])
    s.grid("SwapAxis", [t], dim1=[0, 1, -1], dim2=[2, 0])
    s.grid("slice_axis", [t], axis=[0, 1, -1], begin=[0, 1, -2], end=["None", 2, -1])
    for begin, end, step in (("(0,1)", "(2,3)", None), ("(None,0,1)", "(None,2,4)", None), ("(0,-2)", "(1,None)", None),
                             ("(0,0,3)", "(2,3,0)", "(1,1,-1)"), ("(None,None,None)", "(None,None,None)", "(1,2,-1)"),
                             ("(0,)", "(1,)", None), ("(0,0,0,0)", "(1,1,1,1)", None), ("(1,)", "(9,)", None)):
        s.add("slice", t, begin=begin, end=end, **({"step": step} if step else {}))
    s.add("slice_like", t, tensor(1, 2, 3))
    s.grid("slice_like", [t, tensor(2, 2, 2)], axes=["(1,)", "(0,2)", "(-1,)"])
    for axis, outputs, squeeze in itertools.product((1, 0, -1, 2), (1, 2, 3, 4), (None, True)):
        s.add("SliceChannel", tensor(2, 3, 4), axis=axis, num_outputs=outputs, **({"squeeze_axis": squeeze} if squeeze else {}))
    s.add("split", t, axis=1, num_outputs=3)
    for dim in (None, 0, 1, 2, -1):
        attrs = {} if dim is None else {"dim": dim}
        s.add("Concat", t, tensor(2, 3, 4), num_args=2, **attrs)
    s.add("Concat", tensor(2, 1), tensor(2, 3), tensor(2, 2), num_args=3, dim=1)
    s.add("concat", tensor(2, 1), tensor(3, 3), num_args=2, dim=1)
    s.add("concat", t, num_args=1)
    s.grid("stack", [tensor(2, 3), tensor(2, 3)], num_args=[2], axis=[None, 0, 1, 2, -1])
    s.grid("tile", [tensor(2, 3)], reps=["(2,)", "(2,1)", "(1,2)", "(2,1,2)", "(1,)"])
    s.grid("repeat", [tensor(2, 3)], repeats=[2, 3], axis=[None, 0, 1, -1])
    s.grid("flip", [t], axis=[0, 1, 2, -1, "(0,2)"])
    s.add("reverse", t, axis="(1,)")
    for op in ("Pad", "pad"):
        for mode in ("constant", "edge", "reflect"):
            for width in ("(0,0,0,0,1,2,2,1)", "(0,0,0,0,0,1,1,0)"):
                s.add(op, tensor(1, 2, 3, 3), mode=mode, pad_width=width)
    s.add("Pad", tensor(1, 2, 3, 3), mode="constant", pad_width="(0,0,0,0,1,1,1,1)", constant_value=2.5)
    s.add("Pad", tensor(1, 1, 2, 3, 3), mode="constant", pad_width="(0,0,0,0,1,0,0,1,1,1)")
    s.add("Pad", tensor(1, 2, 3, 3), mode="constant", pad_width="(0,0,1,1,1,1,1,1)")
    index = tensor(2, 2, low=-1, high=4, whole=True)
    s.grid("take", [tensor(3, 4), index], axis=[None, 0, 1, -1], mode=[None, "wrap", "clip"])
    s.add("take", tensor(3, 4, 2), tensor(3, low=0, high=3, whole=True), axis=1)
    s.add("batch_take", tensor(3, 4), tensor(3, low=0, high=4, whole=True, dtype="int32"))
    s.grid("pick", [tensor(3, 4), tensor(3, low=0, high=4, whole=True)], axis=[None, 1, -1], keepdims=[None, True])
    s.grid("pick", [tensor(3, 4), tensor(3, low=-2, high=6, whole=True)], mode=["clip", "wrap"])
    s.add("pick", tensor(3, 4), tensor(4, low=0, high=3, whole=True), axis=0)
    s.grid("one_hot", [tensor(4, low=-1, high=4, whole=True)], depth=[3, 5], on_value=[None, 2.0], off_value=[None, -1.0])
    s.add("one_hot", tensor(2, 2, low=0, high=3, whole=True), depth=3, dtype="int32")
    s.add("gather_nd", tensor(3, 4), tensor(2, 3, low=0, high=3, whole=True))
    s.add("gather_nd", tensor(3, 4), tensor(1, 2, low=0, high=3, whole=True))
    s.grid("Embedding", [tensor(2, 3, low=-1, high=6, whole=True), tensor(5, 4)], input_dim=[5], output_dim=[4])
    s.add("Embedding", tensor(2, 3, low=0, high=5, whole=True), tensor(5, 4), input_dim=6, output_dim=4)
    s.grid("broadcast_to", [tensor(2, 1, 4)], shape=["(2,3,4)", "(0,3,0)", "(3,3,4)"])
    s.grid("broadcast_axis", [tensor(1, 3, 1)], axis=["0", "(0,2)", "1"], size=["2", "(2,4)"])
    s.add("broadcast_like", tensor(1, 3), tensor(2, 3))
    s.add("depth_to_space", tensor(1, 8, 2, 3), block_size=2)
    s.add("space_to_depth", tensor(1, 2, 4, 6), block_size=2)
    s.add("shape_array", t)
    s.add("size_array", t)


def products(s):
    for ta, tb in itertools.product((None, True), (None, True)):
        attrs = {k: v for k, v in (("transpose_a", ta), ("transpose_b", tb)) if v}
        s.add("dot", tensor(*((3, 2) if ta else (2, 3))), tensor(*((4, 3) if tb else (3, 4))), **attrs)
        s.add("batch_dot", tensor(*((2, 3, 2) if ta else (2, 2, 3))), tensor(*((2, 4, 3) if tb else (2, 3, 4))), **attrs)
    s.add("dot", tensor(3), tensor(3))
    s.add("dot", tensor(2, 3, 4), tensor(4, 2))
    s.add("dot", tensor(2, 3, 4), tensor(4, 2, 2))
    s.add("dot", tensor(2, 3), tensor(3))
    s.add("dot", tensor(2, 3), tensor(4, 2))
    s.add("batch_dot", tensor(2, 3, 4), tensor(3, 4, 2))
    s.add("batch_dot", tensor(2, 3), tensor(3, 4))


def reductions(s):
    t = tensor(2, 3, 4)
    for op in "sum mean prod max min nansum nanprod sum_axis max_axis min_axis".split():
        s.grid(op, [t], axis=[None, 0, 1, -1, "(0,2)", "()"], keepdims=[None, True])
        s.grid(op, [t], axis=["(1,)", "(0,1)"], exclude=[True])
        s.add(op, t, axis=3)
        s.add(op, tensor(5))
    s.grid("norm", [t], axis=[None, 1, "(0,2)"], keepdims=[None, True], ord=[None, 1, 2])
    distinct = tensor(3, 5, low=-100, high=100)
    for op in "argmax argmin".split():
        s.grid(op, [distinct], axis=[None, 0, 1, -1], keepdims=[None, True])
        s.add(op, tensor(4, 6, low=0, high=3, whole=True), axis=1)
        s.add(op, distinct, axis=2)
    s.add("argmax_channel", distinct)
    s.grid("topk", [distinct], k=[None, 2, 3], ret_typ=[None, "value", "indices", "mask", "both"], is_ascend=[None, True])
    s.grid("topk", [distinct], axis=[0, "None"], k=[2], ret_typ=["value", "indices"])
    s.add("topk", distinct, k=2, ret_typ="indices", dtype="int32")
    s.add("topk", distinct, k=9)
    s.grid("sort", [distinct], axis=[None, 0, "None"], is_ascend=[None, False])
    s.grid("argsort", [distinct], axis=[None, 0, "None"], is_ascend=[None, False], dtype=[None, "int32"])
    s.grid("cumsum", [t], axis=[0, 1, -1])


def softmaxes(s):
    t = tensor(2, 3, 4)
    for op in "softmax log_softmax softmin".split():
        s.grid(op, [t], axis=[None, 0, 1, -1], temperature=[None, 2.0])
    s.add("softmax", tensor(2, 3, low=-90, high=90))
    s.add("softmax", t, axis=3)
    s.grid("SoftmaxActivation", [t], mode=[None, "instance", "channel"])
    s.add("SoftmaxActivation", tensor(1, 3, 2, 2), mode="channel")
    label = tensor(2, low=0, high=3, whole=True)
    s.add("SoftmaxOutput", tensor(2, 3), label)
    s.add("Softmax", tensor(2, 3), label)
    s.add("SoftmaxOutput", tensor(2, 3, 2, 2), tensor(2, 2, 2, low=0, high=3, whole=True), multi_output=True)
    s.add("SoftmaxOutput", tensor(2, 3, 4), tensor(2, 3, low=0, high=4, whole=True), preserve_shape=True)
    s.add("SoftmaxOutput", tensor(2, 3, 4), tensor(2, low=0, high=4, whole=True))
    s.add("LinearRegressionOutput", tensor(2, 3), tensor(2, 3))
    s.add("LogisticRegressionOutput", tensor(2, 3), tensor(2, 3))
    s.add("MAERegressionOutput", tensor(2, 3), tensor(2, 3))


def networks(s):
    for flatten, no_bias in itertools.product((None, False), (None, True)):
        attrs = {k: v for k, v in (("flatten", flatten), ("no_bias", no_bias)) if v is not None}
        bias = [] if no_bias else [tensor(5)]
        width = 4 if flatten is False else 12
        s.add("FullyConnected", tensor(2, 3, 4), tensor(5, width), *bias, num_hidden=5, **attrs)
    s.add("FullyConnected", tensor(2, 4), tensor(5, 4), tensor(5), num_hidden=5)
    s.add("FullyConnected", tensor(2, 4), tensor(5, 3), tensor(5), num_hidden=5)
    s.add("FullyConnected", tensor(2, 4), tensor(5, 4), tensor(4), num_hidden=5)
    s.add("FullyConnected", tensor(2, 4), tensor(5, 4), tensor(5))

    for kernel, stride, pad, dilate in (("(3,3)", None, None, None), ("(3,3)", "(2,2)", "(1,1)", None), ("(2,3)", "(1,2)", "(1,0)", None),
                                        ("(3,3)", None, "(2,2)", "(2,2)"), ("(1,1)", None, None, None), ("(5,5)", None, "(2,2)", None)):
        attrs = {k: v for k, v in (("stride", stride), ("pad", pad), ("dilate", dilate)) if v}
        kh, kw = eval(kernel)
        s.add("Convolution", tensor(1, 4, 6, 5), tensor(2, 4, kh, kw), tensor(2), kernel=kernel, num_filter=2, **attrs)
        s.add("Convolution", tensor(1, 4, 6, 5), tensor(4, 2, kh, kw), kernel=kernel, num_filter=4, num_group=2, no_bias=True, **attrs)
    s.add("Convolution", tensor(1, 4, 5, 5), tensor(4, 1, 3, 3), tensor(4), kernel="(3,3)", num_filter=4, num_group=4, pad="(1,1)")
    s.add("Convolution", tensor(2, 3, 7), tensor(4, 3, 3), tensor(4), kernel="(3,)", num_filter=4, stride="(2,)")
    s.add("Convolution", tensor(1, 2, 3, 4, 4), tensor(2, 2, 2, 2, 2), tensor(2), kernel="(2,2,2)", num_filter=2)
    s.add("Convolution", tensor(1, 4, 6, 5), tensor(2, 3, 3, 3), tensor(2), kernel="(3,3)", num_filter=2)
    s.add("Convolution", tensor(1, 4, 2, 2), tensor(2, 4, 3, 3), tensor(2), kernel="(3,3)", num_filter=2)
    s.add("Convolution", tensor(1, 4, 6, 5), tensor(3, 2, 3, 3), kernel="(3,3)", num_filter=3, num_group=2, no_bias=True)
    for stride, pad, adj, target in ((None, None, None, None), ("(2,2)", None, None, None), ("(2,2)", "(1,1)", None, None),
                                     ("(2,2)", "(1,1)", "(1,1)", None), ("(3,2)", "(0,1)", "(1,0)", None), ("(2,2)", None, None, "(7,7)"),
                                     ("(2,2)", None, "(2,2)", None)):
        attrs = {k: v for k, v in (("stride", stride), ("pad", pad), ("adj", adj), ("target_shape", target)) if v}
        s.add("Deconvolution", tensor(1, 2, 3, 3), tensor(2, 2, 3, 3), kernel="(3,3)", num_filter=2, **attrs)
        s.add("Deconvolution", tensor(1, 2, 3, 3), tensor(2, 1, 3, 3), kernel="(3,3)", num_filter=2, num_group=2, **attrs)
    s.add("Deconvolution", tensor(1, 2, 3, 3), tensor(2, 3, 3, 3), tensor(3), kernel="(3,3)", num_filter=3, no_bias=False)

    norm = [tensor(2, 3, 2, 2), tensor(3), tensor(3), tensor(3), tensor(3, low=0.2, high=2.0)]
    s.grid("BatchNorm", norm, fix_gamma=[None, False], eps=[None, 1e-5], use_global_stats=[None, True])
    s.add("BatchNorm", tensor(2, 4, 3), tensor(3), tensor(3), tensor(3), tensor(3, low=0.2, high=2.0), axis=-1, fix_gamma=False)
    s.add("BatchNorm", tensor(2, 3), tensor(3), tensor(3), tensor(3), tensor(3, low=0.2, high=2.0), fix_gamma=False)
    for act in "relu sigmoid tanh softrelu softsign nosuch".split():
        s.add("Activation", tensor(2, 3, 2), act_type=act)
    s.add("Activation", tensor(2, 3))
    s.grid("LeakyReLU", [tensor(2, 3, 2)], act_type=[None, "leaky", "elu"], slope=[None, 0.1])
    for act in "selu gelu rrelu".split():
        s.add("LeakyReLU", tensor(2, 3, 2), act_type=act)
    s.add("LeakyReLU", tensor(2, 3, 2), tensor(3, low=0.1, high=0.5), act_type="prelu")
    s.add("LeakyReLU", tensor(2, 3, 2), tensor(1, low=0.1, high=0.5), act_type="prelu")
    for kind, convention in itertools.product(("max", "avg", "sum"), (None, "valid", "full", "same")):
        for kernel, stride, pad in (("(2,2)", "(2,2)", None), ("(3,3)", "(2,2)", "(1,1)"), ("(3,2)", None, None), ("(2,2)", "(3,3)", None)):
            if convention == "same" and pad:
                continue
            attrs = {k: v for k, v in (("stride", stride), ("pad", pad), ("pooling_convention", convention)) if v}
            s.add("Pooling", tensor(1, 2, 6, 5), kernel=kernel, pool_type=kind, **attrs)
            if kind == "avg":
                s.add("Pooling", tensor(1, 2, 6, 5), kernel=kernel, pool_type=kind, count_include_pad=False, **attrs)
        s.add("Pooling", tensor(1, 2, 4, 5), pool_type=kind, global_pool=True, **({"pooling_convention": convention} if convention else {}))
    s.add("Pooling", tensor(1, 2, 4, 5), kernel="(2,2)", global_pool=True)
    s.add("Pooling", tensor(1, 2, 6, 5), kernel="(2,2)", pool_type="lp", p_value=2)
    s.add("Pooling", tensor(1, 2, 7), kernel="(3,)", stride="(2,)", pool_type="max")
    s.add("Pooling", tensor(1, 2, 4, 4, 4), kernel="(2,2,2)", stride="(2,2,2)", pool_type="avg")
    s.add("Pooling", tensor(1, 2, 2, 2), kernel="(3,3)", pool_type="max")
    s.add("Pooling", tensor(1, 2, 6, 5), pool_type="max")
    s.grid("UpSampling", [tensor(1, 2, 2, 3)], scale=[1, 2, 3], sample_type=["nearest"], num_args=[1])
    s.add("UpSampling", tensor(1, 2, 3, 3), tensor(2, 1, 4, 4), scale=2, sample_type="bilinear", num_filter=2, num_args=2)
    s.add("UpSampling", tensor(1, 2, 2, 2), tensor(1, 3, 4, 4), scale=2, sample_type="nearest", num_args=2)
    s.grid("Dropout", [tensor(2, 3)], p=[None, 0.3])
    s.grid("LRN", [tensor(1, 6, 2, 2)], nsize=[3, 5], alpha=[None, 0.1], beta=[None, 0.5], knorm=[None, 1])
    s.add("LRN", tensor(1, 6, 2, 2))
    s.grid("L2Normalization", [tensor(2, 3, 2, 2)], mode=[None, "instance", "channel", "spatial"], eps=[None, 1e-3])
    s.grid("InstanceNorm", [tensor(2, 3, 4, 2), tensor(3), tensor(3)], eps=[None, 1e-2])
    s.grid("LayerNorm", [tensor(2, 3, 4), tensor(4), tensor(4)], axis=[None, -1], eps=[None, 1e-2])
    s.add("LayerNorm", tensor(2, 3, 4), tensor(3), tensor(3), axis=1)
    s.add("LayerNorm", tensor(2, 3, 4), tensor(3), tensor(3))
    s.add("GroupNorm", tensor(2, 4, 3, 2), tensor(4), tensor(4), num_groups=2)


def all_cases():
    sweep = Sweep()
    for part in (elementwise, shapes, products, reductions, softmaxes, networks):
        part(sweep)
    return sweep.cases
