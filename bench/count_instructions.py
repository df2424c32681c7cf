#!/usr/bin/env python3
"""Counts instructions under valgrind's callgrind and compares them with instruction_counts.json; see README.md.

A count is what load on the machine cannot disturb. ONEDNN_MAX_CPU_ISA=AVX2: valgrind knows no AVX-512.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import compare

RECORDED = Path(__file__).resolve().parent / "instruction_counts.json"
TOLERANCE = 0.02
STEPS = {"tiny_mlp": 500}  # a step is the difference of so many and twice as many
STARTS = ["tiny_mlp", "seed", "mobilenet_v2"]


def count(command, answers=""):
    """Instructions of a whole process."""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *map(str, command)]
    result = subprocess.run(command, input=answers, env=environment, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode != 0 or not found:
        sys.exit(f"{' '.join(command)} failed:\n{result.stderr[-1500:]}")
    return int(found[1])


def counts(build, folder):
    worker = [build / "bench/step_bench", "--threads", 1]
    loading = count([*worker, "--help"])
    for name in STARTS:
        spec, plan = compare.MODELS[name].spec, folder / f"{name}.plan"
        yield f"{name}: compile", count([*worker, "--spec", spec, "--plan", plan]) - loading
        yield f"{name}: open the plan", count([*worker, "--plan", plan]) - loading
    for name, steps in STEPS.items():
        model = compare.MODELS[name]
        run, spec = compare.prepare(name, model, SimpleNamespace(build=build, work=folder))
        command = [*worker, "--spec", spec, "--run", run]
        once, twice = (count(command, f"step {number}\nquit\n") for number in (steps, 2 * steps))
        yield f"{name}: step", round((twice - once) / steps)


def compiler():
    version = subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout
    return version.splitlines()[0] if version else "unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write what is counted as the new record")
    parser.add_argument("--build", type=Path, default=compare.ROOT / "build/release", help="folder of the built programs")
    options = parser.parse_args()
    record = json.loads(RECORDED.read_text()) if RECORDED.exists() else {"counts": {}}
    found, changed = {}, []
    print("| instructions of | recorded | now | change |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, now in counts(options.build, Path(folder)):
            found[name], before = now, record["counts"].get(name)
            change = now / before - 1 if before else None
            if change is None or abs(change) > TOLERANCE:
                changed.append(name)
            told = f"{before:,} | {now:,} | {change:+.2%}" if before else f"- | {now:,} | new"
            print(f"| {name} | {told} |", flush=True)
    if options.record:
        RECORDED.write_text(json.dumps({"compiler": compiler(), "counts": found}, indent=2) + "\n")
    elif changed:
        if record.get("compiler") != compiler():
            print(f"recorded with {record.get('compiler')}, counted with {compiler()}", file=sys.stderr)
        sys.exit(f"more than {TOLERANCE:.0%} apart: {', '.join(changed)}; if that is meant: ./dev counts --record")


if __name__ == "__main__":
    main()
