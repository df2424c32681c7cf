#!/usr/bin/env python3
"""Compares one training step of the seed in weir with the same step in Keras and PyTorch. See README.md.

Every program is a process of its own that waits for commands; slices of steps alternate, one program at a time, so what
disturbs the machine disturbs all of them. Losses must agree before anything is timed.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
RUN = ROOT / "tests/golden_runs/seed"
REQUIREMENTS = ROOT / "tests/reference/requirements.txt"
CHECKED_STEPS, AGREEMENT = 10, 1e-4
PAUSE = 0.05  # seconds between slices: waiting threads of the last program have gone to sleep
# Tuning that would be inherited; some of it slows the peers down.
FOREIGN = ("OPENBLAS_", "OMP_", "GOMP_", "KMP_", "MKL_", "DNNL_", "ONEDNN_", "TF_", "MALLOC_", "LD_PRELOAD")


class Worker:
    def __init__(self, name, command, cpus, logs):
        self.name, self.slices, self.cpu = name, [], 0.0
        self.log = open(logs / f"{name.replace(' ', '_')}.log", "w+")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )
        self.ready = self.answer()["ready"]

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            sys.exit(f"{self.name} ended with {self.process.wait()}:\n{self.log.read()[-4000:]}")
        return json.loads(line)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.answer()

    def time_slice(self, steps):
        answer = self.ask(f"step {steps}")
        self.slices.append(answer["seconds"])
        self.cpu += answer["cpu_seconds"]

    def end(self):
        self.process.stdin.write("quit\n")
        self.process.stdin.close()
        self.process.wait()

    def medians(self):
        return [statistics.median(slice) for slice in self.slices]


def install_peers(folder):
    python = folder / "bin/python"
    done = folder / "requirements.txt"
    if not done.exists() or done.read_text() != REQUIREMENTS.read_text():
        print(f"installing Keras, TensorFlow and PyTorch into {folder} (once; about 5 GB)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)], check=True)
        done.write_text(REQUIREMENTS.read_text())
    return python


def commands(options, python, threads):
    """Name and command of each program, in the order of a round."""
    of_peer = lambda script, *more: [
        str(python),
        "-B",
        str(BENCH / script),
        "--run",
        str(RUN),
        "--threads",
        str(threads),
        *more,
    ]
    known = {
        "weir": [str(options.program), "--spec", str(options.spec), "--run", str(RUN), "--threads", str(threads)],
        "keras": of_peer("peer_keras.py"),
        "keras inter_op=1": of_peer("peer_keras.py", "--variant", "1"),
        "pytorch default": of_peer("peer_pytorch.py", "--variant", "default"),
        "pytorch channels_last": of_peer("peer_pytorch.py", "--variant", "channels_last"),
    }
    wanted = options.only or [name for name in known if name != "keras inter_op=1"]
    if unknown := [name for name in wanted if name not in known]:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return {name: known[name] for name in wanted}


def check_losses(worker):
    expected = [json.loads(line)["loss"]["total"] for line in (RUN / "expected.jsonl").read_text().splitlines()]
    losses = worker.ask(f"step {CHECKED_STEPS}")["loss"]
    worst = max(abs(loss - wanted) / abs(wanted) for loss, wanted in zip(losses, expected[:CHECKED_STEPS], strict=True))
    if not worst <= AGREEMENT:
        sys.exit(f"{worker.name} computes something else: losses {losses}, recorded {expected}")
    return worst


def compare(options, python, threads, logs):
    cpus = set(sorted(os.sched_getaffinity(0))[-threads:])
    if len(cpus) < threads:
        sys.exit(f"{threads} threads need as many CPUs; this process may use {len(cpus)}")
    load = os.getloadavg()[0]
    if load > 0.3:
        print(
            f"load average {load:.2f}: other programs are running; figures may be off, ratios less so", file=sys.stderr
        )
    workers = []
    for name, command in commands(options, python, threads).items():
        workers.append(Worker(name, command, cpus, logs))
    agreement = {worker.name: check_losses(worker) for worker in workers}
    for worker in workers:
        worker.ask(f"step {options.warm_up}")
    for _ in range(options.rounds):
        for worker in workers:
            time.sleep(PAUSE)
            worker.time_slice(options.steps)
    results = [summary(worker, workers, agreement[worker.name]) for worker in workers]
    for worker in workers:
        worker.end()
    return {"threads": threads, "cpus": sorted(cpus), "load_average": load, "programs": results}


def summary(worker, workers, agreement):
    base = next((other for other in workers if other.name == "keras"), workers[0])
    ratios = [theirs / own for theirs, own in zip(base.medians(), worker.medians())]
    return {
        "name": worker.name,
        "ready": worker.ready,
        "loss_difference": agreement,
        "peak_rss": worker.ask("memory")["peak_rss"],
        "median_ms": 1e3 * statistics.median(worker.medians()),
        "min_ms": 1e3 * min(map(min, worker.slices)),
        "max_slice_ms": 1e3 * max(worker.medians()),
        "cpu_ms": 1e3 * worker.cpu / sum(map(len, worker.slices)),
        "busy_cpus": worker.cpu / sum(map(sum, worker.slices)),
        "ratio": {"of": base.name, "min": min(ratios), "median": statistics.median(ratios), "max": max(ratios)},
        "slice_medians_ms": [1e3 * value for value in worker.medians()],
    }


def table(result):
    base = result["programs"][0]["ratio"]["of"]
    plural = "s" if result["threads"] > 1 else ""
    ratio_title = f"time of {base} / own: median (least … most)"
    lines = [
        f"{result['threads']} thread{plural}, load average {result['load_average']:.2f} before",
        "",
        f"| program | step, median | least | CPU time | busy CPUs | {ratio_title} | peak memory | ready after |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for program in result["programs"]:
        ratio = program["ratio"]
        lines.append(
            f"| {program['name']} | {program['median_ms']:.2f} ms | {program['min_ms']:.2f} ms "
            f"| {program['cpu_ms']:.2f} ms | {program['busy_cpus']:.2f} "
            f"| {ratio['median']:.2f} ({ratio['min']:.2f} … {ratio['max']:.2f}) "
            f"| {program['peak_rss'] / 1e6:.0f} MB | {program['ready']['start_seconds']:.2f} s |"
        )
    return "\n".join(lines)


def cpu_model():
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} CPUs"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--program", type=Path, default=ROOT / "build/release/bench/step_bench", help="the built step_bench"
    )
    parser.add_argument(
        "--spec", type=Path, default=RUN / "model.weir.json", help="for weir; computes what the recorded run does"
    )
    parser.add_argument(
        "--peers", type=Path, default=ROOT / "build/peers", help="virtual environment of the peers; made if missing"
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="weir, keras, 'pytorch default', … (repeatable); default: all"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20, help="of a slice")
    parser.add_argument("--warm-up", type=int, default=20, help="steps before timing")
    parser.add_argument("--json", type=Path, help="also write everything measured to this file")
    options = parser.parse_args()
    if (not options.only or "weir" in options.only) and not options.program.exists():
        sys.exit(f"{options.program} is not built; build it, or name the programs to compare with --only")
    return options


def main():
    options = parse()
    python = install_peers(options.peers)
    with tempfile.TemporaryDirectory() as logs:
        results = [compare(options, python, threads, Path(logs)) for threads in options.threads]
    versions = {key: value for program in results[0]["programs"] for key, value in program["ready"]["versions"].items()}
    print(
        f"One training step of the seed, batch 32, Adam; {options.rounds} rounds of {options.steps} steps each, in turn."
    )
    print(f"{cpu_model()}; " + ", ".join(f"{key} {value}" for key, value in versions.items()))
    for result in results:
        print("\n" + table(result))
    if options.json:
        options.json.write_text(
            json.dumps({"cpu": cpu_model(), "versions": versions, "results": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
