"""Metrics: the value over one batch, with NumPy as a second witness."""

import numpy as np
import tensorflow as tf
from keras import metrics

from loss_cases import bits, classes, inner
from recording import Case, distinct, grid, one_hot


def metric_case(make, witness, name, prediction, target=None, **attributes):
    operands = {"prediction": np.asarray(prediction), **({} if target is None else {"target": np.asarray(target)})}
    expected = witness(*reversed(operands.values()), **attributes)

    def compute(t):
        metric = make(**attributes)
        metric.update_state(*reversed(t.values()))
        value = tf.convert_to_tensor(metric.result())
        if abs(float(value) - expected) > 1e-6:
            raise RuntimeError(f"{name}: {float(value)}, NumPy has {expected}")
        return {"value": value}

    return Case(name, attributes, operands, compute, [], scalar=True)


# The first of several equal largest values decides.
TIES = np.array([[0.5, 0.5, 0.0], [0.25, 0.5, 0.5], [0.25, 0.25, 0.25], [0.0, 0.0, 1.0]])


def categorical_accuracy():
    witness = lambda t, p: (t.argmax(-1) == p.argmax(-1)).mean()
    case = lambda *data: metric_case(metrics.CategoricalAccuracy, witness, *data)
    return [
        case("rank 2", distinct("scores", [6, 4]), one_hot([0, 1, 2, 3, 0, 1], 4)),
        case("rank 3", distinct("scores 3", [2, 4, 3]), one_hot([[0, 1, 2, 0], [1, 1, 0, 2]], 3)),
        case("ties", TIES, one_hot([0, 1, 0, 2], 3)),
        case("ties, missed", TIES, one_hot([1, 2, 2, 2], 3)),
        case("target between classes", distinct("scores", [6, 4]), grid("soft", [6, 4], 0.0, 1.0)),
        case("target with ties", distinct("scores", [4, 3]), TIES),
    ]


def sparse_categorical_accuracy():
    witness = lambda t, p: (t == p.argmax(-1)).mean()
    case = lambda *data: metric_case(metrics.SparseCategoricalAccuracy, witness, *data)
    return [
        case("rank 2", distinct("scores", [6, 4]), classes("rank 2", [6], 4)),
        case("rank 3", distinct("scores 3", [2, 4, 3]), classes("rank 3", [2, 4], 3)),
        case("ties", TIES, np.array([0, 1, 0, 2], "int32")),
        case("ties, missed", TIES, np.array([1, 2, 2, 2], "int32")),
    ]


def binary_accuracy():
    witness = lambda t, p, threshold=0.5: (t == (p > threshold)).mean()
    case = lambda *data, **attributes: metric_case(metrics.BinaryAccuracy, witness, *data, **attributes)
    at = np.array([[0.5, 0.5, 0.25, 0.75]])
    return [
        case("rank 2", inner("2", [4, 3]), bits("a", [4, 3])),
        case("one unit", inner("1", [6, 1]), bits("b", [6, 1])),
        case("rank 3", inner("3", [2, 3, 2]), bits("c", [2, 3, 2])),
        case("threshold", inner("2", [4, 3]), bits("a", [4, 3]), threshold=0.75),
        case("a prediction at the threshold is 0", at, np.array([[0.0, 1.0, 0.0, 1.0]])),
        case("at another threshold", at, np.array([[0.0, 0.0, 0.0, 1.0]]), threshold=0.25),
    ]


def mean():
    case = lambda *data: metric_case(metrics.Mean, lambda p: p.mean(), *data)
    return [
        case("rank 1", grid("mean 1", [5])),
        case("rank 2", grid("mean 2", [3, 4])),
        case("rank 4", grid("mean 4", [2, 2, 3, 1])),
    ]


CASES = {
    "categorical_accuracy": categorical_accuracy,
    "sparse_categorical_accuracy": sparse_categorical_accuracy,
    "binary_accuracy": binary_accuracy,
    "mean": mean,
}
