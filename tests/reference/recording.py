"""One recorded case: operands, what Keras computes from them in double and single precision, and its gradients.

Operands are multiples of 1/8 (or otherwise exact in f32) wherever the op allows, so that a program that computes in
f32 starts from the same numbers as one that computes in f64.
"""

import json
import math
import zlib
from dataclasses import dataclass
from typing import Callable

import keras
import numpy as np
import tensorflow as tf
import torch

F64_TOLERANCE = 1e-10
VANISHING = 1e-20
F32_FLOOR = 1e-5  # least single-precision tolerance: another order of summation
F32_MARGIN = 4  # what a case allows, as a multiple of what Keras itself loses in single precision


@dataclass
class Case:
    """`compute` maps operand tensors to result tensors; the first result is the one that is differentiated."""

    name: str
    attributes: dict
    operands: dict[str, np.ndarray]
    compute: Callable[[dict], dict]
    differentiable: list[str]
    training: bool = False
    scalar: bool = False  # a loss: its cotangent is 1
    check: Callable[[dict], object] | None = None  # the same in PyTorch, an independent witness
    f64_tolerance: float = F64_TOLERANCE  # larger where Keras itself rounds a constant through f32


def generator(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def grid(name, dims, low=-2.0, high=2.0, step=1 / 8):
    """Multiples of `step` in low…high (both included), a function of the name alone."""
    count = round((high - low) / step)
    return low + step * generator(name).integers(0, count + 1, dims).astype("float64")


def distinct(name, dims, step=1 / 8):
    """A permutation of equally spaced values around zero: no ties."""
    size = math.prod(dims)
    return (step * (generator(name).permutation(size) - size // 2)).reshape(dims).astype("float64")


def one_hot(classes, count):
    return np.eye(count)[np.asarray(classes)]


def set_precision(floatx):
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(floatx)


def run(case, cotangent, floatx):
    set_precision(floatx)
    tensors = {
        name: tf.constant(value, floatx if value.dtype.kind == "f" else value.dtype)
        for name, value in case.operands.items()
    }
    with tf.GradientTape() as tape:
        for name in case.differentiable:
            tape.watch(tensors[name])
        results = case.compute(tensors)
        first = next(iter(results.values()))
    seed = None if case.scalar else tf.constant(cotangent, floatx)
    gradients = tape.gradient(first, {name: tensors[name] for name in case.differentiable}, seed)
    missing = [name for name, gradient in gradients.items() if gradient is None]
    if missing:
        raise RuntimeError(f"{case.name}: no gradient for {missing}")
    # convert_to_tensor: the gradient of a table comes as its used rows
    as_array = lambda tensors: {name: np.asarray(tf.convert_to_tensor(tensor)) for name, tensor in tensors.items()}
    return as_array(results), as_array(gradients)


def deviation(values, expected):
    """The largest difference, relative to the largest entry of the expected tensor; absolute if all of them vanish."""
    largest = np.abs(expected).max(initial=0.0)
    return float(np.abs(values - expected).max(initial=0.0) / (largest if largest > VANISHING else 1.0))


def compare_with_torch(case, cotangent, results, gradients):
    tensors = {name: torch.tensor(value) for name, value in case.operands.items()}
    for name in case.differentiable:
        tensors[name].requires_grad_(True)
    output = case.check(tensors)
    output.backward(None if case.scalar else torch.tensor(cotangent))
    limit = F64_TOLERANCE / 100 if case.f64_tolerance == F64_TOLERANCE else case.f64_tolerance
    pairs = [(output.detach().numpy(), next(iter(results.values())))]
    pairs += [(tensors[name].grad.numpy(), gradients[name]) for name in case.differentiable]
    for witness, recorded in pairs:
        if witness.shape != recorded.shape or deviation(witness, recorded) > limit:
            raise RuntimeError(f"{case.name}: PyTorch differs from Keras\n{witness}\n{recorded}")


def f32_tolerance(single, double):
    worst = max(deviation(single[name].astype("float64"), double[name]) for name in double)
    exponent = math.floor(math.log10(max(F32_FLOOR, F32_MARGIN * worst)))
    return float(f"{math.ceil(max(F32_FLOOR, F32_MARGIN * worst) / 10**exponent - 1e-9)}e{exponent}")


def record(case):
    shape = next(iter(run(case, 1.0, "float64")[0].values())).shape if case.scalar else output_shape(case)
    cotangent = grid("cotangent of " + case.name, shape, -1.0, 1.0)
    results, gradients = run(case, cotangent, "float64")
    results32, gradients32 = run(case, cotangent, "float32")
    if not all(np.isfinite(value).all() for value in [*results.values(), *gradients.values()]):
        raise RuntimeError(f"{case.name}: not finite: {results} {gradients}")
    if case.check is not None:
        compare_with_torch(case, cotangent, results, gradients)
    recorded = {
        "name": case.name,
        "attributes": case.attributes,
        "training": case.training,
        "tolerance": {
            "f64": case.f64_tolerance,
            "f32": f32_tolerance({**results32, **prefixed(gradients32)}, {**results, **prefixed(gradients)}),
        },
        "operands": case.operands,
        "results": results,
    }
    if not case.scalar and case.differentiable:
        recorded["cotangent"] = {next(iter(results)): cotangent}
    if case.differentiable:
        recorded["gradients"] = gradients
    return recorded


def prefixed(gradients):
    return {"gradient of " + name: value for name, value in gradients.items()}


def output_shape(case):
    set_precision("float64")
    return tuple(
        next(iter(case.compute({name: tf.constant(value) for name, value in case.operands.items()}).values())).shape
    )


def of_layer(make, training=False):
    """A Keras layer as a function of its input and its parameters; the results include its new statistics."""

    def compute(tensors):
        layer = make()
        layer.build(tensors["input"].shape)
        variables = [
            [tensors[v.name] for v in group] for group in (layer.trainable_variables, layer.non_trainable_variables)
        ]
        arguments = {"training": training} if layer._call_has_training_arg else {}
        output, statistics = layer.stateless_call(*variables, tensors["input"], **arguments)
        moved = {v.name: value for v, value in zip(layer.non_trainable_variables, statistics)} if training else {}
        return {"output": output, **moved}

    return compute


def number(value):
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 and not is_negative_zero(value) else repr(value)


def is_negative_zero(value):
    return value == 0 and math.copysign(1.0, value) < 0


def text(value, indent=0):
    """JSON with one line for each tensor and each object without one."""
    if isinstance(value, np.ndarray):
        values = ",".join(number(v) for v in value.ravel())
        dtype = '"dtype": "i32", ' if value.dtype.kind == "i" else ""
        return f'{{{dtype}"dims": {json.dumps(list(value.shape))}, "values": [{values}]}}'
    pad = " " * (indent + 1)
    if isinstance(value, dict) and holds_tensor(value):
        lines = [f"{pad}{json.dumps(key)}: {text(entry, indent + 1)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    if isinstance(value, list) and holds_tensor(value):
        return "[\n" + ",\n".join(pad + text(entry, indent + 1) for entry in value) + "\n" + " " * indent + "]"
    return json.dumps(value)


def holds_tensor(value):
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return isinstance(value, np.ndarray) or any(holds_tensor(entry) for entry in entries)
