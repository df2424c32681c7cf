#!/usr/bin/env python3
"""Records every loss × reduction × weighting, by Keras' own loss classes in f64, into losses.json. See README.md.

Where Keras has no word for something, the numbers come from Keras' unreduced loss by hand: batch_mean, an ignored class
of dense targets, weights of samples spread over their entries. `value` and `kl_sparsity` are formulas, which Keras has
not; where PyTorch has a loss, its autograd must give the same. The profile pytorch is recorded from PyTorch alone.

usage: KERAS_BACKEND=tensorflow record_losses.py
"""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
import tensorflow as tf
import torch
from keras import losses
from keras.src import backend
from keras.src.losses.loss import reduce_weighted_values
from keras.src.trainers.data_adapters.data_adapter_utils import class_weight_to_sample_weights

import loss_numbers_cases as cases
from recording import deviation, text

tf.get_logger().setLevel("ERROR")
keras.config.set_floatx("float64")

REDUCTIONS = {"mean": "sum_over_batch_size", "sum": "sum", "mean_with_sample_weight": "mean_with_sample_weight"}
LARGEST = 400_000  # bytes
WITNESSED = 1e-12  # what PyTorch may differ, relative to the largest


class Value(losses.Loss):
    def call(self, target, prediction):
        return prediction


class KLSparsity(losses.Loss):
    def __init__(self, rho=0.05, **keywords):
        super().__init__(**keywords)
        self.rho = rho

    def call(self, target, prediction):
        r = tf.clip_by_value(tf.reduce_mean(prediction, 0), 1e-7, 1 - 1e-7)
        return tf.reduce_sum(self.rho * tf.math.log(self.rho / r) + (1 - self.rho) * tf.math.log((1 - self.rho) / (1 - r)))


OWN = {"value": Value, "kl_sparsity": KLSparsity}
CLASSES = {"kl_divergence": "KLDivergence"}
SPEC_ONLY = ("reduction", "class_weight", "ignore_class", "zero_one", "numerics")


def keras_loss(op, attributes, reduction):
    keywords = {key: value for key, value in attributes.items() if key not in SPEC_ONLY}
    if op == "sparse_categorical_crossentropy" and "ignore_class" in attributes:
        keywords["ignore_class"] = attributes["ignore_class"]
    if "axis" in keywords:
        keywords["axis"] = 3 + keywords["axis"]  # TensorFlow's crossentropy fails on -2
    make = OWN.get(op) or getattr(losses, CLASSES.get(op) or "".join(word.capitalize() for word in op.split("_")))
    return make(reduction=reduction, **keywords)


def entry_weights(group, case, unreduced):
    """m and s·c over the entries of the unreduced loss; None where nothing is given."""
    spread = lambda v: np.broadcast_to(v.reshape(v.shape + (1,) * (len(unreduced) - v.ndim)), unreduced)
    operands, attributes = {**group.operands, **case.operands}, {**group.attributes, **case.attributes}
    mask = spread(operands["mask"]) if "mask" in operands else None
    sample = spread(operands["sample_weight"]).astype("float64") if "sample_weight" in operands else None
    if "class_weight" not in attributes and "ignore_class" not in attributes:
        return mask, sample, None
    target = operands["target"]
    if target.dtype.kind == "f":
        target = np.moveaxis(target, attributes.get("axis", -1), -1)
    rows = target.reshape(-1, 1) if target.dtype.kind == "i" else target.reshape(-1, target.shape[-1])
    of_class = None
    if "class_weight" in attributes:
        table = dict(enumerate(attributes["class_weight"]))
        of_class = class_weight_to_sample_weights(rows, table).reshape(unreduced)
    if "ignore_class" in attributes and not group.op.startswith("sparse"):
        kept = (rows.argmax(-1) != attributes["ignore_class"]).reshape(unreduced)
        mask = kept.astype("float64") if mask is None else mask * kept
    return mask, sample, of_class


def by_keras(group, case):
    attributes = {**group.attributes, **case.attributes}
    operands = {**group.operands, **case.operands}
    reduction = attributes["reduction"]
    prediction = tf.constant(operands["prediction"])
    target = tf.constant(operands["target"]) if "target" in operands else tf.zeros_like(prediction)
    with tf.GradientTape() as tape:
        tape.watch(prediction)
        if group.target_gradient:
            tape.watch(target)
        copy = tf.identity(prediction)  # a mask is a mark on the tensor
        unreduced = keras_loss(group.op, attributes, None)(target, copy)
        mask, sample, of_class = entry_weights(group, case, tuple(unreduced.shape))
        weight = sample if of_class is None else of_class if sample is None else sample * of_class
        if reduction == "batch_mean" or (reduction == "mean_with_sample_weight" and of_class is not None):
            factor = np.ones(unreduced.shape)
            for one in (mask, weight):
                factor = factor if one is None else factor * one
            divisor = prediction.shape[0]
            if reduction != "batch_mean":
                divisor = (sample * (1 if mask is None else mask)).sum()
            value = tf.reduce_sum(unreduced * factor) / divisor
        elif group.op == "value":
            value = reduce_weighted_values(copy, weight, mask, REDUCTIONS[reduction])
        else:
            if mask is not None:
                backend.set_keras_mask(copy, tf.constant(mask, "bool"))
            value = keras_loss(group.op, attributes, REDUCTIONS[reduction])(target, copy, sample_weight=weight)
    sources = [prediction, target] if group.target_gradient else [prediction]
    gradients = tape.gradient(value, sources)
    return [value.numpy(), *(np.asarray(gradient) for gradient in gradients)]


def by_torch(group, case):
    """From the unreduced loss of PyTorch; D as weir's specification says it."""
    attributes = {**group.attributes, **case.attributes}
    operands = {**group.operands, **case.operands}
    tensor = lambda v: torch.tensor(v, dtype=torch.int64 if v.dtype.kind == "i" else torch.float64)
    prediction, target = tensor(operands["prediction"]), tensor(operands["target"])
    prediction.requires_grad_(True)
    if group.target_gradient:
        target.requires_grad_(True)
    last = lambda v: v.movedim(attributes.get("axis", -1), -1) if v.dim() == prediction.dim() else v
    unreduced = group.torch(last(prediction), last(target), attributes)
    mask, sample, of_class = entry_weights(group, case, tuple(unreduced.shape))
    if group.op.startswith("sparse") and "ignore_class" in attributes:
        kept = operands["target"] != attributes["ignore_class"]
        mask = kept if mask is None else mask * kept
    number = lambda v: torch.ones(unreduced.shape, dtype=torch.float64) if v is None else torch.tensor(np.array(v, "float64"))
    m, s, c = number(mask), number(sample), number(of_class)
    by_classes = attributes.get("numerics") == "pytorch" and of_class is not None
    divisor = {
        "sum": 1,
        "batch_mean": prediction.shape[0],
        "mean": (m * c).sum() if by_classes else m.sum(),
        "mean_with_sample_weight": (m * s).sum(),
    }[attributes["reduction"]]
    value = (torch.where(m == 0, 0.0, unreduced) * m * s * c).sum() / divisor
    if by_classes and attributes["reduction"] in ("mean", "sum"):  # what PyTorch itself makes of class weights
        table = torch.tensor(attributes["class_weight"], dtype=torch.float64)
        rows = prediction.reshape(-1, prediction.shape[-1]), target.reshape(-1)
        direct = torch.nn.functional.cross_entropy(*rows, table, reduction=attributes["reduction"],
                                                   ignore_index=attributes.get("ignore_class", -100))
        assert abs(float((direct - value).detach())) < 1e-14, (direct, value)
    value.backward()
    gradients = [prediction.grad.numpy()] + ([target.grad.numpy()] if group.target_gradient else [])
    return [value.detach().numpy(), *gradients]


def record(group, case):
    turned = group.op.startswith("sparse") and "axis" in group.attributes  # TensorFlow's cannot
    of_pytorch = turned or group.attributes.get("numerics") == "pytorch"
    numbers = by_torch(group, case) if of_pytorch else by_keras(group, case)
    if not all(np.isfinite(one).all() for one in numbers):
        raise RuntimeError(f"{group.op} {group.name} {case.name}: not finite: {numbers}")
    if group.torch and not of_pytorch:
        for witness, recorded in zip(by_torch(group, case), numbers):
            if deviation(witness, recorded) > max(WITNESSED, group.value_tolerance):
                raise RuntimeError(f"{group.op} {group.name} {case.name}: PyTorch has {witness}, Keras {recorded}")
    recorded = {"weighting": case.name, "attributes": case.attributes, **case.operands, "value": float(numbers[0])}
    recorded["gradient"] = numbers[1].ravel().tolist()
    if group.target_gradient:
        recorded["target_gradient"] = numbers[2].ravel().tolist()
    return recorded


def compact(value):
    """One line a case."""
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}": {compact(entry)}' for key, entry in value.items()) + "}"
    return text(np.array(value)).split("values\": ")[1][:-1] if is_numbers(value) else text(value)


def is_numbers(value):
    return isinstance(value, list) and all(isinstance(entry, float) for entry in value)


def main():
    groups = []
    for group in cases.groups():
        recorded = [record(group, case) for case in group.cases]
        head = {"op": group.op, "name": group.name, "form": group.form, "tolerance": group.value_tolerance,
                "attributes": group.attributes, **group.operands}
        lines = ",\n   ".join(compact(case) for case in recorded)
        groups.append(f'{compact(head)[:-1]}, "cases": [\n   {lines}]}}')
        print(group.op, group.name, len(recorded), flush=True)
    source = f"keras {keras.__version__} tensorflow {tf.__version__} torch {torch.__version__.split('+')[0]}"
    content = f'{{"source": "{source}", "groups": [\n ' + ",\n ".join(groups) + "]}\n"
    if len(content) > LARGEST:
        raise RuntimeError(f"{len(content)} bytes, at most {LARGEST}")
    (Path(__file__).parent / "losses.json").write_text(content)
    print(sum(len(group.cases) for group in cases.groups()), "cases", len(content), "bytes")


if __name__ == "__main__":
    main()
