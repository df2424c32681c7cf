"""The seed in PyTorch, eager, with its fused Adam. Variants: default (NCHW) and channels_last.

PyTorch's Adam adds epsilon at another place; an epsilon for each step makes the updates equal Keras', so that losses can
be compared. Flattening keeps each variant's own order; the rows of the dense kernel are permuted to match.
"""

import time

import peer

options = peer.arguments()
import torch
import torch.nn.functional as F

torch.set_num_threads(options.threads)
torch.set_num_interop_threads(1)
CHANNELS_LAST = options.variant == "channels_last"
FORMAT = torch.channels_last if CHANNELS_LAST else torch.contiguous_format
SIDE = 3  # of the last feature map


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        sizes = (1, *peer.FILTERS)
        self.convolutions = torch.nn.ModuleList(torch.nn.Conv2d(a, b, 3, padding=1) for a, b in zip(sizes, sizes[1:]))
        self.dense = torch.nn.Linear(SIDE * SIDE * sizes[-1], peer.HIDDEN)
        self.output = torch.nn.Linear(peer.HIDDEN, peer.CLASSES)

    def forward(self, x):
        for convolution in self.convolutions:
            x = F.max_pool2d(F.relu(convolution(x)), 2)
        hidden = (x.permute(0, 2, 3, 1) if CHANNELS_LAST else x).flatten(1)
        return hidden, self.output(F.relu(self.dense(hidden)))


def load(model, weights):
    tensor = lambda name: torch.from_numpy(weights[name])
    with torch.no_grad():
        for i, convolution in enumerate(model.convolutions, 1):
            convolution.weight.copy_(tensor(f"conv_{i}.kernel").permute(3, 2, 0, 1))
            convolution.bias.copy_(tensor(f"conv_{i}.bias"))
        kernel = tensor("dense_1.kernel")
        if not CHANNELS_LAST:
            kernel = kernel.reshape(SIDE, SIDE, -1, peer.HIDDEN).permute(2, 0, 1, 3).reshape(-1, peer.HIDDEN)
        model.dense.weight.copy_(kernel.T)
        model.dense.bias.copy_(tensor("dense_1.bias"))
        model.output.weight.copy_(tensor("output.kernel").T)
        model.output.bias.copy_(tensor("output.bias"))


def main():
    start = time.perf_counter()
    model = Network()
    load(model, peer.initial_weights(options.run))
    model = model.to(memory_format=FORMAT)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
    data = [
        (torch.from_numpy(image).permute(0, 3, 1, 2).contiguous(memory_format=FORMAT), torch.from_numpy(label).long())
        for image, label in peer.batches(options.run)
    ]
    taken = 0

    def step(batch):
        nonlocal taken
        taken += 1
        for group in optimizer.param_groups:
            group["eps"] = peer.EPSILON / (1 - peer.BETA_2**taken) ** 0.5
        hidden, logits = model(batch[0])
        total = peer.WEIGHT * hidden.abs().mean() + F.cross_entropy(logits, batch[1])
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        return total.item()

    peer.serve(step, data, {"versions": {"PyTorch": torch.__version__}, "start_seconds": time.perf_counter() - start})


main()
