#!/usr/bin/env python3
"""Records training with learned weights ("combine": "uncertainty") in PyTorch, in double precision. See README.md.

total = sum over terms of weight * (a * exp(-s) * L + s / 2), s a parameter of the term, a = 1/2 for a regression and 1
for a classification (Kendall, Gal and Cipolla 2018). Writes learned_weights.json.
"""

import sys
from pathlib import Path

sys.modules["triton"] = None  # PyTorch's optimizers would load it, and TensorFlow bears no second LLVM
import torch
import torch.nn.functional as F

from recording import grid, one_hot, text

STEPS = 6
RATE = 0.125


def spec_of(name, optimizer, weights):
    return {
        "format": "weir/1",
        "name": name,
        "numerics": "pytorch",
        "inputs": {"x": {"shape": [4]}, "y": {"shape": [3]}, "c": {"shape": [3]}},
        "layers": [
            {"name": "hidden", "type": "dense", "units": 5, "activation": "tanh", "from": "x"},
            {"name": "answer", "type": "dense", "units": 3},
            {"name": "class", "type": "dense", "units": 3, "activation": "softmax", "from": "hidden"},
        ],
        "loss": {
            "combine": "uncertainty",
            "terms": {
                "fit": {"type": "mean_squared_error", "at": "answer", "target": {"input": "y"}, "weight": weights[0]},
                "label": {
                    "type": "categorical_crossentropy",
                    "at": "class",
                    "target": {"input": "c"},
                    "weight": weights[1],
                },
            },
        },
        "train": {"optimizer": optimizer, "batch_size": 4, "shuffle": False},
    }


def initial():
    dims = {
        "hidden.kernel": (4, 5), "hidden.bias": (5,), "answer.kernel": (5, 3), "answer.bias": (3,),
        "class.kernel": (5, 3), "class.bias": (3,), "fit.log_variance": (1,), "label.log_variance": (1,),
    }  # fmt: skip
    return {name: grid("learned " + name, size, -1.0, 1.0) for name, size in dims.items()}


def case(name, optimizer, weights, make_optimizer):
    start = initial()
    w = {key: torch.tensor(value, requires_grad=True) for key, value in start.items()}
    optimizer_object = make_optimizer(list(w.values()))
    batches, steps, first = [], [], None
    for step in range(STEPS):
        batch = {
            "x": grid(f"x{step}", (4, 4)),
            "y": grid(f"y{step}", (4, 3)),
            "c": one_hot([(step + i) % 3 for i in range(4)], 3),
        }
        batches.append(batch)
        x, y, c = (torch.tensor(batch[key]) for key in "xyc")
        hidden = torch.tanh(x @ w["hidden.kernel"] + w["hidden.bias"])
        fit = F.mse_loss(hidden @ w["answer.kernel"] + w["answer.bias"], y)
        label = F.cross_entropy(hidden @ w["class.kernel"] + w["class.bias"], c)
        total = 0
        record = {"values": {}, "weights": {}}
        for term, loss, a, weight in (("fit", fit, 0.5, weights[0]), ("label", label, 1.0, weights[1])):
            s = w[term + ".log_variance"][0]
            total = total + weight * (a * torch.exp(-s) * loss + s / 2)
            record["values"][term] = loss.item()
            record["weights"][term] = (weight * a * torch.exp(-s)).item()
        record["total"] = total.item()
        steps.append(record)
        optimizer_object.zero_grad()
        total.backward()
        if step == 0:
            first = {key: value.grad.detach().numpy().copy() for key, value in w.items()}
        optimizer_object.step()
    return {
        "name": name,
        "spec": spec_of(name, optimizer, weights),
        "weights": start,
        "batches": batches,
        "steps": steps,
        "gradients": first,
        "after": {key: value.detach().numpy() for key, value in w.items()},
    }


def cases():
    sgd = {"type": "sgd", "learning_rate": RATE}
    adam = {"type": "adam", "learning_rate": RATE}
    return [
        case("uncertainty_sgd", sgd, (1, 1), lambda p: torch.optim.SGD(p, lr=RATE)),
        case("uncertainty_weighted", sgd, (2, 0.5), lambda p: torch.optim.SGD(p, lr=RATE)),
        case("uncertainty_adam", adam, (1, 1), lambda p: torch.optim.Adam(p, lr=RATE)),
    ]


if __name__ == "__main__":
    content = text({"source": f"torch {torch.__version__}", "cases": cases()}) + "\n"
    Path(__file__).with_name("learned_weights.json").write_text(content)
    print(f"learned weights: {len(content)} bytes")
