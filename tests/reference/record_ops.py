#!/usr/bin/env python3
"""Records what Keras 3 (TensorFlow backend) computes for each op, one JSON file an op. See README.md.

usage: record_ops.py [OP...]     (writes beside this file; without names, every op)
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import tensorflow as tf

import layer_cases
import loss_cases
import metric_cases
import update_cases
import window_cases
from recording import record, text

tf.get_logger().setLevel("ERROR")
FOLDER = Path(__file__).parent
MODULES = [
    ("layer", window_cases),
    ("layer", layer_cases),
    ("loss", loss_cases),
    ("metric", metric_cases),
    ("update", update_cases),
]
LARGEST = 60_000  # bytes a file


def main(names):
    known = {op: (role, make) for role, module in MODULES for op, make in module.CASES.items()}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    for op in names or known:
        role, make = known[op]
        cases = make() if role == "update" else [record(case) for case in make()]
        duplicate = {case["name"] for case in cases if sum(other["name"] == case["name"] for other in cases) > 1}
        if duplicate:
            raise RuntimeError(f"{op}: two cases are called {duplicate}")
        source = f"keras {keras.__version__} tensorflow {tf.__version__}"
        content = text({"op": op, "role": role, "source": source, "cases": cases}) + "\n"
        if len(content) > LARGEST:
            raise RuntimeError(f"{op}: {len(content)} bytes, at most {LARGEST}")
        (FOLDER / f"{op}.json").write_text(content)
        print(f"{op}: {len(cases)} cases, {len(content)} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
