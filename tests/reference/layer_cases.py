"""Layers without a window: Keras 3 on TensorFlow, most with PyTorch as a second witness."""

import keras
import numpy as np
import torch
import torch.nn.functional as F
from keras import layers

from recording import Case, distinct, grid, of_layer

# --- shape and dense -------------------------------------------------------------------------------------------------


def simple_case(name, values, make, check=None, **attributes):
    return Case(name, attributes, {"input": values}, of_layer(lambda: make(**attributes)), ["input"], check=check)


def flatten():
    return [
        simple_case("image", distinct("image", [2, 2, 3, 2]), layers.Flatten, lambda t: t["input"].reshape(2, -1)),
        simple_case("already flat", distinct("flat", [3, 4]), layers.Flatten, lambda t: t["input"].reshape(3, -1)),
    ]


def reshape():
    def case(name, dims, target):
        return simple_case(
            name,
            distinct(name, dims),
            layers.Reshape,
            lambda t: t["input"].reshape(dims[0], *target),
            target_shape=target,
        )

    return [
        case("vector to image", [2, 12], [2, 3, 2]),
        case("image to matrix", [2, 2, 3, 2], [4, 3]),
        case("one size left open", [2, 2, 6], [-1, 4]),
        case("to a vector", [3, 2, 2], [4]),
    ]


def dense_case(name, dims, **attributes):
    units = attributes["units"]
    operands = {
        "input": grid("input of " + name, dims),
        "kernel": grid("kernel of " + name, [dims[-1], units], -1.0, 1.0),
    }
    if attributes.get("use_bias", True):
        operands["bias"] = grid("bias of " + name, [units], -1.0, 1.0)
    return Case(
        name,
        attributes,
        operands,
        of_layer(lambda: layers.Dense(**attributes)),
        list(operands),
        check=lambda t: F.linear(t["input"], t["kernel"].T, t.get("bias")),
    )


def dense():
    return [
        dense_case("defaults", [3, 5], units=4),
        dense_case("without bias", [3, 5], units=4, use_bias=False),
        dense_case("one unit", [4, 3], units=1),
        dense_case("one row", [1, 7], units=3),
        dense_case("rank 3", [2, 3, 4], units=5),
        dense_case("rank 3 without bias", [2, 3, 4], units=2, use_bias=False),
        dense_case("rank 4", [1, 2, 3, 2], units=3),
    ]


# --- pointwise -------------------------------------------------------------------------------------------------------


def with_zeros(name, dims=(2, 3, 5)):
    return grid(name, dims, -4.0, 4.0, 0.5)


def relu():
    at_bounds = np.array([[-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 5.5, 6.0, 6.5]])
    inside = np.array([[-2.0, -1.0, -0.25, 0.25, 0.75, 1.0, 2.0, 2.5, 5.5, 6.5]])
    leaky = lambda t: torch.where(t["input"] > 0, t["input"], 0.25 * t["input"])
    return [
        simple_case("defaults", with_zeros("relu"), layers.ReLU, lambda t: F.relu(t["input"])),
        simple_case(
            "at most 6, at the bounds too", at_bounds, layers.ReLU, lambda t: F.relu6(t["input"]), max_value=6.0
        ),
        simple_case("at most 2", inside[:, :7] - 0.125, layers.ReLU, max_value=2.0),
        simple_case("leaky", inside, layers.ReLU, leaky, negative_slope=0.25),
        simple_case("threshold", inside, layers.ReLU, threshold=0.875),
        simple_case(
            "leaky, threshold and maximum",
            inside + 0.0625,
            layers.ReLU,
            negative_slope=0.25,
            threshold=0.5,
            max_value=3.0,
        ),
    ]


def pointwise(function, witness):
    make = lambda: layers.Activation(function)
    far = np.array([[-40.0, -20.0, -8.0, -1e-3, 0.0, 1e-3, 8.0, 20.0, 40.0]])
    return [
        simple_case("small values", with_zeros(function), make, witness),
        simple_case("far from zero", far, make, witness),
        simple_case("so far that exp overflows in f32", np.array([[-800.0, -100.0, 100.0, 800.0]]), make, witness),
    ]


def softmax():
    def case(name, values, **attributes):
        axis = attributes.get("axis", -1)
        return simple_case(name, values, layers.Softmax, lambda t: torch.softmax(t["input"], axis), **attributes)

    return [
        case("defaults", with_zeros("softmax", [3, 5])),
        case("rank 3", with_zeros("softmax 3", [2, 3, 4])),
        case("along axis -2", with_zeros("softmax 3", [2, 3, 4]), axis=-2),
        case("image, along the height", with_zeros("softmax 4", [1, 2, 3, 2]), axis=-3),
        case("equal values", np.full([2, 4], 3.0)),
        case(
            "large and small values",
            np.array([[1000.0, 999.0, -1000.0], [-1000.0, -1000.5, -1002.0], [30.0, 0.0, 0.0]]),
        ),
    ]


def rescaling():
    """Keras rounds scale and offset through f32 even when it computes in f64, so these are exact in both."""

    def case(name, values, **attributes):
        return simple_case(
            name,
            values,
            layers.Rescaling,
            lambda t: t["input"] * attributes["scale"] + attributes.get("offset", 0.0),
            **attributes,
        )

    return [
        case("scale", grid("pixels", [2, 2, 3, 1], 0.0, 255.0, 1.0), scale=1 / 256),
        case("scale and offset", grid("pixels", [2, 6], 0.0, 255.0, 1.0), scale=1 / 128, offset=-1.0),
        case("scale 0", grid("pixels", [2, 3], 0.0, 255.0, 1.0), scale=0.0, offset=0.5),
    ]


# --- several inputs --------------------------------------------------------------------------------------------------


def of_several(make):
    def compute(tensors):
        return {"output": make()([tensors[f"input_{i}"] for i in range(len(tensors))])}

    return compute


def several_case(name, shapes, make, check, **attributes):
    operands = {f"input_{i}": distinct(f"{name} {i}", dims) for i, dims in enumerate(shapes)}
    return Case(
        name,
        attributes,
        operands,
        of_several(lambda: make(**attributes)),
        list(operands),
        check=lambda t: check(list(t.values())),
    )


def add():
    case = lambda name, count, dims: several_case(name, [dims] * count, layers.Add, sum)
    return [case("two", 2, [2, 3]), case("three images", 3, [1, 2, 3, 2]), case("four", 4, [3, 2])]


def concatenate():
    def case(name, shapes, **attributes):
        return several_case(
            name, shapes, layers.Concatenate, lambda t: torch.cat(t, attributes.get("axis", -1)), **attributes
        )

    return [
        case("channels", [[2, 2, 3, 1], [2, 2, 3, 2]]),
        case("three vectors", [[3, 2], [3, 1], [3, 4]]),
        case("along the width", [[1, 2, 1, 2], [1, 2, 3, 2]], axis=-2),
        case("along the height", [[2, 1, 2, 2], [2, 2, 2, 2], [2, 1, 2, 2]], axis=-3),
    ]


# --- batch_normalization ---------------------------------------------------------------------------------------------


def normalized_in_torch(attributes, training):
    def check(t):
        x, epsilon = t["input"], attributes.get("epsilon", 1e-3)
        axes = tuple(range(x.ndim - 1))
        mean, variance = (
            (x.mean(axes), x.var(axes, unbiased=False)) if training else (t["moving_mean"], t["moving_variance"])
        )
        return (x - mean) / torch.sqrt(variance + epsilon) * t.get("gamma", 1.0) + t.get("beta", 0.0)

    return check


def batch_normalization_case(name, dims, training, **attributes):
    channels = dims[-1:]
    operands = {"input": grid("input of " + name, dims, -3.0, 4.0)}
    if attributes.get("scale", True):
        operands["gamma"] = grid("gamma of " + name, channels, -1.5, 2.0, 0.25)
    if attributes.get("center", True):
        operands["beta"] = grid("beta of " + name, channels, -1.0, 1.0, 0.25)
    operands["moving_mean"] = grid("mean of " + name, channels, -1.0, 1.0, 0.25)
    operands["moving_variance"] = grid("variance of " + name, channels, 0.25, 2.0, 0.25)
    differentiable = [name for name in operands if not name.startswith("moving")]
    return Case(
        name,
        attributes,
        operands,
        of_layer(lambda: layers.BatchNormalization(**attributes), training),
        differentiable,
        training,
        check=normalized_in_torch(attributes, training),
    )


def batch_normalization():
    cases = []
    for training in (True, False):
        case = lambda name, dims, **attributes: cases.append(
            batch_normalization_case(
                f"{'training' if training else 'evaluation'}: {name}", dims, training, **attributes
            )
        )
        case("defaults, image", [2, 3, 2, 3])
        case("defaults, vector", [6, 4])
        case("rank 3", [2, 3, 2])
        case("momentum and epsilon", [5, 3], momentum=0.5, epsilon=0.25)
        case("neither scale nor center", [4, 3], scale=False, center=False)
        case("without scale", [4, 3], scale=False)
        case("without center", [2, 2, 2, 2], center=False)
        case("one sample", [1, 3, 4, 2])
    constant = batch_normalization_case("training: a constant channel", [4, 2], True)
    constant.operands["input"][:, 1] = 1.5
    return [*cases, constant]


# --- sequences -------------------------------------------------------------------------------------------------------


def layer_normalization():
    def case(name, dims, **attributes):
        channels = dims[-1:]
        operands = {"input": grid("input of " + name, dims, -3.0, 4.0)}
        if attributes.get("scale", True):
            operands["gamma"] = grid("gamma of " + name, channels, -1.5, 2.0, 0.25)
        if attributes.get("center", True):
            operands["beta"] = grid("beta of " + name, channels, -1.0, 1.0, 0.25)
        epsilon = attributes.get("epsilon", 1e-3)
        witness = lambda t: F.layer_norm(t["input"], channels, t.get("gamma"), t.get("beta"), epsilon)
        compute = of_layer(lambda: layers.LayerNormalization(**attributes))
        return Case(name, attributes, operands, compute, list(operands), check=witness)

    return [
        case("defaults, vector", [3, 6]),
        case("sequence", [2, 3, 5]),
        case("image", [1, 2, 2, 7]),
        case("large epsilon", [4, 3], epsilon=0.5),
        case("neither scale nor center", [2, 5], scale=False, center=False),
        case("without scale", [2, 5], scale=False),
        case("without center", [2, 5], center=False),
    ]


def embedding():
    def case(name, indices, input_dim, output_dim):
        operands = {
            "input": np.array(indices, "int32"),
            "embeddings": grid("table of " + name, [input_dim, output_dim]),
        }
        attributes = {"input_dim": input_dim, "output_dim": output_dim}
        compute = of_layer(lambda: layers.Embedding(**attributes))
        witness = lambda t: F.embedding(t["input"].long(), t["embeddings"])
        return Case(name, attributes, operands, compute, ["embeddings"], check=witness)

    return [
        case("words", [[0, 2, 1], [3, 0, 0]], 4, 3),
        case("one number a sample", [2, 0, 2, 2], 3, 2),
        case("rows never used", [[1, 1]], 5, 4),
    ]


def attention_in_torch(attributes):
    """The formula in einsums; torch's own module has other parameters."""

    def check(t):
        project = lambda x, name: torch.einsum("btd,dhk->bthk", x, t[name + "_kernel"]) + t.get(name + "_bias", 0.0)
        q, k, v = project(t["query"], "query"), project(t.get("key", t["value"]), "key"), project(t["value"], "value")
        scores = torch.einsum("bthk,bshk->bhts", q, k) / attributes["key_dim"] ** 0.5
        if attributes.get("use_causal_mask"):
            later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        context = torch.einsum("bhts,bshv->bthv", scores.softmax(-1), v)
        return torch.einsum("bthv,hvd->btd", context, t["output_kernel"]) + t.get("output_bias", 0.0)

    return check


def multi_head_attention_case(name, query, value, key=None, **attributes):
    heads, key_dim = attributes["num_heads"], attributes["key_dim"]
    value_dim = attributes.get("value_dim", key_dim)
    sequences = {"query": query, "value": value, "key": key}
    shapes = {side: dims for side, dims in sequences.items() if dims}
    shapes |= {
        "query_kernel": [query[-1], heads, key_dim],
        "query_bias": [heads, key_dim],
        "key_kernel": [(key or value)[-1], heads, key_dim],
        "key_bias": [heads, key_dim],
        "value_kernel": [value[-1], heads, value_dim],
        "value_bias": [heads, value_dim],
        "output_kernel": [heads, value_dim, query[-1]],
        "output_bias": [query[-1]],
    }
    if not attributes.get("use_bias", True):
        shapes = {parameter: dims for parameter, dims in shapes.items() if not parameter.endswith("_bias")}
    operands = {side: grid(f"{side} of {name}", dims, -1.0, 1.0) for side, dims in shapes.items()}
    settings = {key: value for key, value in attributes.items() if key != "use_causal_mask"}

    def compute(tensors):
        layer = layers.MultiHeadAttention(**settings)
        layer.build(query, value, key)
        values = [tensors[parameter] for parameter in operands if parameter not in sequences]
        inputs = {side: tensors[side] for side in sequences if side in tensors}
        causal = attributes.get("use_causal_mask", False)
        output, _ = layer.stateless_call(values, [], **inputs, use_causal_mask=causal)
        return {"output": output}

    # A constant added to every score of a row changes no probability: the gradient of key_bias is 0 up to rounding.
    differentiable = [operand for operand in operands if operand != "key_bias"]
    return Case(name, attributes, operands, compute, differentiable, check=attention_in_torch(attributes))


def multi_head_attention():
    case = multi_head_attention_case
    return [
        case("defaults", [2, 3, 4], [2, 5, 3], num_heads=2, key_dim=4),
        case("keys of their own, wider values", [1, 3, 4], [1, 4, 2], [1, 4, 5], num_heads=2, key_dim=1, value_dim=3),
        case("without biases", [2, 2, 3], [2, 4, 3], num_heads=3, key_dim=4, use_bias=False),
        case("causal", [1, 4, 3], [1, 4, 3], num_heads=2, key_dim=4, use_causal_mask=True),
        case("causal, more times than sources", [1, 5, 3], [1, 3, 2], num_heads=1, key_dim=4, use_causal_mask=True),
        case("one of each", [1, 1, 1], [1, 1, 1], num_heads=1, key_dim=1),
    ]


def gelu():
    far = np.array([[-40.0, -20.0, -8.0, -1e-3, 0.0, 1e-3, 8.0, 20.0, 40.0]])

    def case(name, values, **attributes):
        approximate = attributes.get("approximate", False)
        compute = lambda t: {"output": keras.ops.gelu(t["input"], approximate)}
        witness = lambda t: F.gelu(t["input"], approximate="tanh" if approximate else "none")
        made = Case(name, attributes, {"input": values}, compute, ["input"], check=witness)
        made.f64_tolerance = 1e-7  # TensorFlow's constants are f32
        return made

    return [
        case("defaults", with_zeros("gelu")),
        case("far from zero", far),
        case("approximate", with_zeros("approximate gelu"), approximate=True),
        case("approximate, far from zero", far, approximate=True),
    ]


CASES = {
    "flatten": flatten,
    "reshape": reshape,
    "dense": dense,
    "relu": relu,
    "tanh": lambda: pointwise("tanh", lambda t: torch.tanh(t["input"])),
    "sigmoid": lambda: pointwise("sigmoid", lambda t: torch.sigmoid(t["input"])),
    "softmax": softmax,
    "rescaling": rescaling,
    "add": add,
    "concatenate": concatenate,
    "batch_normalization": batch_normalization,
    "layer_normalization": layer_normalization,
    "embedding": embedding,
    "gelu": gelu,
    "multi_head_attention": multi_head_attention,
    "relu6": lambda: [
        simple_case(
            "around the kinks",
            np.array([[-2.0, -0.5, 0.0, 0.5, 3.0, 5.5, 6.0, 6.5, 30.0]]),
            lambda: layers.Activation("relu6"),
            lambda t: F.relu6(t["input"]),
        )
    ],
}
