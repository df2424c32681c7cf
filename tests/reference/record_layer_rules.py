#!/usr/bin/env python3
"""Records what Keras 3 makes of regularizers and constraints: little whole models, one batch, three steps of SGD.

usage: record_layer_rules.py     (writes layer_rules.json beside this file)

Each case holds the specification, the batch, the initial parameters, the total and the gradients of the first step, and
the parameters after the third. In double precision; Keras rounds some factors through f32. No bias before a
normalization: its gradient is rounding alone.
"""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import tensorflow as tf

from recording import grid, set_precision, text

STEPS, RATE = 3, 0.25
TYPES = {
    "l1": keras.regularizers.L1,
    "l2": keras.regularizers.L2,
    "l1_l2": keras.regularizers.L1L2,
    "non_neg": keras.constraints.NonNeg,
    "max_norm": keras.constraints.MaxNorm,
    "unit_norm": keras.constraints.UnitNorm,
    "min_max_norm": keras.constraints.MinMaxNorm,
}


def rule(value):
    if isinstance(value, str):
        return TYPES[value]()
    settings = {key: tuple(v) if isinstance(v, list) else v for key, v in value.items() if key != "type"}
    return TYPES[value["type"]](**settings)


def rules_of(layer):
    return {key: rule(value) for key, value in layer.items() if key.endswith(("_regularizer", "_constraint"))}


def keras_layer(layer):
    if layer["type"] == "dense":
        return keras.layers.Dense(layer["units"], activation=layer.get("activation"), name=layer["name"], **rules_of(layer))
    if layer["type"] == "conv2d":
        return keras.layers.Conv2D(
            layer["filters"], layer["kernel_size"], padding="same", activation=layer.get("activation"), name=layer["name"], use_bias=False, **rules_of(layer)
        )
    if layer["type"] == "batch_normalization":
        return keras.layers.BatchNormalization(name=layer["name"], **rules_of(layer))
    return keras.layers.Flatten(name=layer["name"])


def dense_model(**rules):
    hidden = {"name": "hidden", "type": "dense", "units": 4, "activation": "tanh", **rules}
    return [5], [hidden, {"name": "output", "type": "dense", "units": 3}]


def image_model(conv={}, norm={}):
    return [5, 4, 2], [
        {"name": "conv", "type": "conv2d", "filters": 3, "kernel_size": [3, 3], "padding": "same", "use_bias": False, **conv},
        {"name": "norm", "type": "batch_normalization", **norm},
        {"name": "flat", "type": "flatten"},
        {"name": "output", "type": "dense", "units": 2},
    ]


def record(name, shape, layers):
    batch = 6
    x = grid(name + " x", [batch, *shape])
    y = grid(name + " y", [batch, layers[-1]["units"]])
    model = keras.Sequential([keras.Input(shape), *map(keras_layer, layers)])
    parameters = {}
    for layer in model.layers:
        for weight in layer.trainable_weights:
            path = f"{layer.name}.{weight.name}"
            parameters[path] = weight
            weight.assign(grid(name + path, weight.shape, -1.0, 1.0, 1 / 64))
    initial = {path: weight.numpy() for path, weight in parameters.items()}
    optimizer = keras.optimizers.SGD(RATE)
    optimizer.build(model.trainable_variables)
    for step in range(STEPS):
        with tf.GradientTape() as tape:
            total = tf.reduce_mean((model(x, training=True) - y) ** 2) + sum(model.losses, tf.constant(0.0, "float64"))
        gradients = tape.gradient(total, [weight.value for weight in parameters.values()])
        if step == 0:
            first_total = total.numpy()
            first_gradients = {path: g.numpy() for path, g in zip(parameters, gradients)}
        optimizer.apply(gradients, list(parameters.values()))  # and then the constraints
    spec = {
        "format": "weir/1",
        "inputs": {"x": {"shape": shape}, "y": {"shape": [layers[-1]["units"]]}},
        "layers": [{**layers[0], "from": "x"}, *layers[1:]],
        "loss": {"terms": {"error": {"type": "mean_squared_error", "at": "output", "target": {"input": "y"}}}},
        "train": {"optimizer": {"type": "sgd", "learning_rate": RATE}, "batch_size": batch, "epochs": 1},
    }
    return {
        "name": name,
        "spec": spec,
        "feed": {"x": x, "y": y},
        "initial": initial,
        "total": first_total,
        "gradients": first_gradients,
        "after": {path: weight.numpy() for path, weight in parameters.items()},
    }


CASES = {
    "no rule": dense_model(),
    "l1 of a kernel": dense_model(kernel_regularizer={"type": "l1", "l1": 0.125}),
    "l2 of a kernel by its word": dense_model(kernel_regularizer="l2"),
    "l1_l2 of a kernel, l2 of a bias": dense_model(
        kernel_regularizer={"type": "l1_l2", "l1": 0.0625, "l2": 0.25}, bias_regularizer={"type": "l2", "l2": 0.5}
    ),
    "l1 of the activity": dense_model(activity_regularizer={"type": "l1", "l1": 0.25}),
    "l1_l2 of the activity and l2 of the kernel": dense_model(
        activity_regularizer={"type": "l1_l2", "l1": 0.125, "l2": 0.5}, kernel_regularizer={"type": "l2", "l2": 0.125}
    ),
    "regularizers of an image model": image_model(
        {"kernel_regularizer": {"type": "l2", "l2": 0.25}, "activity_regularizer": {"type": "l2", "l2": 0.0625}},
        {"gamma_regularizer": {"type": "l1", "l1": 0.25}, "beta_regularizer": {"type": "l2", "l2": 0.125}},
    ),
    "non_neg": dense_model(kernel_constraint="non_neg", bias_constraint="non_neg"),
    "max_norm by its word": dense_model(kernel_constraint="max_norm"),
    "max_norm over rows": dense_model(kernel_constraint={"type": "max_norm", "max_value": 0.75, "axis": -1}),
    "unit_norm": dense_model(kernel_constraint="unit_norm", bias_constraint="unit_norm"),
    "min_max_norm": dense_model(
        kernel_constraint={"type": "min_max_norm", "min_value": 0.5, "max_value": 0.875, "rate": 0.5}
    ),
    "constraints of an image model": image_model(
        {"kernel_constraint": {"type": "max_norm", "max_value": 1.5, "axis": [0, 1, 2]}},
        {"gamma_constraint": "non_neg", "beta_constraint": {"type": "max_norm", "max_value": 0.25}},
    ),
    "constraint and regularizer of one kernel": image_model(
        {"kernel_constraint": {"type": "unit_norm", "axis": [0, 1, 2]}, "kernel_regularizer": {"type": "l2", "l2": 0.5}}
    ),
}


def main():
    set_precision("float64")
    cases = [record(name, *model) for name, model in CASES.items()]
    source = f"keras {keras.__version__} tensorflow {tf.__version__}"
    (Path(__file__).parent / "layer_rules.json").write_text(text({"source": source, "cases": cases}) + "\n")
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main()
