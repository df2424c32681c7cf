"""Layers with a window, convolution and pooling: Keras 3 on TensorFlow, with PyTorch as a second witness."""

import numpy as np
import torch
import torch.nn.functional as F
from keras import layers, ops

from recording import Case, distinct, grid, of_layer


def after_padding(padding, value, compute):
    """Explicit padding [[top, bottom], [left, right]]: the input is padded, then the op runs without any."""

    def padded(tensors):
        amounts = [[0, 0], *padding, [0, 0]]
        return compute({**tensors, "input": ops.pad(tensors["input"], amounts, constant_values=value)})

    return padded


def without_explicit_padding(attributes):
    return {key: value for key, value in attributes.items() if key != "padding" or isinstance(value, str)}


def pair(value):
    return [value, value] if isinstance(value, int) else value


def pads(size, window, stride, padding, dilation=1):
    if padding == "valid":
        return [0, 0]
    total = max(0, (-(-size // stride) - 1) * stride + (window - 1) * dilation + 1 - size)
    return [total // 2, total - total // 2]


def explicit_pads(x, attributes, window):
    """The padding of an NHWC tensor as PyTorch's F.pad takes it for NCHW: left, right, top, bottom."""
    padding = attributes.get("padding", "valid")
    if isinstance(padding, str):
        stride = pair(attributes.get("strides", attributes.get("pool_size", 1)))
        dilation = pair(attributes.get("dilation_rate", 1))
        padding = [pads(x.shape[1 + i], window[i], stride[i], padding, dilation[i]) for i in (0, 1)]
    return [*padding[1], *padding[0]]


# --- conv2d ----------------------------------------------------------------------------------------------------------


def conv2d_in_torch(attributes):
    def check(t):
        x = F.pad(t["input"].permute(0, 3, 1, 2), explicit_pads(t["input"], attributes, t["kernel"].shape))
        y = F.conv2d(
            x,
            t["kernel"].permute(3, 2, 0, 1),
            t.get("bias"),
            pair(attributes.get("strides", 1)),
            0,
            pair(attributes.get("dilation_rate", 1)),
            attributes.get("groups", 1),
        )
        return y.permute(0, 2, 3, 1)

    return check


def conv2d_case(name, dims, **attributes):
    kernel = [*pair(attributes["kernel_size"]), dims[-1] // attributes.get("groups", 1), attributes["filters"]]
    operands = {"input": grid("input of " + name, dims), "kernel": grid("kernel of " + name, kernel, -1.0, 1.0)}
    if attributes.get("use_bias", True):
        operands["bias"] = grid("bias of " + name, [attributes["filters"]], -1.0, 1.0)
    compute = of_layer(lambda: layers.Conv2D(**without_explicit_padding(attributes)))
    if isinstance(attributes.get("padding"), list):
        compute = after_padding(attributes["padding"], 0.0, compute)
    return Case(name, attributes, operands, compute, list(operands), check=conv2d_in_torch(attributes))


def conv2d():
    return [
        conv2d_case("defaults", [2, 4, 5, 2], filters=3, kernel_size=3),
        conv2d_case("same", [2, 4, 5, 2], filters=2, kernel_size=3, padding="same"),
        conv2d_case("same from one channel", [3, 5, 5, 1], filters=4, kernel_size=3, padding="same"),
        conv2d_case(
            "same, even size, strides 2: pads 0 and 1",
            [1, 6, 6, 2],
            filters=2,
            kernel_size=3,
            padding="same",
            strides=2,
        ),
        conv2d_case(
            "same, odd size, strides 2: pads 1 and 1", [1, 7, 5, 2], filters=2, kernel_size=3, padding="same", strides=2
        ),
        conv2d_case("same, even kernel", [1, 5, 6, 2], filters=2, kernel_size=[2, 4], padding="same"),
        conv2d_case("valid, even kernel, unequal strides", [1, 7, 8, 2], filters=2, kernel_size=[4, 2], strides=[2, 3]),
        conv2d_case("strides larger than the kernel", [1, 7, 7, 2], filters=2, kernel_size=2, strides=3),
        conv2d_case(
            "same, strides larger than the kernel", [1, 7, 8, 1], filters=2, kernel_size=1, strides=3, padding="same"
        ),
        conv2d_case("valid, dilated", [1, 7, 8, 2], filters=2, kernel_size=3, dilation_rate=2),
        conv2d_case(
            "same, dilated along the height",
            [1, 6, 5, 2],
            filters=2,
            kernel_size=3,
            dilation_rate=[2, 1],
            padding="same",
        ),
        conv2d_case(
            "same, dilated, even kernel", [1, 6, 5, 1], filters=1, kernel_size=2, dilation_rate=3, padding="same"
        ),
        conv2d_case("two groups", [2, 4, 4, 4], filters=6, kernel_size=3, groups=2, padding="same"),
        conv2d_case("as many groups as channels", [1, 5, 5, 3], filters=3, kernel_size=3, groups=3, strides=2),
        conv2d_case("without bias", [2, 4, 4, 2], filters=3, kernel_size=2, use_bias=False),
        conv2d_case("one by one", [2, 3, 3, 3], filters=4, kernel_size=1),
        conv2d_case("the kernel covers the input", [2, 3, 4, 2], filters=3, kernel_size=[3, 4]),
        conv2d_case("explicit padding", [1, 5, 4, 2], filters=2, kernel_size=3, strides=2, padding=[[0, 2], [1, 0]]),
    ]


def depthwise_case(name, dims, **attributes):
    multiplier = attributes.get("depth_multiplier", 1)
    kernel = [*pair(attributes["kernel_size"]), dims[-1], multiplier]
    operands = {"input": grid("input of " + name, dims), "kernel": grid("kernel of " + name, kernel, -1.0, 1.0)}
    if attributes.get("use_bias", True):
        operands["bias"] = grid("bias of " + name, [dims[-1] * multiplier], -1.0, 1.0)

    def in_torch(t):
        kernel = t["kernel"].reshape(*t["kernel"].shape[:2], 1, -1)
        return conv2d_in_torch({**attributes, "groups": dims[-1]})({**t, "kernel": kernel})

    compute = of_layer(lambda: layers.DepthwiseConv2D(**attributes))
    return Case(name, attributes, operands, compute, list(operands), check=in_torch)


def depthwise_conv2d():
    return [
        depthwise_case("defaults", [2, 4, 5, 3], kernel_size=3),
        depthwise_case("same", [2, 4, 5, 2], kernel_size=3, padding="same"),
        depthwise_case("same, strides 2", [1, 6, 7, 3], kernel_size=3, strides=2, padding="same"),
        depthwise_case("two filters a channel", [2, 4, 4, 3], kernel_size=2, depth_multiplier=2),
        depthwise_case("dilated", [1, 6, 6, 2], kernel_size=2, dilation_rate=2, padding="same"),
        depthwise_case("without bias", [1, 4, 4, 4], kernel_size=[1, 3], use_bias=False),
        depthwise_case("one channel", [2, 3, 3, 1], kernel_size=2),
    ]


def layer_case(name, dims, layer, witness, **attributes):
    operands = {"input": grid("input of " + name, dims)}
    return Case(name, attributes, operands, of_layer(lambda: layer(**attributes)), ["input"], check=witness)


def up_sampling2d():
    def case(name, dims, **attributes):
        size = tuple(pair(attributes.get("size", 2)))
        mode = attributes.get("interpolation", "nearest")

        def in_torch(t):
            x = t["input"].permute(0, 3, 1, 2)
            y = F.interpolate(x, scale_factor=size, mode=mode, **({} if mode == "nearest" else {"align_corners": False}))
            return y.permute(0, 2, 3, 1)

        made = layer_case(name, dims, layers.UpSampling2D, in_torch, **attributes)
        if mode == "bilinear":
            made.f64_tolerance = 1e-6  # TensorFlow interpolates in f32
        return made

    return [
        case("defaults", [2, 3, 2, 3]),
        case("uneven factors", [1, 2, 3, 2], size=[3, 1]),
        case("bilinear", [2, 3, 4, 2], interpolation="bilinear"),
        case("bilinear, uneven factors", [1, 2, 3, 1], size=[2, 3], interpolation="bilinear"),
        case("one pixel", [2, 1, 1, 2], interpolation="bilinear"),
    ]


def global_average_pooling1d():
    def case(name, dims, **attributes):
        witness = lambda t: t["input"].mean(1, keepdim=attributes.get("keepdims", False))
        return layer_case(name, dims, layers.GlobalAveragePooling1D, witness, **attributes)

    return [
        case("defaults", [2, 5, 4]),
        case("kept axis", [2, 3, 2], keepdims=True),
        case("one step", [1, 1, 3]),
    ]


def global_average_pooling2d():
    def case(name, dims, **attributes):
        kept = attributes.get("keepdims", False)
        witness = lambda t: t["input"].mean((1, 2), keepdim=kept)
        return layer_case(name, dims, layers.GlobalAveragePooling2D, witness, **attributes)

    return [
        case("defaults", [2, 3, 5, 4]),
        case("kept axes", [2, 2, 3, 2], keepdims=True),
        case("one cell", [1, 1, 1, 3]),
    ]


# --- pooling ---------------------------------------------------------------------------------------------------------


def windows_in_torch(attributes, average):
    """Largest or mean of the real cells of each window; a tie goes to the first cell in scan order."""

    def check(t):
        window = pair(attributes.get("pool_size", 2))
        stride = pair(attributes.get("strides", window))
        amounts = explicit_pads(t["input"], {**attributes, "strides": stride}, window)
        x = t["input"].permute(0, 3, 1, 2)
        if not average:
            return F.max_pool2d(F.pad(x, amounts, value=-torch.inf), window, stride).permute(0, 2, 3, 1)
        total, real = (F.avg_pool2d(F.pad(v, amounts), window, stride) for v in (x, torch.ones_like(x)))
        return (total / real).permute(0, 2, 3, 1)

    return check


def pooling_case(kind, name, values, **attributes):
    average = kind == "average"
    make = layers.AveragePooling2D if average else layers.MaxPooling2D
    padding = attributes.get("padding")
    compute = of_layer(lambda: make(**without_explicit_padding(attributes)))
    if isinstance(padding, list) and average:
        total = after_padding(padding, 0.0, compute)
        whole = lambda t: {"output": total(t)["output"] / total({"input": ops.ones_like(t["input"])})["output"]}
    elif isinstance(padding, list):
        whole = after_padding(padding, -np.inf, compute)
    else:
        whole = compute
    return Case(name, attributes, {"input": values}, whole, ["input"], check=windows_in_torch(attributes, average))


def pooling(kind):
    case = lambda name, values, **attributes: pooling_case(kind, name, values, **attributes)
    return [
        case("valid", distinct("valid", [2, 4, 6, 2]), pool_size=2),
        case("valid drops what is left over", distinct("left over", [1, 5, 7, 2]), pool_size=2),
        case("same keeps it", distinct("left over", [1, 5, 7, 2]), pool_size=2, padding="same"),
        case("same, strides 2, pads 0 and 1", distinct("uneven", [1, 6, 6, 2]), pool_size=3, strides=2, padding="same"),
        case("same, strides 1, overlapping", distinct("overlap", [1, 4, 5, 2]), pool_size=3, strides=1, padding="same"),
        case("valid, strides 1, overlapping", distinct("overlap", [1, 4, 5, 2]), pool_size=[2, 3], strides=1),
        case("strides larger than the window", distinct("gaps", [2, 7, 8, 1]), pool_size=2, strides=3),
        case(
            "same, strides larger than the window",
            distinct("gaps", [2, 7, 8, 1]),
            pool_size=2,
            strides=[3, 4],
            padding="same",
        ),
        case("unequal window, its size as strides", distinct("unequal", [1, 6, 6, 3]), pool_size=[3, 2]),
        case("the window covers the input", distinct("global", [2, 3, 4, 3]), pool_size=[3, 4]),
        case("ties", grid("ties", [2, 5, 6, 2], 0.0, 1.0, 0.5), pool_size=3, strides=2),
        case(
            "same, all negative",
            -1.0 - np.abs(distinct("negative", [1, 5, 5, 2])),
            pool_size=3,
            strides=2,
            padding="same",
        ),
        case("explicit padding", distinct("explicit", [1, 5, 4, 2]), pool_size=3, strides=2, padding=[[1, 1], [0, 2]]),
        case("one by one", distinct("one", [1, 3, 3, 2]), pool_size=1),
    ]


CASES = {
    "conv2d": conv2d,
    "max_pooling2d": lambda: [pooling_case("max", "defaults", distinct("defaults", [1, 5, 4, 2])), *pooling("max")],
    "average_pooling2d": lambda: pooling("average"),
    "depthwise_conv2d": depthwise_conv2d,
    "up_sampling2d": up_sampling2d,
    "global_average_pooling1d": global_average_pooling1d,
    "global_average_pooling2d": global_average_pooling2d,
}
