"""The cases of record_losses.py: for every loss a group with each reduction × weighting, and groups of nasty points.

The prediction of the full groups is [2, 2, 3]: a sample has two rows of three, so weights of samples, of entries and of
the last axis cannot be mistaken for one another.
"""

from dataclasses import dataclass, field
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F

from loss_cases import EPSILON, above_zero, bits, clipped, inner, probabilities, smoothed
from recording import grid, one_hot

DIMS = [2, 2, 3]
CLASS_TABLE = [0.5, 2.0, 1.25]
LOG_2 = 1e-7  # Keras takes log 2 through f32 in log_cosh even in f64; its value is that far off, its slope is not


@dataclass
class Weighting:
    name: str
    attributes: dict
    operands: dict = field(default_factory=dict)


@dataclass
class Group:
    op: str
    name: str
    operands: dict
    cases: list
    form: str = ""
    attributes: dict = field(default_factory=dict)
    torch: Callable | None = None  # (prediction, target, attributes) → the unreduced loss
    target_gradient: bool = False
    value_tolerance: float = 1e-12


# --- PyTorch's unreduced losses, averaged over the last axis as Keras does it ------------------------------------------


def over_last(function):
    return lambda p, t, a: function(p, t, a).mean(-1)


def bce(p, t, a):
    t = smoothed(t, a.get("label_smoothing", 0), 2)
    if a["from_logits"]:
        return F.binary_cross_entropy_with_logits(p, t, reduction="none").mean(-1)
    if a.get("numerics") == "pytorch":
        return F.binary_cross_entropy(p, t, reduction="none").mean(-1)
    return -(t * torch.log(clipped(p)) + (1 - t) * torch.log(1 - clipped(p))).mean(-1)


def crossentropy(p, t, a):
    if not a["from_logits"]:
        t = smoothed(t, a.get("label_smoothing", 0), t.shape[-1])
        return -(t * torch.log(clipped(p / p.sum(-1, keepdim=True)))).sum(-1)
    rows = F.cross_entropy(p.reshape(-1, p.shape[-1]), t.reshape(-1, t.shape[-1]), reduction="none",
                           label_smoothing=a.get("label_smoothing", 0))
    return rows.reshape(p.shape[:-1])


def sparse(p, t, a):
    logits = p if a["from_logits"] else torch.log(clipped(p))
    ignored = a.get("ignore_class", -100)
    rows = F.cross_entropy(logits.reshape(-1, p.shape[-1]), t.reshape(-1), reduction="none", ignore_index=ignored)
    return rows.reshape(p.shape[:-1])


def divergence(p, t, a):
    if a.get("numerics") == "pytorch":
        rows = F.kl_div(torch.log(p), t, reduction="none")
        return rows.mean(-1) if a["reduction"] == "mean" else rows.sum(-1)
    floor = lambda v: v.clamp(EPSILON, 1.0)
    return F.kl_div(torch.log(floor(p)), floor(t), reduction="none").sum(-1)


def cosine(p, t, a):
    return (1 if a.get("numerics") == "pytorch" else 0) - F.cosine_similarity(p, t, dim=-1)


def poisson(p, t, a):
    eps = 1e-8 if a.get("numerics") == "pytorch" else 1e-7
    return F.poisson_nll_loss(p, t, log_input=False, eps=eps, reduction="none").mean(-1)


def zero_one(t, a):
    return 2 * t - 1 if a.get("zero_one") else t


TORCH = {
    "mean_absolute_error": over_last(lambda p, t, a: F.l1_loss(p, t, reduction="none")),
    "mean_squared_error": over_last(lambda p, t, a: F.mse_loss(p, t, reduction="none")),
    "huber": over_last(lambda p, t, a: F.huber_loss(p, t, reduction="none", delta=a.get("delta", 1.0))),
    "log_cosh": over_last(lambda p, t, a: p - t + F.softplus(-2 * (p - t), threshold=1e9) - np.log(2)),
    "poisson": poisson,
    "cosine_similarity": cosine,
    "kl_divergence": divergence,
    "categorical_crossentropy": crossentropy,
    "sparse_categorical_crossentropy": sparse,
    "binary_crossentropy": bce,
    "hinge": over_last(lambda p, t, a: above_zero(1 - zero_one(t, a) * p)),
    "squared_hinge": over_last(lambda p, t, a: above_zero(1 - zero_one(t, a) * p) ** 2),
}
TARGET_GRADIENTS = {"mean_absolute_error", "mean_squared_error", "huber", "log_cosh", "poisson", "cosine_similarity",
                    "kl_divergence", "categorical_crossentropy", "binary_crossentropy",
                    "mean_squared_logarithmic_error"}
SMOOTHED = {"categorical_crossentropy", "binary_crossentropy", "binary_focal_crossentropy",
            "categorical_focal_crossentropy"}
OF_CLASSES = {"categorical_crossentropy", "sparse_categorical_crossentropy", "categorical_focal_crossentropy",
              "categorical_hinge"}
BINARY = {"binary_crossentropy", "binary_focal_crossentropy"}


# --- Weightings -------------------------------------------------------------------------------------------------------


def sample_weights(dims, op):
    """Of samples, and of entries of the unreduced loss, 0 and 1 among them."""
    unreduced = dims if op == "value" else dims[:-1]
    of_entries = grid("entry weights", unreduced, 0.25, 3.0, 0.25)
    of_entries.flat[1] = 0
    mask = np.ones(unreduced, "int32")
    mask.flat[[1, -1]] = 0
    return np.array([0.5, 2.0, 1.25, 0.75, 1.5])[: dims[0]], of_entries, mask


def weightings(op, dims):
    """Each reduction × weighting that the loss takes. A mean by the sample weights always has some."""
    samples, entries, mask = sample_weights(dims, op)
    if op in ("dice", "tversky", "kl_sparsity"):
        return [Weighting("none", {"reduction": reduction}) for reduction in ("mean", "sum")]
    cases = []
    for reduction in ("mean", "sum", "batch_mean", "mean_with_sample_weight"):
        add = lambda name, more={}, **operands: cases.append(Weighting(name, {"reduction": reduction, **more}, operands))
        always = {"sample_weight": entries} if reduction == "mean_with_sample_weight" else {}
        if not always:
            add("none")
            add("mask", mask=mask)
        add("samples", sample_weight=samples)
        add("entries", sample_weight=entries)
        add("mask and entries", mask=mask, sample_weight=entries)
        if reduction == "mean":
            add("mask of samples", mask=np.arange(dims[0], dtype="int32") % 2, sample_weight=entries)
        if op in SMOOTHED:
            add("smoothed", {"label_smoothing": 0.25}, **always)
        if op in OF_CLASSES:
            add("classes", {"class_weight": CLASS_TABLE}, **always)
            add("ignored", {"ignore_class": 2}, **always)
        if op in OF_CLASSES and reduction == "mean":
            add("everything", {"class_weight": CLASS_TABLE, "ignore_class": 0}, mask=mask, sample_weight=entries)
    return cases


def of_one_unit():
    """Class weights of a binary loss need a node of one unit."""
    samples = np.array([0.5, 2.0, 0.0, 1.25])
    cases = []
    for reduction in ("mean", "sum", "batch_mean", "mean_with_sample_weight"):
        always = {"sample_weight": samples} if reduction == "mean_with_sample_weight" else {}
        cases.append(Weighting("classes", {"reduction": reduction, "class_weight": [0.25, 4.0]}, always))
    return cases


def plain(**attributes):
    return [Weighting("none", {"reduction": "mean", **attributes})]


# --- Points -----------------------------------------------------------------------------------------------------------


def numbers(name, dims=DIMS):
    return {"prediction": grid("losses p " + name, dims), "target": grid("losses t " + name, dims)}


def positive(dims=DIMS):
    return {"prediction": grid("losses rates", dims, 0.125, 4.0), "target": grid("losses counts", dims, 1.0, 5.0, 0.5)}


def peaked(dims):
    """Distributions with one largest class each: 0, 2, 1, 0, …"""
    rows = probabilities("losses target", dims)
    flat = rows.reshape(-1, dims[-1])
    for i, row in enumerate(flat):
        row[:] = np.roll(np.sort(row + np.arange(dims[-1]) / 64 - (dims[-1] - 1) / 128), i * 2 + 1)
    return rows


CLASSES = np.array([[0, 2], [1, 0]], "int32")
DENSE = {"target": peaked(DIMS)}
LOGITS, ROWS = {"prediction": grid("losses logits", DIMS)}, {"prediction": probabilities("losses p", DIMS)}
SIGNS = {**numbers("margin"), "target": 2 * bits("losses", DIMS) - 1}
OVERLAP = {"prediction": inner("losses", DIMS), "target": bits("losses overlap", DIMS)}


def full(op, operands, form="", **attributes):
    if form:
        attributes["from_logits"] = form == "logits"
    tolerance = LOG_2 if op == "log_cosh" else 1e-12
    return Group(op, "full", operands, weightings(op, DIMS), form, attributes, TORCH.get(op), op in TARGET_GRADIENTS,
                 tolerance)


def full_groups():
    groups = [full(op, numbers(op)) for op in ("mean_absolute_error", "mean_squared_error", "huber", "log_cosh")]
    groups += [full(op, positive()) for op in ("poisson", "mean_absolute_percentage_error",
                                               "mean_squared_logarithmic_error")]
    groups += [full("cosine_similarity", {key: value + 0.0625 for key, value in numbers("cosine").items()}),
               full("kl_divergence", {**ROWS, **DENSE}),
               full("hinge", SIGNS), full("squared_hinge", SIGNS),
               full("categorical_hinge", {**LOGITS, "target": one_hot(CLASSES, 3)}),
               full("dice", OVERLAP), full("tversky", OVERLAP),
               full("kl_sparsity", {"prediction": inner("losses", DIMS)}), full("value", LOGITS)]
    for form, prediction in (("logits", LOGITS), ("probabilities", ROWS)):
        groups += [full("sparse_categorical_crossentropy", {**prediction, "target": CLASSES}, form),
                   full("categorical_crossentropy", {**prediction, **DENSE}, form),
                   full("categorical_focal_crossentropy", {**prediction, **DENSE}, form)]
    yes_or_no = bits("losses binary", DIMS)
    for form in ("logits", "probabilities"):
        prediction = LOGITS["prediction"] if form == "logits" else inner("losses binary", DIMS)
        for op in sorted(BINARY):
            groups.append(full(op, {"prediction": prediction, "target": yes_or_no}, form))
            unit = {"prediction": prediction.reshape(-1, 1)[:4], "target": np.array([[0.0], [1.0], [1.0], [0.0]])}
            groups.append(Group(op, "one unit", unit, of_one_unit(), form, {"from_logits": form == "logits"},
                                TORCH.get(op), op in TARGET_GRADIENTS))
    return groups


# --- Nasty points -----------------------------------------------------------------------------------------------------


def nasty(op, name, prediction, target=None, form="", witness=True, **attributes):
    operands = {"prediction": np.asarray(prediction, "float64")}
    if target is not None:
        operands["target"] = np.asarray(target) if np.asarray(target).dtype == "int32" else np.asarray(target, "float64")
    if form:
        attributes["from_logits"] = form == "logits"
    tolerance = LOG_2 if op == "log_cosh" else 1e-12
    return Group(op, name, operands, plain(), form, attributes, TORCH.get(op) if witness else None,
                 value_tolerance=tolerance)


FAR = [[60.0, -60.0, 0.0], [-60.0, 60.0, 60.0], [60.0, 59.0, -60.0]]
CERTAIN = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]
ENDS = np.array([1, 0, 2], "int32")  # the first and the last class, and never the predicted one


def of_classes():
    groups = []
    for form, points in (("logits", FAR), ("probabilities", CERTAIN)):
        ops = [("sparse_categorical_crossentropy", ENDS), ("categorical_crossentropy", one_hot(ENDS, 3)),
               ("categorical_focal_crossentropy", one_hot(ENDS, 3))]
        for op, target in ops:
            groups.append(nasty(op, "certain and wrong", points, target, form))
            right = np.array([0, 1, 1], "int32")
            groups.append(nasty(op, "certain and right", points, right if target is ENDS else one_hot(right, 3), form))
            end = np.array([2], "int32")
            groups.append(nasty(op, "one sample, the last class", [[0.25, 0.5, 0.25]],
                                end if target is ENDS else one_hot(end, 3), form))
            only = [[0.5], [1.0]] if op != "categorical_focal_crossentropy" else None
            if only:
                groups.append(nasty(op, "one class", only, np.array([0, 0], "int32") if target is ENDS else np.ones([2, 1]),
                                    form))
    for form in ("logits", "probabilities"):
        points = np.repeat([[-60.0, -1.0, 0.0, 1.0, 60.0]], 2, 0) if form == "logits" else np.repeat([[0.0, 0.25, 0.5, 0.75, 1.0]], 2, 0)
        target = [[0.0] * 5, [1.0] * 5]
        for op in sorted(BINARY):
            groups.append(nasty(op, "certain", points, target, form))
            groups.append(nasty(op, "certain, balanced" if op != "binary_crossentropy" else "certain, smoothed", points,
                                target, form, **({"gamma": 1.0, "apply_class_balancing": True}
                                                 if op != "binary_crossentropy" else {"label_smoothing": 1.0})))
            groups.append(nasty(op, "one entry", [[0.25]], [[1.0]], form))
    return groups


def kinks():
    near = [[1.0, -1.0, 0.5, 0.0], [0.5, -0.5, 2.0, -0.0]]
    same = [[1.0, -1.0, 0.25, 0.0], [0.0, 0.0, 2.0, 0.0]]
    groups = [nasty(op, "ties", near, same, witness=op != "log_cosh") for op in
              ("mean_absolute_error", "mean_squared_error", "huber", "log_cosh")]
    groups += [nasty("huber", "at delta", [[0.5, -0.5, 0.25, -2.0]], np.zeros([1, 4]), delta=0.5),
               nasty("log_cosh", "far", [[60.0, -60.0, 800.0]], np.zeros([1, 3]), witness=False),
               nasty("mean_absolute_percentage_error", "ties and a target of 0", [[1.0, 0.5, -2.0]], [[1.0, 0.0, -2.5]]),
               nasty("mean_squared_logarithmic_error", "below 0", [[-0.5, 0.0, 2.0]], [[1.0, -1.0, 2.0]]),
               nasty("poisson", "rate 0", [[0.0, 0.5, 2.0]], [[0.0, 1.0, 3.0]])]
    for op in ("hinge", "squared_hinge"):
        groups += [nasty(op, "at the margin", [[1.0, -1.0, 1.0, 0.0]], [[1.0, -1.0, -1.0, 1.0]]),
                   nasty(op, "targets 0 and 1", [[1.0, -1.0, 0.25, 0.0]], [[1.0, 0.0, 0.0, 1.0]], zero_one=True)]
    groups += [nasty("categorical_hinge", "ties and margins", [[1.0, 0.0, -1.0], [0.5, 0.5, 0.5], [3.0, 0.0, 0.0]],
                     one_hot([0, 1, 0], 3)),
               nasty("kl_divergence", "zeros and ones", [[1.0, 0.0, 0.5], [0.0, 0.25, 0.75]],
                     [[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]], witness=False),
               nasty("kl_divergence", "one class", [[0.5], [1.0]], [[1.0], [0.25]], witness=False),
               nasty("cosine_similarity", "parallel, opposite and across", [[3.0, 4.0], [-6.0, -8.0], [4.0, -3.0]],
                     [[0.75, 1.0], [3.0, 4.0], [3.0, 4.0]]),
               nasty("cosine_similarity", "a target of zeros", [[3.0, 4.0], [1.0, 0.5]], [[0.0, 0.0], [1.0, 2.0]],
                     witness=False),
               nasty("cosine_similarity", "one class", [[3.0], [-0.5]], [[2.0], [2.0]]),
               nasty("dice", "certain", CERTAIN, one_hot([0, 0, 1], 3)),
               nasty("dice", "nothing there", np.zeros([2, 3]), np.zeros([2, 3])),
               nasty("tversky", "certain, other factors", CERTAIN, one_hot([0, 0, 1], 3), alpha=0.25, beta=0.75),
               nasty("tversky", "nothing there", np.zeros([2, 3]), np.zeros([2, 3])),
               nasty("kl_sparsity", "units at the ends", [[0.0, 1.0, 0.5], [0.0, 1.0, 0.25]], rho=0.25),
               nasty("value", "one sample", [[-2.0]])]
    return groups


def images():
    """Losses over entries at [2, 2, 2, 3], with a weight for each place."""
    dims = [2, 2, 2, 3]
    groups = []
    for op in ("mean_squared_error", "mean_absolute_error", "huber", "cosine_similarity"):
        _, entries, mask = sample_weights(dims, op)
        cases = [Weighting("none", {"reduction": "mean"}),
                 Weighting("mask and entries", {"reduction": "mean"}, {"mask": mask, "sample_weight": entries})]
        operands = {key: value + 0.0625 for key, value in numbers("image", dims).items()}
        groups.append(Group(op, "image", operands, cases, torch=TORCH[op]))
    return groups


def along_another_axis():
    """[2, 3, 2] with the classes on axis -2: the unreduced loss is [2, 2]. TensorFlow's sparse one cannot; PyTorch can."""
    dims, rows = [2, 3, 2], [2, 2, 3]
    _, entries, mask = sample_weights(rows, "")
    turned = lambda value: np.ascontiguousarray(np.moveaxis(value, -1, -2))
    cases = [Weighting("none", {"reduction": "mean"}),
             Weighting("samples", {"reduction": "sum"}, {"sample_weight": np.array([0.5, 2.0])}),
             Weighting("mask and entries", {"reduction": "mean"}, {"mask": mask, "sample_weight": entries})]
    of_classes = cases + [Weighting("everything", {"reduction": "mean", "class_weight": CLASS_TABLE, "ignore_class": 0},
                                    {"mask": mask, "sample_weight": entries})]
    groups = []
    for form, prediction in (("logits", LOGITS), ("probabilities", ROWS)):
        point, dense = turned(prediction["prediction"]), turned(DENSE["target"])
        for op in ("categorical_crossentropy", "categorical_focal_crossentropy", "sparse_categorical_crossentropy"):
            target = CLASSES if op.startswith("sparse") else dense
            groups.append(Group(op, "along axis -2", {"prediction": point, "target": target}, of_classes, form,
                                {"from_logits": form == "logits", "axis": -2},
                                TORCH.get(op), op in TARGET_GRADIENTS))
    shifted = {key: turned(value) + 0.0625 for key, value in numbers("cosine").items()}
    groups.append(Group("cosine_similarity", "along axis -2", shifted, cases, "", {"axis": -2}, TORCH["cosine_similarity"],
                        True))
    for op in sorted(BINARY):
        binary = {"prediction": turned(LOGITS["prediction"]), "target": turned(bits("losses binary", DIMS))}
        groups.append(Group(op, "along axis -2", binary, cases, "logits", {"from_logits": True, "axis": -2},
                            TORCH.get(op), op in TARGET_GRADIENTS))
    return groups


# --- Profile pytorch --------------------------------------------------------------------------------------------------


def of_pytorch(op, operands, form="", classes=False, learns=False):
    samples, entries, mask = sample_weights(DIMS, op)
    cases = []
    for reduction in ("mean", "sum", "batch_mean"):
        keys = {"reduction": reduction}
        if classes:
            cases += [Weighting("classes", {**keys, "class_weight": CLASS_TABLE}),
                      Weighting("classes and ignored", {**keys, "class_weight": CLASS_TABLE, "ignore_class": 2})]
        else:
            cases += [Weighting("none", keys), Weighting("mask and entries", keys, {"mask": mask, "sample_weight": entries})]
    attributes = {"numerics": "pytorch", **({"from_logits": form == "logits"} if form else {})}
    return Group(op, "profile pytorch", operands, cases, form, attributes, TORCH[op], learns)


def profile_groups():
    zeros = {"prediction": ROWS["prediction"], "target": one_hot(CLASSES, 3)}
    yes_or_no = {"prediction": inner("losses binary", DIMS), "target": bits("losses binary", DIMS)}
    return [of_pytorch("kl_divergence", {**ROWS, **DENSE}, learns=True), of_pytorch("kl_divergence", zeros),
            of_pytorch("cosine_similarity", {key: value + 0.0625 for key, value in numbers("cosine").items()},
                       learns=True),
            of_pytorch("poisson", positive(), learns=True),
            of_pytorch("binary_crossentropy", yes_or_no, "probabilities", learns=True),
            of_pytorch("sparse_categorical_crossentropy", {**LOGITS, "target": CLASSES}, "logits", True)]


def groups():
    made = full_groups() + of_classes() + kinks() + images() + along_another_axis() + profile_groups()
    for group in made:
        for key, value in group.operands.items():
            assert value.dtype.kind == "i" or (value == value.astype("float32")).all(), (group.op, group.name, key)
    return made
