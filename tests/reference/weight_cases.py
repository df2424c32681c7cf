"""Weighted losses: sample weights, masks, class weights and ignored classes, by Keras' own functions.

A mask is Keras' mask of the prediction. Class weights go through the function that `fit` uses. Keras has no mean over the
sum of class weights; PyTorch has, and is the witness there (`divide_by`).
"""

import numpy as np
import tensorflow as tf
import torch
import torch.nn.functional as F
from keras import losses
from keras.src import backend
from keras.src.trainers.data_adapters.data_adapter_utils import class_weight_to_sample_weights

from recording import Case, grid, one_hot

REDUCTIONS = {"mean": "sum_over_batch_size", "sum": "sum", "mean_with_sample_weight": "mean_with_sample_weight"}
LOSSES = {
    "mean_squared_error": losses.MeanSquaredError,
    "binary_crossentropy": losses.BinaryCrossentropy,
    "categorical_crossentropy": losses.CategoricalCrossentropy,
    "sparse_categorical_crossentropy": losses.SparseCategoricalCrossentropy,
    "categorical_focal_crossentropy": losses.CategoricalFocalCrossentropy,
    "cosine_similarity": losses.CosineSimilarity,
}
OWN = ("loss", "reduction", "class_weight", "divide_by")


def weighted(name, loss, operands, witness=None, **attributes):
    keywords = {key: value for key, value in attributes.items() if key not in OWN}
    reduction = attributes.setdefault("reduction", "mean")
    attributes["loss"] = loss

    def compute(t):
        weight = t.get("sample_weight")
        prediction, target = tf.identity(t["prediction"]), t["target"]
        if "class_weight" in attributes:
            table = dict(enumerate(attributes["class_weight"]))
            of_classes = tf.cast(class_weight_to_sample_weights(target.numpy(), table), prediction.dtype)
            weight = of_classes if weight is None else weight * of_classes
        if "mask" in t:
            backend.set_keras_mask(prediction, tf.cast(t["mask"], "bool"))
        if attributes.get("divide_by") == "class_weights":
            total = LOSSES[loss](reduction="sum", **keywords)(target, prediction, sample_weight=weight)
            valid = tf.cast(target != attributes.get("ignore_class", -1), prediction.dtype)
            return {"value": total / tf.reduce_sum(valid * weight)}
        make = LOSSES[loss](reduction=REDUCTIONS[reduction], **keywords)
        return {"value": make(target, prediction, sample_weight=weight)}

    arrays = {key: np.asarray(value) for key, value in operands.items()}
    return Case(name, attributes, arrays, compute, ["prediction"], scalar=True, check=witness)


def rows(name, count, classes):
    """Logits, probabilities that sum to 1 nearly, and classes."""
    logits = grid("weighted " + name, [count, classes])
    probabilities = grid("weighted p " + name, [count, classes], 0.125, 1.0)
    return logits, probabilities, np.arange(count, dtype="int32") * 2 % classes


def torch_crossentropy(weight=None, ignore=-100, reduction="mean"):
    table = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    return lambda t: F.cross_entropy(t["prediction"], t["target"].long(), table, ignore_index=ignore, reduction=reduction)


def over_entries():
    p, t = grid("weighted x", [4, 3]), grid("weighted t", [4, 3])
    p3, t3 = grid("weighted x3", [3, 2, 2]), grid("weighted t3", [3, 2, 2])
    weight, mask = np.array([0.5, 2.0, 0.0, 1.25]), np.array([1.0, 0.0, 1.0, 1.0])
    by_place = np.array([[0.5, 1.0], [2.0, 0.25], [1.5, 3.0]])
    cases = []
    for reduction in REDUCTIONS:
        cases += [
            weighted(f"errors, {reduction}, weights", "mean_squared_error",
                     {"prediction": p, "target": t, "sample_weight": weight}, reduction=reduction),
            weighted(f"errors, {reduction}, weights by place", "mean_squared_error",
                     {"prediction": p3, "target": t3, "sample_weight": by_place}, reduction=reduction),
        ]
    for reduction in ("mean", "sum"):
        cases += [
            weighted(f"errors, {reduction}, mask", "mean_squared_error",
                     {"prediction": p, "target": t, "mask": mask}, reduction=reduction),
            weighted(f"errors, {reduction}, mask and weights", "mean_squared_error",
                     {"prediction": p, "target": t, "mask": mask, "sample_weight": weight}, reduction=reduction),
        ]
    return cases


def over_rows():
    cases = []
    weight, mask = np.array([0.5, 2.0, 0.0, 1.25, 1.0]), np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    table = [0.5, 2.0, 1.25, 3.0]
    for form in ("logits", "probabilities"):
        z, p, classes = rows(form, 5, 4)
        prediction, from_logits = (z, True) if form == "logits" else (p, False)
        sparse, dense = {"prediction": prediction, "target": classes}, {"prediction": prediction, "target": one_hot(classes, 4)}
        for reduction in REDUCTIONS:
            keys = {"from_logits": from_logits, "reduction": reduction}
            cases += [
                weighted(f"{form}, {reduction}, weights", "sparse_categorical_crossentropy",
                         {**sparse, "sample_weight": weight}, **keys),
                weighted(f"{form}, {reduction}, class and sample weights, rows", "categorical_crossentropy",
                         {**dense, "sample_weight": weight}, class_weight=table, **keys)
                if reduction != "mean_with_sample_weight"
                else weighted(f"{form}, {reduction}, weights, rows", "categorical_crossentropy",
                              {**dense, "sample_weight": weight}, **keys),
            ]
        for reduction in ("mean", "sum"):
            keys = {"from_logits": from_logits, "reduction": reduction}
            total = torch_crossentropy(table, reduction="sum") if (form, reduction) == ("logits", "sum") else None
            ignoring = torch_crossentropy(None, 2, reduction) if form == "logits" else None
            cases += [
                weighted(f"{form}, {reduction}, class weights", "sparse_categorical_crossentropy", sparse, total,
                         class_weight=table, **keys),
                weighted(f"{form}, {reduction}, ignored class", "sparse_categorical_crossentropy", sparse, ignoring,
                         ignore_class=2, **keys),
                weighted(f"{form}, {reduction}, mask and weights, rows", "categorical_crossentropy",
                         {**dense, "mask": mask, "sample_weight": weight}, **keys),
                weighted(f"{form}, {reduction}, smoothed", "categorical_crossentropy",
                         {**dense, "mask": mask}, class_weight=table, label_smoothing=0.25, **keys),
            ]
    z, _, classes = rows("logits", 5, 4)
    operands = {"prediction": z, "target": classes}
    cases += [
        weighted("mean over class weights", "sparse_categorical_crossentropy", operands, torch_crossentropy(table),
                 class_weight=table, divide_by="class_weights", from_logits=True),
        weighted("mean over class weights, ignored class", "sparse_categorical_crossentropy", operands,
                 torch_crossentropy(table, 0), class_weight=table, ignore_class=0, divide_by="class_weights",
                 from_logits=True),
        weighted("similarity, mask and weights", "cosine_similarity",
                 {"prediction": z + 0.0625, "target": grid("weighted similar", [5, 4]) - 0.0625, "mask": mask,
                  "sample_weight": weight}),
        weighted("focal, class weights", "categorical_focal_crossentropy",
                 {"prediction": z, "target": one_hot(classes, 4)}, class_weight=table, from_logits=True),
    ]
    return cases


def yes_or_no():
    z, t = grid("weighted yes", [6, 1]), np.array([[0.0], [1.0], [1.0], [0.0], [1.0], [0.0]])
    weight = np.array([0.5, 2.0, 1.0, 1.25, 0.0, 3.0])
    p = 1 / 8 + (z + 2) * 3 / 16
    return [
        weighted("one unit, class weights", "binary_crossentropy", {"prediction": z, "target": t},
                 class_weight=[0.25, 4.0], from_logits=True),
        weighted("one unit of probabilities, class and sample weights", "binary_crossentropy",
                 {"prediction": p, "target": t, "sample_weight": weight}, class_weight=[0.25, 4.0],
                 reduction="sum"),
        weighted("one unit, mean by weights", "binary_crossentropy",
                 {"prediction": z, "target": t, "sample_weight": weight}, from_logits=True,
                 reduction="mean_with_sample_weight"),
    ]


CASES = {"entry_weights": lambda: over_entries() + over_rows() + yes_or_no()}
