"""The peers' half of the protocol between seed_step.py and its workers.

Commands on stdin, one JSON object a line on stdout:

    step N   takes N training steps; {"seconds": [...], "loss": [...], "cpu_seconds": x}; each loss is read before the
             clock stops
    memory   {"peak_rss": bytes}
    quit

The first line, without a command, is {"ready": {"versions": {...}, "start_seconds": x}}: start_seconds is what building
the model took, without loading libraries and without the first step.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

BATCH, WEIGHT = 32, 0.1
BETA_2, EPSILON = 0.999, 1e-7  # Keras' defaults of Adam
FILTERS, HIDDEN, CLASSES = (32, 64, 128), 256, 10


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True, help="folder with image.npy, label.npy and init.safetensors")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--variant", default="")
    return parser.parse_args()


def batches(folder):
    images, labels = np.load(folder / "image.npy"), np.load(folder / "label.npy")
    return [(images[i : i + BATCH], labels[i : i + BATCH]) for i in range(0, len(images), BATCH)]


def initial_weights(folder):
    return load_file(folder / "init.safetensors")


def peak_rss():
    """The high-water mark of this program alone (getrusage would count the program that started it)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def serve(step, data, ready):
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
        if command != "step":
            raise SystemExit(f"unknown command: {line}")
        seconds, losses, cpu = [], [], time.process_time()
        for _ in range(int(count[0])):
            start = time.perf_counter()
            losses.append(step(data[taken % len(data)]))
            seconds.append(time.perf_counter() - start)
            taken += 1
        answer({"seconds": seconds, "loss": losses, "cpu_seconds": time.process_time() - cpu})
