"""The layers of a specification in PyTorch: one function a type makes the module and loads its weights.

Images are batch, channels, height, width here, as PyTorch wants them; everything else has the axes of the file.
`shapes` are those of the specification, a sample each, images last axis channels.
"""

import torch
import torch.nn.functional as F

from network import Unsupported

ACTIVATIONS = {
    "relu": F.relu,
    "relu6": F.relu6,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "exponential": torch.exp,
    "linear": lambda x: x,
}
FROM_LOGITS = ("softmax", "sigmoid")


def pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def tensor(value):
    return torch.from_numpy(value)


def load(parameter, value):
    with torch.no_grad():
        parameter.copy_(value)


def window_padding(size, kernel, strides, padding, dilation=(1, 1)):
    """[(before, after), …] of height and width; "same": what an output for each step needs, the odd one after."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding != "same":
        return [tuple(side) for side in padding]
    sides = []
    for n, k, s, d in zip(size, kernel, strides, dilation):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        sides.append((total // 2, total - total // 2))
    return sides


def extents(size, kernel, strides, sides, dilation=(1, 1)):
    return [
        (n + sum(side) - (k - 1) * d - 1) // s + 1 for n, k, s, side, d in zip(size, kernel, strides, sides, dilation)
    ]


class Padded(torch.nn.Module):
    """A module with even padding, or uneven padding in front of it."""

    def __init__(self, sides, make, value=0.0):
        super().__init__()
        (top, bottom), (left, right) = sides
        even = top == bottom and left == right
        self.before = None if even else (left, right, top, bottom)
        self.value = value
        self.inner = make((top, left) if even else (0, 0))

    def forward(self, x):
        return self.inner(x if self.before is None else F.pad(x, self.before, value=self.value))


def convolution(layer, shape, weights, depthwise):
    settings = layer.settings
    kernel, strides = pair(settings["kernel_size"]), pair(settings.get("strides", 1))
    dilation = pair(settings.get("dilation_rate", 1))
    sides = window_padding(shape[:2], kernel, strides, settings.get("padding", "valid"), dilation)
    channels = shape[2]
    filters = channels * settings.get("depth_multiplier", 1) if depthwise else settings["filters"]
    groups = channels if depthwise else settings.get("groups", 1)
    bias = settings.get("use_bias", True)
    module = Padded(
        sides,
        lambda padding: torch.nn.Conv2d(
            channels, filters, kernel, strides, padding, dilation, groups, bias  # fmt: skip
        ),
    )
    value = tensor(weights.take(f"{layer.name}.kernel"))
    load(
        module.inner.weight,
        value.permute(2, 3, 0, 1).reshape(filters, 1, *kernel) if depthwise else value.permute(3, 2, 0, 1),
    )
    if bias:
        load(module.inner.bias, tensor(weights.take(f"{layer.name}.bias")))
    return module, [*extents(shape[:2], kernel, strides, sides, dilation), filters]


def pooling(layer, shape, maximum):
    settings = layer.settings
    window = pair(settings.get("pool_size", 2))
    strides = pair(settings.get("strides", window))
    sides = window_padding(shape[:2], window, strides, settings.get("padding", "valid"))
    if maximum:
        make, outside = lambda padding: torch.nn.MaxPool2d(window, strides, padding), -torch.inf
    else:
        if any(side != (0, 0) for side in sides):
            raise Unsupported(f"{layer.name}: average pooling with padding")
        make, outside = lambda padding: torch.nn.AvgPool2d(window, strides), 0.0
    return Padded(sides, make, outside), [*extents(shape[:2], window, strides, sides), shape[2]]


def dense(layer, shape, weights, order):
    if len(shape) == 3:
        raise Unsupported(f"{layer.name}: dense on an image")
    units, bias = layer.settings["units"], layer.settings.get("use_bias", True)
    module = torch.nn.Linear(shape[-1], units, bias)
    kernel = tensor(weights.take(f"{layer.name}.kernel", (shape[-1], units)))
    if order:  # the rows in the order in which the image was flattened
        kernel = kernel.reshape(*order, units).permute(2, 0, 1, 3).reshape(-1, units)
    load(module.weight, kernel.T)
    if bias:
        load(module.bias, tensor(weights.take(f"{layer.name}.bias")))
    return module, [*shape[:-1], units]


def batch_normalization(layer, shape, weights):
    settings = layer.settings
    if not settings.get("center", True) or not settings.get("scale", True):
        raise Unsupported(f"{layer.name}: without center or scale")
    kind = torch.nn.BatchNorm2d if len(shape) == 3 else torch.nn.BatchNorm1d
    module = kind(shape[-1], settings.get("epsilon", 1e-3), 1 - settings.get("momentum", 0.99))
    for name, parameter in {
        "gamma": module.weight,
        "beta": module.bias,
        "moving_mean": module.running_mean,
        "moving_variance": module.running_var,
    }.items():
        load(parameter, tensor(weights.take(f"{layer.name}.{name}")))
    return module, shape


def layer_normalization(layer, shape, weights):
    if len(shape) == 3:
        raise Unsupported(f"{layer.name}: layer normalization of an image")
    module = torch.nn.LayerNorm(shape[-1], layer.settings.get("epsilon", 1e-3))
    load(module.weight, tensor(weights.take(f"{layer.name}.gamma")))
    load(module.bias, tensor(weights.take(f"{layer.name}.beta")))
    return module, shape


def embedding(layer, shape, weights):
    module = torch.nn.Embedding(layer.settings["input_dim"], layer.settings["output_dim"])
    load(module.weight, tensor(weights.take(f"{layer.name}.embeddings")))
    return module, [*shape, layer.settings["output_dim"]]


class Attention(torch.nn.Module):
    """PyTorch's own module; self-attention is one product for queries, keys and values."""

    def __init__(self, size, heads, bias, causal):
        super().__init__()
        self.inner = torch.nn.MultiheadAttention(size, heads, bias=bias, batch_first=True)
        self.causal = causal

    def forward(self, query, value, key=None):
        key = value if key is None else key
        mask = None
        if self.causal:
            mask = torch.ones(query.shape[1], value.shape[1], dtype=torch.bool).triu(1)
        return self.inner(query, key, value, need_weights=False, attn_mask=mask)[0]


def multi_head_attention(layer, shapes, weights):
    settings, size = layer.settings, shapes[0][-1]
    heads, key_dim = settings["num_heads"], settings["key_dim"]
    if heads * key_dim != size or settings.get("value_dim", key_dim) != key_dim or any(s[-1] != size for s in shapes):
        raise Unsupported(f"{layer.name}: heads that do not fill the features")
    bias = settings.get("use_bias", True)
    module = Attention(size, heads, bias, settings.get("use_causal_mask", False))
    take = lambda name: tensor(weights.take(f"{layer.name}.{name}"))
    sides = ("query", "key", "value")
    load(module.inner.in_proj_weight, torch.cat([take(f"{side}_kernel").reshape(size, size).T for side in sides]))
    load(module.inner.out_proj.weight, take("output_kernel").reshape(size, size).T)
    if bias:
        load(module.inner.in_proj_bias, torch.cat([take(f"{side}_bias").reshape(size) for side in sides]))
        load(module.inner.out_proj.bias, take("output_bias"))
    return module, shapes[0]


class Function(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *values):
        return self.function(*values)


def joined(layer, shapes):
    axis = layer.settings.get("axis", -1)
    shape = list(shapes[0])
    shape[axis] = sum(other[axis] for other in shapes)
    of_image = {-1: 1, -2: 3, -3: 2}
    dim = of_image[axis] if len(shape) == 3 else axis
    return Function(lambda *values: torch.cat(values, dim)), shape


def multiplied(*values):
    product = values[0]
    for value in values[1:]:
        product = product * value
    return product


def summed(*values):
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def make(layer, shapes, weights, order):
    """The module and the shape of its result, before the layer's `activation`."""
    shape, settings = shapes[0], layer.settings
    image = len(shape) == 3
    if order and layer.type not in ("dense", "dropout", *ACTIVATIONS):
        raise Unsupported(f"{layer.name}: {layer.type} of a flattened image")
    match layer.type:
        case "conv2d" | "depthwise_conv2d":
            return convolution(layer, shape, weights, layer.type == "depthwise_conv2d")
        case "max_pooling2d" | "average_pooling2d":
            return pooling(layer, shape, layer.type == "max_pooling2d")
        case "global_average_pooling2d" | "global_average_pooling1d":
            return Function(lambda x: x.mean((2, 3) if image else 1)), [shape[-1]]
        case "up_sampling2d":
            if settings.get("interpolation", "nearest") != "nearest":
                raise Unsupported(f"{layer.name}: interpolation {settings['interpolation']}")
            size = pair(settings.get("size", 2))
            enlarged = [shape[0] * size[0], shape[1] * size[1], shape[2]]
            return Function(lambda x: F.interpolate(x, scale_factor=size)), enlarged
        case "dense":
            return dense(layer, shape, weights, order)
        case "batch_normalization":
            return batch_normalization(layer, shape, weights)
        case "layer_normalization":
            return layer_normalization(layer, shape, weights)
        case "embedding":
            return embedding(layer, shape, weights)
        case "multi_head_attention":
            return multi_head_attention(layer, shapes, weights)
        case "add":
            return Function(summed), shape
        case "multiply":
            return Function(multiplied), shape
        case "concatenate":
            return joined(layer, shapes)
        case "dropout":
            return torch.nn.Dropout(settings["rate"]), shape
        case "rescaling":
            return Function(lambda x: x * settings["scale"] + settings.get("offset", 0.0)), shape
        case "softmax":
            return Function(lambda x: torch.softmax(x, 1 if image else -1)), shape
        case "gelu":
            how = "tanh" if settings.get("approximate") else "none"
            return Function(lambda x: F.gelu(x, approximate=how)), shape
        case name if name in ACTIVATIONS and not settings:
            return Function(ACTIVATIONS[name]), shape
    raise Unsupported(f"{layer.name}: no {layer.type} for PyTorch")
