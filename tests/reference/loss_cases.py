"""Losses: the mean-reduced value and its gradient with respect to the prediction, with PyTorch as a second witness."""

import keras
import numpy as np
import torch
import torch.nn.functional as F
from keras import losses

from recording import Case, distinct, generator, grid, one_hot

EPSILON = 1e-7  # Keras' constant in every loss
SPEC_ONLY = {"zero_one"}  # says in a spec what Keras guesses from the batch


def loss_case(make, witness, name, prediction, target, **attributes):
    keywords = {key: value for key, value in attributes.items() if key not in SPEC_ONLY}
    if isinstance(attributes.get("axis", -1), int) and attributes.get("axis", -1) != -1:
        keywords["axis"] = np.ndim(prediction) + attributes["axis"]  # TensorFlow's crossentropy fails on -2

    def compute(t):
        return {"value": make(**keywords)(t["target"], t["prediction"])}

    def check(t):
        return witness(t["target"], t["prediction"], **attributes)

    operands = {"prediction": np.asarray(prediction), "target": np.asarray(target)}
    return Case(name, attributes, operands, compute, ["prediction"], scalar=True, check=check if witness else None)


# --- regression ------------------------------------------------------------------------------------------------------


def regression_data():
    """Prediction and target by name; 'ties' has equal entries, 'hidden' is a layer after relu against the constant 0."""
    hidden = np.maximum(grid("hidden", [3, 6]), 0.0)
    return {
        "rank 2": (grid("prediction 2", [3, 4]), grid("target 2", [3, 4])),
        "rank 3": (grid("prediction 3", [2, 3, 4]), grid("target 3", [2, 3, 4])),
        "rank 4": (grid("prediction 4", [1, 2, 3, 2]), grid("target 4", [1, 2, 3, 2])),
        "one value a sample": (grid("prediction 1", [5, 1]), grid("target 1", [5, 1])),
        "ties": (grid("prediction t", [4, 4], -1, 1, 1.0), grid("target t", [4, 4], -1, 1, 1.0)),
        "zeros of relu against 0": (hidden, np.zeros_like(hidden)),
    }


def regression(make, witness):
    return [loss_case(make, witness, name, *data) for name, data in regression_data().items()]


def huber():
    witness = lambda t, p, delta=1.0: F.huber_loss(p, t, delta=delta)
    cases = regression(losses.Huber, witness)
    p, t = regression_data()["rank 2"]
    return cases + [
        loss_case(
            losses.Huber, witness, "errors at delta", np.array([[0.5, -0.5, 0.25, -2.0]]), np.zeros([1, 4]), delta=0.5
        ),
        loss_case(losses.Huber, witness, "delta 2", p, t, delta=2.0),
    ]


def log_cosh():
    """Keras rounds log 2 through f32 even when it computes in f64."""
    error = lambda t, p: p - t
    witness = lambda t, p: (error(t, p) + F.softplus(-2 * error(t, p), threshold=1e9) - np.log(2)).mean()
    far = np.array([[100.0, -100.0, 10.0, -10.0, 0.0]])
    cases = regression(losses.LogCosh, witness) + [
        loss_case(losses.LogCosh, witness, "large errors", far, np.zeros_like(far))
    ]
    for case in cases:
        case.f64_tolerance = 1e-8
    return cases


def mean_absolute_percentage_error():
    witness = lambda t, p: 100 * ((t - p).abs() / t.abs().clamp(min=EPSILON)).mean()
    data = [(name, p, t + 2.5) for name, (p, t) in regression_data().items() if name.startswith("rank")]
    zero = ("target 0", np.array([[0.5, 1.0], [0.0, -1.0]]), np.array([[0.0, 2.0], [0.0, -4.0]]))
    return [loss_case(losses.MeanAbsolutePercentageError, witness, *case) for case in [*data, zero]]


def mean_squared_logarithmic_error():
    log = lambda v: torch.log(v.clamp(min=EPSILON) + 1)
    witness = lambda t, p: ((log(p) - log(t)) ** 2).mean()
    data = [(name, p + 2.5, t + 2.5) for name, (p, t) in regression_data().items() if name.startswith("rank")]
    below = ("values below zero count as zero", np.array([[-1.0, -0.5, 0.5, 2.0]]), np.array([[1.0, -2.0, -1.0, 3.0]]))
    return [loss_case(losses.MeanSquaredLogarithmicError, witness, *case) for case in [*data, below]]


def poisson():
    witness = lambda t, p: (p - t * torch.log(p + EPSILON)).mean()
    rates = lambda name, dims: grid(name, dims, 0.125, 4.0)
    counts = lambda name, dims: grid(name, dims, 0.0, 5.0, 1.0)
    return [
        loss_case(losses.Poisson, witness, "rank 2", rates("rates 2", [3, 4]), counts("counts 2", [3, 4])),
        loss_case(losses.Poisson, witness, "rank 3", rates("rates 3", [2, 2, 3]), counts("counts 3", [2, 2, 3])),
        loss_case(losses.Poisson, witness, "prediction 0", np.array([[0.0, 0.5, 2.0]]), np.array([[0.0, 1.0, 3.0]])),
    ]


def cosine_similarity():
    def witness(t, p, axis=-1):
        unit = lambda v: v / torch.linalg.vector_norm(v, dim=axis, keepdim=True)
        return -(unit(t) * unit(p)).sum(axis).mean()

    make = losses.CosineSimilarity
    shifted = [(name, p + 0.0625, t - 0.0625) for name, (p, t) in regression_data().items() if name.startswith("rank")]
    return [loss_case(make, witness, *case) for case in shifted] + [
        loss_case(make, witness, "along axis -2", *shifted[1][1:], axis=-2),
        loss_case(
            make,
            witness,
            "parallel and opposite",
            np.array([[3.0, 4.0], [-6.0, -8.0]]),
            np.array([[0.75, 1.0], [3.0, 4.0]]),
        ),
    ]


# --- probabilities ---------------------------------------------------------------------------------------------------


def probabilities(name, dims, axis=-1):
    """Positive multiples of 1/64 that sum to 1 along the axis, exact in f32."""
    rows = np.moveaxis(np.zeros(dims), axis, -1)
    random = generator(f"probabilities of {name} {dims}")
    for row in np.ndindex(rows.shape[:-1]):
        cuts = np.sort(random.choice(np.arange(1, 64), rows.shape[-1] - 1, replace=False))
        rows[row] = np.diff([0, *cuts, 64]) / 64
    return np.ascontiguousarray(np.moveaxis(rows, -1, axis))


def classes(name, dims, count):
    return grid(name, dims, 0, count - 1, 1.0).astype("int32")


def smoothed(target, amount, count):
    return target * (1 - amount) + amount / count


def clipped(p):
    return p.clamp(EPSILON, 1 - EPSILON)


def categorical_in_torch(t, p, from_logits=False, label_smoothing=0.0, axis=-1):
    t = smoothed(t, label_smoothing, t.shape[axis])
    if from_logits:
        return -(t * torch.log_softmax(p, axis)).sum(axis).mean()
    return -(t * torch.log(clipped(p / p.sum(axis, keepdim=True)))).sum(axis).mean()


def logits_at_activation(make, activation):
    """Keras remembers the logits behind a softmax or sigmoid: crossentropy there must equal that of the logits."""

    def loss(from_logits=False, **keywords):
        if not from_logits:
            return make(**keywords)

        def of_logits(target, logits):
            value = make(from_logits=True, **keywords)(target, logits)
            axis = {"axis": keywords["axis"]} if "axis" in keywords and activation == "softmax" else {}
            layer = keras.layers.Softmax(**axis) if axis else keras.layers.Activation(activation)
            attached = make(**keywords)(target, layer(logits))
            if float(abs(value - attached)) > 1e-6 * max(1.0, float(abs(value))):
                raise RuntimeError(f"{make.__name__} at {activation}: {attached}, of the logits: {value}")
            return value

        return of_logits

    return loss


def categorical_crossentropy():
    make = logits_at_activation(losses.CategoricalCrossentropy, "softmax")
    case = lambda *data, **attributes: loss_case(make, categorical_in_torch, *data, **attributes)
    two, three = one_hot([1, 0, 4], 5), one_hot([[1, 0, 3], [2, 2, 1]], 4)
    logits2, logits3 = grid("logits 2", [3, 5]), grid("logits 3", [2, 3, 4])
    p2, p3 = probabilities("p", [3, 5]), probabilities("p", [2, 3, 4])
    far = np.array([[30.0, 0.0, 0.0], [1000.0, -1000.0, 0.0], [-200.0, -100.0, -300.0]])
    certain = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    return [
        case("logits", logits2, two, from_logits=True),
        case("logits, rank 3", logits3, three, from_logits=True),
        case("logits, rank 4", grid("logits 4", [1, 2, 2, 3]), one_hot([[[0, 2], [1, 1]]], 3), from_logits=True),
        case("logits, smoothed", logits2, two, from_logits=True, label_smoothing=0.125),
        case("logits, rank 3, smoothed", logits3, three, from_logits=True, label_smoothing=0.25),
        case("logits, target between classes", logits2, probabilities("target", [3, 5]), from_logits=True),
        case("logits along axis -2", logits3, probabilities("along", [2, 3, 4], -2), from_logits=True, axis=-2),
        case("logits far apart", far, one_hot([2, 0, 1], 3), from_logits=True),
        case("probabilities", p2, two),
        case("probabilities, rank 3", p3, three),
        case("probabilities, smoothed", p2, two, label_smoothing=0.125),
        case("probabilities, target between classes", p2, probabilities("target", [3, 5])),
        case(
            "probabilities along axis -2",
            probabilities("along", [2, 3, 4], -2),
            probabilities("other", [2, 3, 4], -2),
            axis=-2,
        ),
        case("probabilities that do not sum to 1", grid("unnormalized", [3, 5], 0.125, 2.0), two),
        case("probabilities 0 and 1 are clipped", certain, one_hot([2, 1, 0], 3)),
    ]


def sparse_in_torch(t, p, from_logits=False):
    logits = p if from_logits else torch.log(clipped(p))
    return F.cross_entropy(logits.reshape(-1, p.shape[-1]), t.reshape(-1).long())


def sparse_categorical_crossentropy():
    make = logits_at_activation(losses.SparseCategoricalCrossentropy, "softmax")
    case = lambda *data, **attributes: loss_case(make, sparse_in_torch, *data, **attributes)
    far = np.array([[30.0, 0.0, 0.0], [1000.0, -1000.0, 0.0]])
    certain = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    return [
        case("logits", grid("logits 2", [4, 5]), classes("classes 2", [4], 5), from_logits=True),
        case("logits, rank 3", grid("logits 3", [2, 3, 4]), classes("classes 3", [2, 3], 4), from_logits=True),
        case("logits, rank 4", grid("logits 4", [1, 2, 2, 3]), classes("classes 4", [1, 2, 2], 3), from_logits=True),
        case("logits far apart", far, np.array([2, 0], "int32"), from_logits=True),
        case("probabilities", probabilities("p", [4, 5]), classes("classes p", [4], 5)),
        case("probabilities, rank 3", probabilities("p", [2, 3, 4]), classes("classes q", [2, 3], 4)),
        case(
            "probabilities that do not sum to 1",
            grid("unnormalized", [3, 4], 0.0625, 0.9375, 1 / 16),
            classes("classes u", [3], 4),
        ),
        case("probabilities 0 and 1 are clipped", certain, np.array([2, 1, 0], "int32")),
    ]


def binary_in_torch(t, p, from_logits=False, label_smoothing=0.0):
    t = smoothed(t, label_smoothing, 2)
    if from_logits:
        return F.binary_cross_entropy_with_logits(p, t)
    p = clipped(p)
    return -(t * torch.log(p) + (1 - t) * torch.log(1 - p)).mean()


def bits(name, dims):
    return grid("bits " + name, dims, 0, 1, 1.0)


def inner(name, dims):
    """Probabilities in 1/16…15/16."""
    return grid("inner " + name, dims, 1 / 16, 15 / 16, 1 / 16)


def binary_crossentropy():
    make = logits_at_activation(losses.BinaryCrossentropy, "sigmoid")
    case = lambda *data, **attributes: loss_case(make, binary_in_torch, *data, **attributes)
    far = np.array([[-800.0, -30.0, 0.0, 30.0, 800.0], [-800.0, -30.0, 0.0, 30.0, 800.0]])
    far_target = np.array([[0.0, 0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0, 0.0]])
    between = grid("between", [3, 4], 0.0, 1.0)
    return [
        case("logits", grid("logits 2", [3, 4]), bits("2", [3, 4]), from_logits=True),
        case("logits, one unit", grid("logits 1", [5, 1]), bits("1", [5, 1]), from_logits=True),
        case("logits, rank 3", grid("logits 3", [2, 3, 2]), bits("3", [2, 3, 2]), from_logits=True),
        case("logits, smoothed", grid("logits 2", [3, 4]), bits("2", [3, 4]), from_logits=True, label_smoothing=0.125),
        case("logits, target between", grid("logits 2", [3, 4]), between, from_logits=True),
        case("logits far from zero", far, far_target, from_logits=True),
        case("probabilities", inner("2", [3, 4]), bits("2", [3, 4])),
        case("probabilities, one unit", inner("1", [5, 1]), bits("1", [5, 1])),
        case("probabilities, rank 3", inner("3", [2, 3, 2]), bits("3", [2, 3, 2])),
        case("probabilities, smoothed", inner("2", [3, 4]), bits("2", [3, 4]), label_smoothing=0.25),
        case("probabilities, target between", inner("2", [3, 4]), between),
        case("probabilities 0 and 1 are clipped", np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([[0.0, 1.0, 0.0, 1.0]])),
    ]


def kl_divergence():
    floor = lambda v: v.clamp(EPSILON, 1.0)
    witness = lambda t, p: (floor(t) * torch.log(floor(t) / floor(p))).sum(-1).mean()
    case = lambda *data: loss_case(losses.KLDivergence, witness, *data)
    return [
        case("rank 2", probabilities("p", [3, 5]), probabilities("other", [3, 5])),
        case("rank 3", probabilities("p", [2, 3, 4]), probabilities("other", [2, 3, 4])),
        case("zeros", np.array([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]]), np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])),
        case("above 1 counts as 1", np.array([[1.5, 0.5]]), np.array([[0.5, 2.0]])),
    ]


# --- focal -----------------------------------------------------------------------------------------------------------


def binary_focal_in_torch(
    t, p, from_logits=False, label_smoothing=0.0, alpha=0.25, gamma=2.0, apply_class_balancing=False
):
    t = smoothed(t, label_smoothing, 2)
    p = torch.sigmoid(p) if from_logits else p
    crossentropy = -(t * torch.log(clipped(p)) + (1 - t) * torch.log(1 - clipped(p)))
    value = (1 - t * p - (1 - t) * (1 - p)) ** gamma * crossentropy
    return (value * (t * alpha + (1 - t) * (1 - alpha)) if apply_class_balancing else value).mean()


def binary_focal_crossentropy():
    case = lambda name, p, t, **attributes: loss_case(
        losses.BinaryFocalCrossentropy, binary_focal_in_torch, name, p, t, **attributes
    )
    p2, t2, z2 = inner("2", [3, 4]), bits("2", [3, 4]), grid("logits 2", [3, 4])
    return [
        case("defaults", p2, t2),
        case("rank 3", inner("3", [2, 3, 2]), bits("3", [2, 3, 2])),
        case("logits", z2, t2, from_logits=True),
        case("gamma 3", p2, t2, gamma=3.0),
        case("class balancing", p2, t2, apply_class_balancing=True),
        case("class balancing, alpha", z2, t2, apply_class_balancing=True, alpha=0.75, from_logits=True),
        case("smoothed", p2, t2, label_smoothing=0.125),
    ]


def categorical_focal_in_torch(t, p, from_logits=False, label_smoothing=0.0, alpha=0.25, gamma=2.0, axis=-1):
    t = smoothed(t, label_smoothing, t.shape[-1])
    p = torch.softmax(p, axis) if from_logits else p
    p = clipped(p / p.sum(axis, keepdim=True))
    return (alpha * (1 - p) ** gamma * -t * torch.log(p)).sum(axis).mean()


def categorical_focal_crossentropy():
    case = lambda name, p, t, **attributes: loss_case(
        losses.CategoricalFocalCrossentropy, categorical_focal_in_torch, name, p, t, **attributes
    )
    p2, t2, z2 = probabilities("p", [3, 5]), one_hot([1, 0, 4], 5), grid("logits 2", [3, 5])
    return [
        case("defaults", p2, t2),
        case("rank 3", probabilities("p", [2, 3, 4]), one_hot([[1, 0, 3], [2, 2, 1]], 4)),
        case("logits", z2, t2, from_logits=True),
        case("gamma 3, alpha 0.5", p2, t2, gamma=3.0, alpha=0.5),
        case("smoothed", p2, t2, label_smoothing=0.125),
        case("logits, smoothed", z2, t2, from_logits=True, label_smoothing=0.25),
    ]


# --- margins and overlap ---------------------------------------------------------------------------------------------


def above_zero(v):
    """max(v, 0) whose derivative at 0 is 1, as TensorFlow's maximum has it."""
    return torch.where(v >= 0, v, torch.zeros_like(v))


def hinge_like(make, power):
    def witness(t, p, zero_one=False):
        return (above_zero(1 - (2 * t - 1 if zero_one else t) * p) ** power).mean()

    case = lambda *data, **attributes: loss_case(make, witness, *data, **attributes)
    signs = lambda name, dims: 2 * bits(name, dims) - 1
    return [
        case("targets -1 and 1", grid("margin 2", [3, 4]), signs("2", [3, 4])),
        case("targets -1 and 1, rank 3", grid("margin 3", [2, 3, 2]), signs("3", [2, 3, 2])),
        case("targets 0 and 1", grid("margin 2", [3, 4]), bits("2", [3, 4]), zero_one=True),
        case("at the margin", np.array([[1.0, -1.0, 1.0, 0.0]]), np.array([[1.0, -1.0, -1.0, 1.0]])),
    ]


def categorical_hinge():
    witness = lambda t, p: above_zero(((1 - t) * p).amax(-1) - (t * p).sum(-1) + 1).mean()
    case = lambda *data: loss_case(losses.CategoricalHinge, witness, *data)
    return [
        case("rank 2", distinct("scores 2", [3, 5]) / 2, one_hot([1, 0, 4], 5)),
        case("rank 3", distinct("scores 3", [2, 3, 4]) / 4, one_hot([[1, 0, 3], [2, 2, 1]], 4)),
        case("at the margin", np.array([[1.0, 0.0, -1.0]]), one_hot([0], 3)),
        case("beyond the margin", np.array([[3.0, 0.5, 1.0], [0.5, 1.0, 0.75]]), one_hot([0, 1], 3)),
    ]


def overlap_axes(axis, rank):
    return tuple(range(rank)) if axis is None else tuple(axis)


def dice_in_torch(t, p, axis=None):
    axes = overlap_axes(axis, t.ndim)
    return (1 - 2 * (t * p).sum(axes) / (t.sum(axes) + p.sum(axes) + EPSILON)).mean()


def tversky_in_torch(t, p, alpha=0.5, beta=0.5, axis=None):
    axes = overlap_axes(axis, t.ndim)
    both = (t * p).sum(axes)
    return (1 - both / (both + alpha * ((1 - p) * t).sum(axes) + beta * (p * (1 - t)).sum(axes) + EPSILON)).mean()


def overlap(make, witness, **attributes):
    case = lambda *data, **more: loss_case(make, witness, *data, **attributes, **more)
    return [
        case("rank 2", inner("2", [3, 4]), bits("2", [3, 4])),
        case("image", inner("4", [2, 3, 2, 1]), bits("4", [2, 3, 2, 1])),
        case("a value for each sample", inner("4", [2, 3, 2, 1]), bits("4", [2, 3, 2, 1]), axis=[-3, -2, -1]),
        case("nothing there", np.zeros([2, 3]), np.zeros([2, 3])),
    ]


def tversky():
    weighted = overlap(losses.Tversky, tversky_in_torch, alpha=0.25, beta=0.75)
    for case in weighted:
        case.name += ", alpha and beta"
    return overlap(losses.Tversky, tversky_in_torch) + weighted[:3]


CASES = {
    "mean_absolute_error": lambda: regression(losses.MeanAbsoluteError, lambda t, p: (p - t).abs().mean()),
    "mean_squared_error": lambda: regression(losses.MeanSquaredError, lambda t, p: ((p - t) ** 2).mean()),
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
    "binary_crossentropy": binary_crossentropy,
    "huber": huber,
    "log_cosh": log_cosh,
    "kl_divergence": kl_divergence,
    "poisson": poisson,
    "cosine_similarity": cosine_similarity,
    "hinge": lambda: hinge_like(losses.Hinge, 1),
    "squared_hinge": lambda: hinge_like(losses.SquaredHinge, 2),
    "categorical_hinge": categorical_hinge,
    "mean_absolute_percentage_error": mean_absolute_percentage_error,
    "mean_squared_logarithmic_error": mean_squared_logarithmic_error,
    "binary_focal_crossentropy": binary_focal_crossentropy,
    "categorical_focal_crossentropy": categorical_focal_crossentropy,
    "dice": lambda: overlap(losses.Dice, dice_in_torch),
    "tversky": tversky,
}
