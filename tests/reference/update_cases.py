"""Updates: parameters and states after each of a few steps with given gradients, with NumPy as a second witness."""

import keras
import numpy as np
import tensorflow as tf

from recording import F64_TOLERANCE, deviation, f32_tolerance, grid, set_precision

STEPS = 5


def gradients(name, dims):
    """Ordinary, zero, tiny and large entries; the third gradient is zero throughout."""
    steps = [grid(f"{name} {step}", dims) for step in range(STEPS)]
    steps[0].flat[0] = steps[1].flat[0] = 0.0
    for step, gradient in enumerate(steps):
        gradient.flat[1] = 2.0**-20 * (step + 1)
        gradient.flat[2] *= 1024.0
    steps[2][:] = 0.0
    return steps


def states_of(optimizer):
    """Keras' variables, by the last word of their names: momentum, velocity."""
    counters = ("iteration", "learning_rate")
    return {v.path.rsplit("_", 1)[1]: v.numpy() for v in optimizer.variables if v.name not in counters}


def run(make, parameter, steps, floatx):
    set_precision(floatx)
    variable = keras.Variable(parameter, dtype=floatx, name="parameter")
    optimizer = make(floatx)
    optimizer.build([variable])
    history = []
    for gradient in steps:
        optimizer.apply_gradients([(tf.constant(gradient, floatx), variable)])
        history.append({"parameter": variable.numpy().copy(), **{k: v.copy() for k, v in states_of(optimizer).items()}})
    return history


def update_case(make, witness, name, dims, **attributes):
    parameter, steps = grid("parameter of " + name, dims, -1.0, 1.0), gradients(name, dims)
    double = run(lambda floatx: make(floatx, **attributes), parameter, steps, "float64")
    single = run(lambda floatx: make(floatx, **attributes), parameter, steps, "float32")
    expected = witness(parameter, steps, **attributes)
    for step, (recorded, formula) in enumerate(zip(double, expected)):
        if recorded.keys() != formula.keys() or any(deviation(formula[k], recorded[k]) > 1e-12 for k in recorded):
            raise RuntimeError(f"{name}, step {step + 1}: NumPy differs\n{formula}\n{recorded}")
    flat = lambda history: {f"{key} {i}": value for i, entry in enumerate(history) for key, value in entry.items()}
    return {
        "name": name,
        "attributes": attributes,
        "training": True,
        "tolerance": {"f64": F64_TOLERANCE, "f32": f32_tolerance(flat(single), flat(double))},
        "operands": {"parameter": parameter},
        "steps": [{"gradient": gradient, "results": results} for gradient, results in zip(steps, double)],
    }


def sgd_in_numpy(w, steps, learning_rate=0.01, momentum=0.0, nesterov=False):
    v, history = np.zeros_like(w), []
    for g in steps:
        v = momentum * v - learning_rate * g
        w = w + (momentum * v - learning_rate * g if nesterov else v)
        history.append({"parameter": w, **({"momentum": v} if momentum else {})})
    return history


def sgd():
    """Keras rounds the momentum through f32 even when it computes in f64, so these are exact in both."""
    case = lambda *data, **attributes: update_case(
        lambda floatx, **a: keras.optimizers.SGD(**a), sgd_in_numpy, *data, **attributes
    )
    return [
        case("defaults", [2, 3]),
        case("learning rate", [3], learning_rate=0.5),
        case("momentum", [2, 3], learning_rate=0.125, momentum=0.875),
        case("nesterov", [2, 3], learning_rate=0.125, momentum=0.875, nesterov=True),
        case("a small momentum, image kernel", [2, 2, 1, 2], momentum=0.25),
    ]


def adam_in_numpy(w, steps, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m, v, history = np.zeros_like(w), np.zeros_like(w), []
    for t, g in enumerate(steps, 1):
        m = m + (1 - beta_1) * (g - m)
        v = v + (1 - beta_2) * (g * g - v)
        w = w - learning_rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (np.sqrt(v) + epsilon)
        history.append({"parameter": w, "momentum": m, "velocity": v})
    return history


def adam_in_keras(floatx, beta_1=0.9, beta_2=0.999, **attributes):
    """Keras rounds the betas through f32 before it takes their powers. In f64 they are given as f64 tensors, so that the
    recorded numbers follow the formula; the f32 run leaves Keras alone, and its tolerance includes that rounding."""
    betas = (
        (beta_1, beta_2) if floatx == "float32" else (tf.constant(beta_1, "float64"), tf.constant(beta_2, "float64"))
    )
    return keras.optimizers.Adam(beta_1=betas[0], beta_2=betas[1], **attributes)


def adam():
    case = lambda *data, **attributes: update_case(adam_in_keras, adam_in_numpy, *data, **attributes)
    return [
        case("defaults", [2, 3]),
        case("learning rate", [3], learning_rate=0.125),
        case("betas", [2, 3], beta_1=0.5, beta_2=0.75),
        case("epsilon", [2, 3], epsilon=0.125, learning_rate=0.01),
        case("image kernel", [2, 2, 1, 2], learning_rate=0.01),
    ]


CASES = {"sgd": sgd, "adam": adam}
