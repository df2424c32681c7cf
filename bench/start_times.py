#!/usr/bin/env python3
"""What weir takes until the first step: compiling a specification, and opening a plan; see README.md.

Every measurement is a process of its own, because a second compilation in one process finds what the library has kept.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import compare
from machine import describe

BARS = {"seed": 100, "mobilenet_v2": 500}  # milliseconds that compiling may take
OPENING = 50  # milliseconds


def command_line(options, threads, *more):
    return [str(part) for part in [options.build / "bench/step_bench", "--threads", threads, *more]]


def parts_of(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def wall_of(command):
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def measure(name, options, threads, folder):
    """Milliseconds of each part: median and least."""
    spec, plan = compare.MODELS[name].spec, folder / f"{name}.plan"
    weir = [str(part) for part in [options.build / "weir", "compile", spec, "-o", plan, "--threads", threads]]
    found = {}
    for _ in range(options.rounds):
        seconds = parts_of(command_line(options, threads, "--spec", spec, "--plan", plan))
        seconds |= parts_of(command_line(options, threads, "--plan", plan, "--steps"))
        seconds |= {"weir compile": wall_of(weir), "weir --version": wall_of([weir[0], "--version"])}
        seconds["open"] = seconds["read"] + seconds["session"]
        seconds["primitives"] = seconds["first step"] - seconds["second step"]
        for part, value in seconds.items():
            found.setdefault(part, []).append(1e3 * value)
    return {part: (statistics.median(values), min(values)) for part, values in found.items()}


def row(name, threads, found):
    columns = ["compile", "write", "read", "session", "open", "primitives", "weir compile", "weir --version"]
    cells = [f"{found[part][0]:.1f} ({found[part][1]:.1f})" for part in columns]
    bars = f"{BARS.get(name, '-')} / {OPENING}"
    return f"| {name} | {threads} | " + " | ".join(cells) + f" | {bars} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*compare.MODELS]
    parser.add_argument("--model", nargs="+", choices=known, default=["tiny_mlp", *BARS], metavar="NAME")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--build", type=Path, default=compare.ROOT / "build/release", help="folder of the built programs")
    options = parser.parse_args()
    machine = describe()
    if machine["load_average"] > 0.3:
        load = machine["load_average"]
        print(f"load average {load:.2f}: other programs are running; look at the least times", file=sys.stderr)
    print(f"Milliseconds, median (least) of {options.rounds} processes; {machine['cpu']}, {machine['vector']}.\n")
    print("| model | threads | compile | write plan | read plan | session | read + session "
          "| first step - second | `weir compile` | `weir --version` | may take: compile / open |")
    print("|---|" + "---:|" * 10)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.model:
            for threads in options.threads:
                print(row(name, threads, measure(name, options, threads, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
