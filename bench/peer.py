"""The peers' half of the protocol between compare.py and its workers.

Commands on stdin, one JSON object a line on stdout:

    step N   takes N training steps; {"seconds": [...], "loss": [...], "cpu_seconds": x}; each loss is read before the
             clock stops. With --predict N predictions; then each loss is one number of the result
    output   with --predict: {"output": [...]}, the first output of the first batch
    memory   {"peak_rss": bytes}
    quit

The first line, without a command, is {"ready": {"versions": {...}, "start_seconds": x, "parameters": n}}: start_seconds
is what building the model took, without loading libraries and without the first step; parameters are counted with the
moving statistics, as in the file of initial weights.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

import network


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True, help="folder with INPUT.npy for each and init.safetensors")
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--variant", default="")
    parser.add_argument("--predict", type=int, default=0, metavar="BATCH", help="predict batches of this size")
    return parser.parse_args()


def specification(options):
    net = network.read(options.spec)
    if options.predict:
        net.predicting, net.batch_size = True, options.predict
    return net


def batches(folder, net):
    """One list of arrays a batch, in the order of net.fed(); the last short batch is left out."""
    arrays = [np.load(folder / f"{name}.npy") for name in net.fed()]
    size = net.batch_size
    return [[array[i : i + size] for array in arrays] for i in range(0, len(arrays[0]) - size + 1, size)]


def serve_predictions(predict, data, ready):
    """predict(batch) gives the first output as an array in the host's hands, images with channels last."""
    serve(lambda batch: float(predict(batch).flat[0]), data, ready, lambda: predict(data[0]).ravel().tolist())


class Weights:
    """The file of initial weights; every tensor that a model has must be taken with its shape."""

    def __init__(self, folder):
        self.tensors, self.taken = load_file(folder / "init.safetensors"), set()

    def take(self, name, dims=None):
        if name not in self.tensors:
            raise SystemExit(f"there are no initial weights {name}")
        self.taken.add(name)
        value = self.tensors[name]
        if dims is not None and tuple(dims) != value.shape:
            raise SystemExit(f"{name} is {list(value.shape)} in the file, {list(dims)} in the model")
        return value

    def count(self, net):
        """Numbers in the tensors taken. What is left over must belong to layers that no kept term needs."""
        needed = {layer.name for layer in net.needed()}
        if forgotten := [name for name in self.tensors if name.split(".")[0] in needed and name not in self.taken]:
            raise SystemExit(f"the model has no {', '.join(forgotten)}")
        return sum(self.tensors[name].size for name in self.taken)


def peak_rss():
    """The high-water mark of this program alone (getrusage would count the program that started it)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def serve(step, data, ready, output=None):
    """step(batch) takes one training step and returns the total loss as a float."""
    taken = 0
    answer = lambda value: print(json.dumps(value), flush=True)
    answer({"ready": ready})
    for line in sys.stdin:
        command, *count = line.split()
        if command == "quit":
            return
        if command == "memory":
            answer({"peak_rss": peak_rss()})
            continue
        if command == "output" and output:
            answer({"output": output()})
            continue
        if command != "step":
            raise SystemExit(f"unknown command: {line}")
        seconds, losses, cpu = [], [], time.process_time()
        for _ in range(int(count[0])):
            start = time.perf_counter()
            losses.append(step(data[taken % len(data)]))
            seconds.append(time.perf_counter() - start)
            taken += 1
        answer({"seconds": seconds, "loss": losses, "cpu_seconds": time.process_time() - cpu})
