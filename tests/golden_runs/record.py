#!/usr/bin/env python3
"""Records the training runs of this folder with Keras 3 on TensorFlow. See README.md.

usage: record.py FASHION_MNIST_DIR OUT_DIR
"""

import gzip
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from safetensors.numpy import save_file

BATCH, STEPS, CLASSES = 32, 10, 10
WEIGHT = 0.1  # of the loss on hidden_3


def test_images(folder):
    def idx(name, header):
        with gzip.open(Path(folder) / name) as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)

    count = BATCH * STEPS
    images = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1)[:count]
    labels = idx("t10k-labels-idx1-ubyte.gz", 8)[:count]
    return images.astype("float32") / 255.0, labels.astype("int32")


def network():
    """The order of the layers decides, with the seed, what init.safetensors holds."""
    x = image = keras.Input((28, 28, 1), name="image")
    for i, filters in enumerate((32, 64, 128), 1):
        x = layers.Conv2D(filters, 3, activation="relu", padding="same", name=f"conv_{i}")(x)
        x = layers.MaxPooling2D(2, name=f"pool_{i}")(x)
    hidden = layers.Flatten(name="hidden_3")(x)
    x = layers.Dense(256, activation="relu", name="dense_1")(hidden)
    output = layers.Dense(CLASSES, activation="softmax", name="output")(x)
    return keras.Model(image, [hidden, output])


def spec(exclude, data):
    def conv(i, filters):
        return {
            "name": f"conv_{i}",
            "type": "conv2d",
            "filters": filters,
            "kernel_size": 3,
            "padding": "same",
            "activation": "relu",
        }

    def pool(i):
        return {"name": f"pool_{i}", "type": "max_pooling2d", "pool_size": 2}

    loss = {
        "terms": {
            "intermediate": {
                "type": "mean_absolute_error",
                "at": "hidden_3",
                "target": {"constant": 0},
                "weight": WEIGHT,
            },
            "final": {
                "type": "categorical_crossentropy",
                "at": "output",
                "target": {"input": "label", "one_hot": CLASSES},
            },
        }
    }
    if exclude:
        loss["exclude"] = exclude
    return {
        "format": "weir/1",
        "name": "seed",
        "numerics": "keras",
        "inputs": {"image": {"shape": [28, 28, 1]}, "label": {"shape": [], "dtype": "i32"}},
        "layers": [
            conv(1, 32),
            pool(1),
            conv(2, 64),
            pool(2),
            conv(3, 128),
            pool(3),
            {"name": "hidden_3", "type": "flatten"},
            {"name": "dense_1", "type": "dense", "units": 256, "activation": "relu"},
            {"name": "output", "type": "dense", "units": CLASSES, "activation": "softmax"},
        ],
        "loss": loss,
        "outputs": ["output"],
        "train": {
            "batch_size": BATCH,
            "epochs": 1,
            "shuffle": False,
            "optimizer": {"type": "adam", "learning_rate": 0.001},
        },
        "data": {"train": {name: f"{data}{name}.npy" for name in ("image", "label")}},
    }


def named(variables, tensors):
    return {v.path.replace("/", "."): np.asarray(t) for v, t in zip(variables, tensors) if t is not None}


def record(folder, images, labels, exclude, with_inputs):
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(1)
    model, optimizer = network(), keras.optimizers.Adam(0.001)
    variables = model.trainable_variables
    if with_inputs:
        save_file(named(variables, variables), folder / "init.safetensors")
        np.save(folder / "image.npy", images)
        np.save(folder / "label.npy", labels)
    (folder / "model.weir.json").write_text(
        json.dumps(spec(exclude, "" if with_inputs else "../seed/"), indent=2) + "\n"
    )
    absolute, crossentropy = keras.losses.MeanAbsoluteError(), keras.losses.CategoricalCrossentropy()
    lines = []
    for step in range(STEPS):
        rows = slice(step * BATCH, (step + 1) * BATCH)
        target = keras.utils.to_categorical(labels[rows], CLASSES)
        with tf.GradientTape() as tape:
            hidden, output = model(images[rows], training=True)
            terms = {"intermediate": absolute(tf.zeros_like(hidden), hidden), "final": crossentropy(target, output)}
            kept = {name: value for name, value in terms.items() if not (exclude and name == "final")}
            total = sum(value * (WEIGHT if name == "intermediate" else 1.0) for name, value in kept.items())
        gradients = tape.gradient(total, variables)
        if step == 0:
            save_file(named(variables, gradients), folder / "grads.safetensors")
        optimizer.apply_gradients([(g, v) for g, v in zip(gradients, variables) if g is not None])
        values = {"total": float(total), **{name: float(value) for name, value in kept.items()}}
        lines.append(json.dumps({"step": step + 1, "loss": values}) + "\n")
    (folder / "expected.jsonl").write_text("".join(lines))
    save_file(named(variables, variables), folder / "expected.safetensors")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    out = Path(sys.argv[2])
    images, labels = test_images(sys.argv[1])
    record(out / "seed", images, labels, None, True)
    record(out / "seed_without_final", images, labels, ["output"], False)
