"""A specification as a PyTorch module, built by torch_layers.py layer by layer."""

import torch
import torch.nn.functional as F

import torch_layers
from network import Unsupported


class Model(torch.nn.Module):
    """Runs the layers in order; forward gives the total, or the first output where the network predicts.

    channels_last: images come in that format, and are flattened by rows.
    """

    def __init__(self, net, weights, channels_last=False):
        super().__init__()
        self.net, self.layers, self.channels_last = net, net.needed(), channels_last
        self.made = torch.nn.ModuleDict()
        self.shapes = {name: list(given["shape"]) for name, given in net.inputs.items()}
        self.orders = {}  # of flattened images: height, width, channels
        for layer in self.layers:
            self.add(layer, weights)
        read = {node for layer in self.layers for node in layer.reads.values()}
        self.logits_only = {name for name in self.probabilities() if name not in read and self.by_logits(name)}

    def add(self, layer, weights):
        reads = list(layer.reads.values())
        shapes = [self.shapes[node] for node in reads]
        order = next((self.orders[node] for node in reads if node in self.orders), None)
        if layer.type in ("flatten", "reshape"):
            self.add_view(layer, shapes[0])
            return
        self.made[layer.name], self.shapes[layer.name] = torch_layers.make(layer, shapes, weights, order)
        if order and layer.type != "dense":
            self.orders[layer.name] = order
        for parameter in self.made[layer.name].parameters():
            parameter.requires_grad_(layer.trainable)

    def add_view(self, layer, shape):
        size = 1
        for extent in shape:
            size *= extent
        target = [size] if layer.type == "flatten" else layer.settings["target_shape"]
        if len(shape) == 3 and layer.type == "reshape" or len(target) == 3:
            raise Unsupported(f"{layer.name}: reshape of images")
        by_rows = len(shape) == 3 and self.channels_last
        self.made[layer.name] = torch_layers.Function(
            lambda x: (x.permute(0, 2, 3, 1) if by_rows else x).reshape(x.shape[0], *target)
        )
        if len(shape) == 3 and not by_rows and shape[2] > 1:
            self.orders[layer.name] = shape
        self.shapes[layer.name] = list(target)

    def probabilities(self):
        """Nodes that are a softmax or a sigmoid."""
        ends = {layer.name: layer.settings.get("activation", layer.type) for layer in self.layers}
        return [name for name, end in ends.items() if end in torch_layers.FROM_LOGITS]

    def by_logits(self, name):
        """Only crossentropies look at the node."""
        if self.net.predicting:
            return False
        at = [term.type for term in self.net.terms if term.at == name]
        targets = [term for term in self.net.terms if term.target.get("node") == name]
        return bool(at) and not targets and all(kind.endswith("crossentropy") for kind in at)

    def run(self, inputs):
        nodes, logits = dict(inputs), {}
        for layer in self.layers:
            values = [nodes[node] for node in layer.reads.values()]
            if layer.type == "multi_head_attention":
                result = self.made[layer.name](**{role: nodes[node] for role, node in layer.reads.items()})
            elif layer.name in self.logits_only and layer.type in torch_layers.FROM_LOGITS:
                result = values[0]
            else:
                result = self.made[layer.name](*values)
            activation = layer.settings.get("activation", "linear")
            if layer.name in self.logits_only:
                logits[layer.name] = result
            elif activation == "softmax":
                result = torch.softmax(result, -1)
            else:
                result = torch_layers.ACTIVATIONS[activation](result)
            nodes[layer.name] = result
        return nodes, logits

    def forward(self, inputs):
        nodes, logits = self.run(inputs)
        if self.net.predicting:
            return nodes[self.net.wanted()[0]]
        return sum(term.weight * self.measure(term, nodes, logits, inputs) for term in self.net.terms)

    def measure(self, term, nodes, logits, inputs):
        if term.settings:
            raise Unsupported(f"{term.name}: {', '.join(term.settings)}")
        at = nodes[term.at]
        if term.type == "value":
            return at.mean()
        if "constant" in term.target:
            target = torch.full_like(at, term.target["constant"])
        elif "node" in term.target:
            target = nodes[term.target["node"]].detach()
        else:
            target = inputs[term.target["input"]]
        match term.type:
            case "mean_squared_error":
                return F.mse_loss(at, target)
            case "mean_absolute_error":
                return at.abs().mean() if term.target.get("constant") == 0 else F.l1_loss(at, target)
            case "binary_crossentropy":
                return F.binary_cross_entropy_with_logits(logits[term.at], target)
            case "sparse_categorical_crossentropy" | "categorical_crossentropy" if at.dim() == 2:
                return F.cross_entropy(logits[term.at], target.long() if "one_hot" in term.target else target)
        raise Unsupported(f"{term.name}: no {term.type} for PyTorch")

    def as_in_training(self):
        self.train()
        for layer in self.layers:
            if not layer.training or (layer.type == "batch_normalization" and not layer.trainable):
                self.made[layer.name].eval()


def as_input(array, shape, channels_last):
    """Classes of a loss are i64 to PyTorch, which is not the step's work."""
    value = torch.from_numpy(array)
    if value.dtype == torch.int32:
        return value.long()
    memory = torch.channels_last if channels_last else torch.contiguous_format
    return value.permute(0, 3, 1, 2).contiguous(memory_format=memory) if len(shape) == 3 else value


def as_output(value):
    return (value.permute(0, 2, 3, 1) if value.dim() == 4 else value).numpy()
