#!/usr/bin/env python3
"""Records short training runs of the profiles pytorch and keras-probabilities, in double precision. See README.md.

Each case holds a specification, the weights it starts from, its batches, and what the framework computes: the loss of
each step, the gradients of the first, all parameters and statistics after the last. Writes profiles.json.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.modules["triton"] = None  # PyTorch's optimizers would load it, and TensorFlow bears no second LLVM
import keras
import numpy as np
import tensorflow as tf
import torch
import torch.nn.functional as F

from recording import grid, text

STEPS = 5


# --- One description, built twice: as a specification and in the framework


def spec_of(name, numerics, layers, loss, optimizer, inputs):
    return {
        "format": "weir/1",
        "name": name,
        "numerics": numerics,
        "inputs": inputs,
        "layers": layers,
        "loss": {"terms": {"error": {"at": layers[-1]["name"], **loss}}},
        "train": {"optimizer": optimizer, "batch_size": 4, "shuffle": False},
    }


def batches(inputs, make):
    """STEPS batches of 4 rows by input; make: values by name and step."""
    return [{name: make(name, step) for name in inputs} for step in range(STEPS)]


# --- PyTorch


def torch_forward(spec, w, batch, statistics):
    x = torch.tensor(batch["x"])
    for layer in spec["layers"]:
        name, kind = layer["name"], layer["type"]
        if kind == "conv2d":
            kernel = w[f"{name}.kernel"].permute(3, 2, 0, 1)
            x = F.conv2d(x.permute(0, 3, 1, 2), kernel, padding="same").permute(0, 2, 3, 1)
        elif kind == "batch_normalization":
            mean, variance = statistics[f"{name}.moving_mean"], statistics[f"{name}.moving_variance"]
            gamma, beta = w[f"{name}.gamma"], w[f"{name}.beta"]
            flat = x.reshape(-1, x.shape[-1])
            x = F.batch_norm(flat, mean, variance, gamma, beta, training=True).reshape(x.shape)
        elif kind == "layer_normalization":
            x = F.layer_norm(x, x.shape[-1:], w[f"{name}.gamma"], w[f"{name}.beta"])
        elif kind == "average_pooling2d":
            x = F.avg_pool2d(x.permute(0, 3, 1, 2), 3, 2, 1).permute(0, 2, 3, 1)
        elif kind == "flatten":
            x = x.reshape(x.shape[0], -1)
        elif kind == "dense":
            x = x @ w[f"{name}.kernel"] + w[f"{name}.bias"]
        x = activated(x, "tanh" if kind == "tanh" else layer.get("activation"))
    return x


def activated(x, word):
    functions = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}
    if word == "softmax":
        return torch.softmax(x, -1)
    return functions[word](x) if word else x


def train_in_torch(spec, weights, data, loss, make_optimizer):
    w = {name: torch.tensor(value, requires_grad="moving" not in name) for name, value in weights.items()}
    statistics = {name: value for name, value in w.items() if "moving" in name}
    parameters = {name: value for name, value in w.items() if "moving" not in name}
    optimizer = make_optimizer(list(parameters.values()))
    losses, gradients = [], {}
    for step, batch in enumerate(data):
        optimizer.zero_grad()
        value = loss(torch_forward(spec, w, batch, statistics), torch.tensor(batch["y"]))
        value.backward()
        if step == 0:
            gradients = {name: p.grad.numpy().copy() for name, p in parameters.items()}
        optimizer.step()
        losses.append(float(value))
    return losses, gradients, {name: value.detach().numpy() for name, value in w.items()}


# --- Keras, from probabilities that hide their logits


def train_in_keras(spec, weights, data, loss, _):
    variables = {name: tf.Variable(value) for name, value in weights.items()}
    optimizer = keras.optimizers.SGD(learning_rate=0.125)
    optimizer.build(list(variables.values()))
    losses, gradients = [], {}
    for step, batch in enumerate(data):
        with tf.GradientTape() as tape:
            x = tf.constant(batch["x"])
            for layer in spec["layers"]:
                x = x @ variables[f"{layer['name']}.kernel"] + variables[f"{layer['name']}.bias"]
                if layer.get("activation") == "softmax":
                    e = tf.exp(x - tf.reduce_max(x, -1, keepdims=True))
                    x = e / tf.reduce_sum(e, -1, keepdims=True)
                elif layer.get("activation") == "sigmoid":
                    x = 1 / (1 + tf.exp(-x))
            value = loss(tf.constant(batch["y"]), x)
        by_name = tape.gradient(value, variables)
        if step == 0:
            gradients = {name: g.numpy() for name, g in by_name.items()}
        optimizer.apply_gradients([(by_name[name], variable) for name, variable in variables.items()])
        losses.append(float(value))
    return losses, gradients, {name: variable.numpy() for name, variable in variables.items()}


# --- The cases


def dense_weights(name, sizes, scale=1.0):
    weights = {}
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        layer = "hidden" if i + 2 < len(sizes) else "output"
        weights[f"{layer}.kernel"] = scale * grid(f"{name} kernel {i}", [a, b], -1.0, 1.0)
        weights[f"{layer}.bias"] = grid(f"{name} bias {i}", [b], -0.5, 0.5)
    return weights


def mlp(name, numerics, train, activation, loss, compute, optimizer, make_optimizer=None, target="f32", scale=1.0):
    """4 inputs, 6 hidden units, 3 outputs; targets between 0 and 1, or rows of a one."""
    layers = [
        {"name": "hidden", "type": "dense", "units": 6, "activation": "sigmoid", "from": "x"},
        {"name": "output", "type": "dense", "units": 3, **({"activation": activation} if activation else {})},
    ]
    inputs = {"x": {"shape": [4]}, "y": {"shape": [3]}}

    def values(which, step):
        if which == "x":
            return grid(f"{name} x {step}", [4, 4])
        if target == "classes":
            return np.eye(3)[(np.arange(4) * (step + 1)) % 3]
        if target == "distributions":
            parts = 1.0 + np.arange(12).reshape(4, 3) % (step + 2)
            parts[0] = [0.0, 0.5, 1.5]
            return parts / parts.sum(-1, keepdims=True)
        return np.clip(grid(f"{name} y {step}", [4, 3], 0.0, 1.0), 0.0, 1.0)

    spec = spec_of(name, numerics, layers, {**loss, "target": {"input": "y"}}, optimizer, inputs)
    weights, data = dense_weights(name, [4, 6, 3], scale), batches(inputs, values)
    losses, gradients, after = train(spec, weights, data, compute, make_optimizer)
    return {
        "spec": spec,
        "weights": weights,
        "batches": data,
        "losses": losses,
        "gradients": gradients,
        "after": after,
    }


SGD = {"type": "sgd", "learning_rate": 0.125}
plain = lambda p: torch.optim.SGD(p, lr=0.125)


def torch_mlp(name, activation, loss, compute, optimizer=SGD, make_optimizer=plain, **more):
    return mlp(name, "pytorch", train_in_torch, activation, loss, compute, optimizer, make_optimizer, **more)


def image_net():
    name = "image"
    layers = [
        {"name": "conv", "type": "conv2d", "filters": 3, "kernel_size": 3, "padding": "same", "use_bias": False, "from": "x"},
        {"name": "norm", "type": "batch_normalization"},
        {"name": "act", "type": "tanh"},
        {"name": "pool", "type": "average_pooling2d", "pool_size": 3, "strides": 2, "padding": [[1, 1], [1, 1]]},
        {"name": "flat", "type": "flatten"},
        {"name": "rows", "type": "layer_normalization"},
        {"name": "output", "type": "dense", "units": 2},
    ]
    inputs = {"x": {"shape": [6, 5, 2]}, "y": {"shape": [2]}}
    optimizer = {"type": "adam", "learning_rate": 0.0625}
    spec = spec_of(
        name, "pytorch", layers, {"type": "mean_squared_error", "target": {"input": "y"}}, optimizer, inputs
    )
    weights = {
        "conv.kernel": grid("conv", [3, 3, 2, 3], -0.5, 0.5),
        "norm.gamma": grid("gamma", [3], 0.5, 1.5),
        "norm.beta": grid("beta", [3], -0.5, 0.5),
        "norm.moving_mean": np.zeros(3),
        "norm.moving_variance": np.ones(3),
        "rows.gamma": grid("rows gamma", [27], 0.5, 1.5),
        "rows.beta": grid("rows beta", [27], -0.5, 0.5),
        "output.kernel": grid("output", [27, 2], -0.5, 0.5),
        "output.bias": grid("output bias", [2], -0.5, 0.5),
    }
    shapes = {"x": [4, 6, 5, 2], "y": [4, 2]}
    data = batches(inputs, lambda which, step: grid(f"{name} {which} {step}", shapes[which]))
    make = lambda p: torch.optim.Adam(p, lr=0.0625)
    losses, gradients, after = train_in_torch(spec, weights, data, F.mse_loss, make)
    return {"spec": spec, "weights": weights, "batches": data, "losses": losses, "gradients": gradients, "after": after}


def cases():
    entropy = lambda p, t: -(t * torch.log(p)).sum(-1).mean()
    cosine = lambda p, t: F.cosine_embedding_loss(p, t, torch.ones(len(p), dtype=p.dtype))
    momentum = {"type": "sgd", "learning_rate": 0.0625, "momentum": 0.875}
    kl = {"type": "kl_divergence"}
    return [
        torch_mlp("crossentropy", "softmax", {"type": "categorical_crossentropy"}, entropy, target="classes"),
        torch_mlp("binary_probabilities", "sigmoid", {"type": "binary_crossentropy", "from_logits": False}, F.binary_cross_entropy),
        torch_mlp("binary_logits", None, {"type": "binary_crossentropy", "from_logits": True}, F.binary_cross_entropy_with_logits),
        torch_mlp("divergence", "softmax", kl, lambda p, t: F.kl_div(torch.log(p), t), target="distributions"),
        torch_mlp("divergence_batch_mean", "softmax", {**kl, "reduction": "batch_mean"},
                  lambda p, t: F.kl_div(torch.log(p), t, reduction="batchmean"), target="distributions"),
        torch_mlp("poisson", "sigmoid", {"type": "poisson"}, lambda p, t: F.poisson_nll_loss(p, t, log_input=False)),
        torch_mlp("cosine", None, {"type": "cosine_similarity"}, cosine),
        torch_mlp("huber", None, {"type": "huber", "delta": 0.5}, lambda p, t: F.huber_loss(p, t, delta=0.5)),
        torch_mlp("absolute", None, {"type": "mean_absolute_error"}, F.l1_loss),
        torch_mlp("momentum", None, {"type": "mean_squared_error"}, F.mse_loss, momentum,
                  lambda p: torch.optim.SGD(p, lr=0.0625, momentum=0.875)),
        torch_mlp("nesterov", None, {"type": "mean_squared_error"}, F.mse_loss, {**momentum, "nesterov": True},
                  lambda p: torch.optim.SGD(p, lr=0.0625, momentum=0.875, nesterov=True)),
        torch_mlp("adam", None, {"type": "mean_squared_error"}, F.mse_loss, {"type": "adam", "learning_rate": 0.0625},
                  lambda p: torch.optim.Adam(p, lr=0.0625)),
        image_net(),
        mlp("keras_categorical", "keras-probabilities", train_in_keras, "softmax", {"type": "categorical_crossentropy"},
            keras.losses.CategoricalCrossentropy(), SGD, target="classes", scale=2.0),
        mlp("keras_binary", "keras-probabilities", train_in_keras, "sigmoid", {"type": "binary_crossentropy"},
            keras.losses.BinaryCrossentropy(), SGD, scale=2.0),
        mlp("keras_focal", "keras-probabilities", train_in_keras, "softmax", {"type": "categorical_focal_crossentropy"},
            keras.losses.CategoricalFocalCrossentropy(), SGD, target="classes"),
    ]


if __name__ == "__main__":
    keras.config.set_floatx("float64")
    source = f"torch {torch.__version__} keras {keras.__version__} tensorflow {tf.__version__}"
    content = text({"source": source, "cases": cases()}) + "\n"
    Path(__file__).with_name("profiles.json").write_text(content)
    print(f"profiles: {len(content)} bytes")
