#!/usr/bin/env python3
"""Writes the specifications of this folder that are too long to keep by hand; the JSON files are what counts.

    python3 bench/models/generate.py
"""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


class Network:
    """A chain of layers, each reading the one before unless it says otherwise."""

    def __init__(self):
        self.layers = []

    def add(self, name, type, **keys):
        self.layers.append({"name": name, "type": type, **keys})
        return name

    @property
    def last(self):
        return self.layers[-1]["name"]


def write(name, comment, inputs, network, batch, samples):
    """One line a layer."""
    lines = [f'  "$comment": {json.dumps(comment)},', '  "format": "weir/1",', f'  "name": "{name}",']
    lines.append(f'  "inputs": {json.dumps(inputs)},')
    lines.append('  "layers": [')
    lines.append(",\n".join("    " + json.dumps(layer) for layer in network.layers))
    lines.append("  ],")
    final = {"type": "sparse_categorical_crossentropy", "at": "output", "target": {"input": "label"}}
    lines.append('  "loss": ' + json.dumps({"terms": {"final": final}}) + ",")
    lines.append('  "train": ' + json.dumps({"optimizer": {"type": "adam"}, "batch_size": batch}) + ",")
    data = {"image": {"random": samples}, "label": {"random": samples, "classes": 10}}
    lines.append('  "data": ' + json.dumps({"train": data}))
    (FOLDER / f"{name}.weir.json").write_text("{\n" + "\n".join(lines) + "\n}\n")


def image_and_label(side):
    return {"image": {"shape": [side, side, 3]}, "label": {"shape": [], "dtype": "i32"}}


def resnet20():
    net = Network()

    def convolution(name, filters, size, strides=1, **keys):
        net.add(name, "conv2d", filters=filters, kernel_size=size, strides=strides, padding="same",
                kernel_initializer="he_normal", **keys)  # fmt: skip

    def normalized(name, *arguments, **keys):
        convolution(name, *arguments, **keys)
        net.add(f"{name}_bn", "batch_normalization")

    normalized("stem", 16, 3, **{"from": "image"})
    shortcut = net.add("stem_relu", "relu")
    for stage, filters in enumerate((16, 32, 64), 1):
        for block in range(1, 4):
            name, before = f"stage_{stage}_{block}", shortcut
            strides = 2 if stage > 1 and block == 1 else 1
            normalized(f"{name}_a", filters, 3, strides, **{"from": before})
            net.add(f"{name}_a_relu", "relu")
            normalized(f"{name}_b", filters, 3)
            branch = net.last
            if strides == 2:
                convolution(f"{name}_shortcut", filters, 1, strides, **{"from": before})
                before = net.last
            net.add(f"{name}_add", "add", **{"from": [before, branch]})
            shortcut = net.add(f"{name}_relu", "relu")
    net.add("pooled", "global_average_pooling2d")
    net.add("output", "dense", units=10, activation="softmax", kernel_initializer="he_normal")
    comment = "ResNet-20 for CIFAR, version 1; where a stage halves the image, the shortcut is a 1 x 1 convolution (B)"
    write("resnet20", comment, image_and_label(32), net, 32, 320)


def mobilenet_v2():
    net = Network()

    def normalized(name, type, activated=True, **keys):
        net.add(name, type, use_bias=False, padding="same", **keys)
        net.add(f"{name}_bn", "batch_normalization", momentum=0.999)
        if activated:
            net.add(f"{name}_relu", "relu6")

    normalized("stem", "conv2d", filters=32, kernel_size=3, strides=2, **{"from": "image"})
    channels, number = 32, 0
    for expansion, filters, count, first in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for block in range(count):
            name, before, strides = f"block_{number}", net.last, first if block == 0 else 1
            if expansion > 1:
                normalized(f"{name}_expand", "conv2d", filters=expansion * channels, kernel_size=1)
            normalized(f"{name}_depthwise", "depthwise_conv2d", kernel_size=3, strides=strides)
            normalized(f"{name}_project", "conv2d", activated=False, filters=filters, kernel_size=1)
            if strides == 1 and channels == filters:
                net.add(f"{name}_add", "add", **{"from": [before, net.last]})
            channels, number = filters, number + 1
    normalized("top", "conv2d", filters=1280, kernel_size=1)
    net.add("pooled", "global_average_pooling2d")
    net.add("output", "dense", units=10, activation="softmax")
    write("mobilenet_v2", "MobileNetV2 of width 1 for ten classes", image_and_label(96), net, 8, 80)


resnet20()
mobilenet_v2()
