"""Records ∂ loss / ∂ target of Keras' losses by TensorFlow's tape, in f64, each checked against PyTorch's autograd of the
formula written out. Usage: PEERS/bin/python -B record.py (KERAS_BACKEND=tensorflow)."""
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf
import torch

keras.config.set_floatx("float64")

EPSILON = 1e-7


def softmax_rows(rng, rows, classes):
    z = np.round(rng.normal(size=(rows, classes)) * 4) / 4
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def huber(x, t):
    e = torch.abs(x - t)
    return torch.where(e <= 1, e * e / 2, e - 0.5).mean()


def entropy(x, t):
    z = torch.logsumexp(x, -1, keepdim=True)
    return (t * (z - x)).sum(-1).mean()


def binary(x, t):
    return (torch.clamp(x, min=0) - x * t + torch.log1p(torch.exp(-torch.abs(x)))).mean()


def smoothed(x, t):
    return binary(x, 0.75 * t + 0.125)


def cosine(x, t):
    return -((x * t).sum(-1) / (x.norm(dim=-1) * t.norm(dim=-1))).mean()


def probabilities(x, t):
    q = torch.clamp(x / x.sum(-1, keepdim=True), EPSILON, 1 - EPSILON)
    return -(t * torch.log(q)).sum(-1).mean()


def logarithmic(x, t):
    return ((torch.log1p(x) - torch.log1p(t)) ** 2).mean()


CASES = [
    ("mean_squared_error", {}, "any", keras.losses.MeanSquaredError(), lambda x, t: ((x - t) ** 2).mean()),
    ("mean_absolute_error", {}, "any", keras.losses.MeanAbsoluteError(), lambda x, t: torch.abs(x - t).mean()),
    ("huber", {}, "any", keras.losses.Huber(), huber),
    ("log_cosh", {}, "any", keras.losses.LogCosh(), lambda x, t: torch.log(torch.cosh(x - t)).mean()),
    ("cosine_similarity", {}, "any", keras.losses.CosineSimilarity(), cosine),
    ("poisson", {}, "positive", keras.losses.Poisson(), lambda x, t: (x - t * torch.log(x + EPSILON)).mean()),
    ("mean_squared_logarithmic_error", {}, "positive", keras.losses.MeanSquaredLogarithmicError(), logarithmic),
    ("kl_divergence", {}, "rows", keras.losses.KLDivergence(), lambda x, t: (t * torch.log(t / x)).sum(-1).mean()),
    ("categorical_crossentropy", {}, "rows", keras.losses.CategoricalCrossentropy(), probabilities),
    ("categorical_crossentropy", {"from_logits": True}, "logits",
     keras.losses.CategoricalCrossentropy(from_logits=True), entropy),
    ("binary_crossentropy", {"from_logits": True}, "logits", keras.losses.BinaryCrossentropy(from_logits=True), binary),
    ("binary_crossentropy", {"from_logits": True, "label_smoothing": 0.25}, "logits",
     keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.25), smoothed),
]


def operands(kind, rng):
    if kind == "rows":
        return softmax_rows(rng, 3, 4), softmax_rows(rng, 3, 4)
    x, t = np.round(rng.normal(size=(2, 3, 4)) * 32) / 32
    if kind == "positive":
        return np.abs(x) + 0.25, np.abs(t) + 0.25
    return (x, softmax_rows(rng, 3, 4)) if kind == "logits" else (x, t)


def by_torch(formula, x, t):
    target = torch.tensor(t, requires_grad=True)
    formula(torch.tensor(x), target).backward()
    return target.grad.numpy()


def record():
    rng, cases = np.random.default_rng(7), []
    for op, attributes, kind, loss, formula in CASES:
        x, t = operands(kind, rng)
        target = tf.Variable(t)
        with tf.GradientTape() as tape:
            value = loss(target, tf.constant(x))
        gradient = tape.gradient(value, target).numpy()
        expected = by_torch(formula, x, t)
        assert np.allclose(gradient, expected, rtol=1e-6, atol=1e-9), (op, gradient, expected)
        cases.append({"op": op, "attributes": attributes, "dims": list(x.shape), "prediction": x.ravel().tolist(),
                      "target": t.ravel().tolist(), "gradient": gradient.ravel().tolist()})
    return {"source": f"keras {keras.__version__} tensorflow {tf.__version__}", "cases": cases}


path = pathlib.Path(__file__).with_name("target_gradients.json")
path.write_text(json.dumps(record(), indent=1) + "\n")
