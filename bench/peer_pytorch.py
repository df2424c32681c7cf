"""A specification in PyTorch. Variants, one word each, joined by +: channels_last (the memory format of images), fused
(the optimizer), compile (torch.compile of the forward pass and the losses).

PyTorch's Adam adds epsilon at another place; an epsilon for each step makes the updates equal Keras', so that losses
can be compared. Flattening an image keeps the variant's own order; the rows of the dense kernel behind it are permuted
to match.
"""

import time

import peer

options = peer.arguments()
import torch

from network import Unsupported
from torch_model import Model, as_input, as_output

torch.set_num_threads(options.threads)
torch.set_num_interop_threads(1)
VARIANT = set(options.variant.split("+"))
CHANNELS_LAST = "channels_last" in VARIANT


def make_optimizer(net, parameters):
    settings = dict(net.optimizer)
    kind, rate = settings.pop("type"), settings.pop("learning_rate", None)
    fused = {"fused": True} if "fused" in VARIANT else {}
    if kind == "sgd":
        if settings.keys() - {"momentum", "nesterov"}:
            raise Unsupported(f"sgd: {', '.join(settings)}")
        return torch.optim.SGD(parameters, lr=rate or 0.01, **settings, **fused), lambda taken: None
    betas, epsilon = (settings.pop("beta_1", 0.9), settings.pop("beta_2", 0.999)), settings.pop("epsilon", 1e-7)
    if kind != "adam" or settings:
        raise Unsupported(f"optimizer {kind} {', '.join(settings)}")
    optimizer = torch.optim.Adam(parameters, lr=rate or 0.001, betas=betas, **fused)

    def before(taken):
        for group in optimizer.param_groups:
            group["eps"] = epsilon / (1 - betas[1] ** taken) ** 0.5

    return optimizer, before


def training_step(net, model, total_of):
    optimizer, before = make_optimizer(net, [p for p in model.parameters() if p.requires_grad])
    model.as_in_training()
    taken = 0

    def step(batch):
        nonlocal taken
        taken += 1
        before(taken)
        total = total_of(batch)
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        return total.item()

    return step


def prediction(model, output_of):
    model.eval()

    def predict(batch):
        with torch.inference_mode():
            return as_output(output_of(batch))

    return predict


def main():
    start = time.perf_counter()
    net, weights = peer.specification(options), peer.Weights(options.run)
    model = Model(net, weights, CHANNELS_LAST)
    if CHANNELS_LAST:
        model.to(memory_format=torch.channels_last)
    compiled = torch.compile(model) if "compile" in VARIANT else model
    data = [
        {name: as_input(array, net.inputs[name]["shape"], CHANNELS_LAST) for name, array in zip(net.fed(), batch)}
        for batch in peer.batches(options.run, net)
    ]
    ready = {"versions": {"PyTorch": torch.__version__}, "parameters": weights.count(net)}
    step = prediction(model, compiled) if options.predict else training_step(net, model, compiled)
    ready["start_seconds"] = time.perf_counter() - start
    (peer.serve_predictions if options.predict else peer.serve)(step, data, ready)


main()
