#!/usr/bin/env python3
"""Compares one training step in weir with the same step in Keras and PyTorch, model by model; with --predict, one
prediction, also in ONNX Runtime. See README.md.

Every program is a process of its own that waits for commands; slices of steps alternate, one program at a time, so what
disturbs the machine disturbs all of them. Parameter counts and losses must agree before anything is timed.
"""

import argparse
import array
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import network
from machine import Occupied, describe

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
REQUIREMENTS = BENCH / "requirements.txt"
PAUSE = 0.05  # seconds between slices: waiting threads of the last program have gone to sleep
FOREIGN_SHARE = 0.05  # a slice during which others took more of the CPUs than this is void
# Tuning that would be inherited; some of it slows the peers down.
FOREIGN = ("OPENBLAS_", "OMP_", "GOMP_", "KMP_", "MKL_", "DNNL_", "ONEDNN_", "TF_", "XLA_", "MALLOC_", "LD_PRELOAD")
# glibc gives large blocks back to the system at once and takes them again, page by page, in the next step.
KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
    "MALLOC_MMAP_MAX_": "0",
}
# What keeps every library to AVX2 on a machine that has AVX-512.
AVX2_ALONE = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}


@dataclass
class Model:
    spec: Path
    steps: int  # over which the losses are compared
    agreement: float  # of those losses, relatively
    run: Path | None = None  # recorded data and weights; made up where there is none
    first: float = 1e-5  # of the first loss; no update has come between
    batch: int | None = None  # another batch size than the specification's


MODELS = {
    "tiny_mlp": Model(BENCH / "models/tiny_mlp.weir.json", 50, 1e-3),
    "mlp_deep": Model(BENCH / "models/mlp_deep.weir.json", 6, 1e-3),
    "mlp_deep_32": Model(BENCH / "models/mlp_deep.weir.json", 6, 1e-3, batch=32),
    "seed": Model(ROOT / "tests/golden_runs/seed/model.weir.json", 10, 1e-4, ROOT / "tests/golden_runs/seed"),
    "seed_without_final": Model(
        ROOT / "tests/golden_runs/seed_without_final/model.weir.json", 10, 1e-4, ROOT / "tests/golden_runs/seed"
    ),
    "frozen_autoencoder": Model(BENCH / "models/frozen_autoencoder.weir.json", 50, 1e-3),
    "transformer_encoder": Model(ROOT / "models/transformer_encoder.weir.json", 50, 1e-3, batch=16),
    "resnet20": Model(BENCH / "models/resnet20.weir.json", 4, 1e-2),
    "resnet20_128": Model(BENCH / "models/resnet20.weir.json", 4, 1e-2, batch=128),
    "unet": Model(ROOT / "models/unet.weir.json", 4, 1e-3),
    "mobilenet_v2": Model(BENCH / "models/mobilenet_v2.weir.json", 2, 3e-2, first=3e-5),
}
KERAS = {"keras eager": "eager", "keras function": "function", "keras jit": "jit"}
PYTORCH = {
    "pytorch": "",
    "pytorch channels_last": "channels_last",
    "pytorch fused": "channels_last+fused",
    "pytorch compile": "channels_last+fused+compile",
}
PREDICTING = {
    "weir": None,
    "keras function": "function",
    "pytorch": "",
    "pytorch channels_last": "channels_last",
    "onnxruntime": "",
}
FIRST_STEPS = 5  # of predictions, before they are timed
OUTPUTS = 1e-4  # outputs agree to this, relatively to the largest
KEPT = " kept"  # the same with KEEP_MEMORY


class Failed(Exception):
    pass


class Disagreement(Exception):
    """Two programs compute different things: nothing of that model is timed."""


def cap(options):
    return AVX2_ALONE if options.avx2 else {}


def clean_environment():
    return {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}


class Worker:
    def __init__(self, name, command, cpus, logs, environment):
        self.name, self.slices, self.cpu, self.disturbed, self.repeated = name, [], 0.0, 0, 0
        self.output = None
        self.log = open(logs / f"{name.replace(' ', '_')}.log", "w+")
        environment = clean_environment() | environment
        environment["TORCHINDUCTOR_CACHE_DIR"] = str(logs / "compiled")  # or a first step finds what another run left
        if name.endswith(KEPT):
            environment |= KEEP_MEMORY
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
            raise Failed(f"{self.name} ended with {self.process.wait()}: {self.log.read().strip()[-1500:]}")
        return json.loads(line)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.answer()

    def take_first_steps(self, steps):
        """The losses to be compared. The first step, which may trace or compile, is timed on its own."""
        answer = self.ask(f"step {steps}")
        self.loss, self.first = answer["loss"], answer["seconds"][0]
        self.usual = statistics.median(answer["seconds"][1:])

    def time_slice(self, occupied, retakes):
        """A slice with other programs in it is taken again; after so many it stands, and is counted."""
        for attempt in range(retakes + 1):
            time.sleep(PAUSE)
            before = occupied.now()
            answer = self.ask(f"step {self.steps}")
            disturbed = occupied.by_others(before, answer["cpu_seconds"]) > FOREIGN_SHARE
            if not disturbed:
                break
            self.repeated += attempt < retakes
        self.disturbed += disturbed
        self.slices.append(answer["seconds"])
        self.cpu += answer["cpu_seconds"]

    def end(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def medians(self):
        return [statistics.median(slice) for slice in self.slices]


def peers_python(given):
    """Of the environment that was named, or of our own, which is installed where it is missing or old."""
    if given:
        return given / "bin/python"
    folder = ROOT / "build/peers"
    python, done = folder / "bin/python", folder / "requirements.txt"
    wanted = REQUIREMENTS.read_text() + (ROOT / "tests/reference/requirements.txt").read_text()
    if not done.exists() or done.read_text() != wanted:
        print(f"installing Keras, TensorFlow and PyTorch into {folder} (once; about 5 GB)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)], check=True)
        done.write_text(wanted)
    return python


# ---- what all programs run


def write_npy(path, dims, values, descr):
    header = str({"descr": descr, "fortran_order": False, "shape": tuple(dims)})
    header += " " * (63 - (len(header) + 10) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
        values.tofile(file)


def made_up(path, net, batches, classes):
    """Uniform numbers in [0, 1), classes where the input is i32; a function of the input's name alone."""
    for name in net.fed():
        given, draw = net.inputs[name], random.Random(name)
        dims = [batches * net.batch_size, *given["shape"]]
        count = 1
        for extent in dims:
            count *= extent
        if given.get("dtype") == "i32":
            values = array.array("i", (draw.randrange(classes[name]) for _ in range(count)))
        else:
            values = array.array("f", (draw.random() for _ in range(count)))
        write_npy(path / f"{name}.npy", dims, values, "<i4" if values.typecode == "i" else "<f4")


def prepare(name, model, options):
    """The folder with data and initial weights, and the specification."""
    if model.run:
        return model.run, model.spec
    folder = options.work / name
    folder.mkdir(parents=True, exist_ok=True)
    spec = json.loads(network.without_comments(model.spec.read_text()))
    path = model.spec
    if model.batch:
        spec["train"]["batch_size"] = model.batch
        path = folder / "model.weir.json"
        path.write_text(json.dumps(spec, indent=1) + "\n")
    net = network.read(path)
    data = spec["data"]["train"]
    classes = {key: data[key].get("classes") for key in net.fed() if isinstance(data.get(key), dict)}
    made_up(folder, net, 10 if net.batch_size > 8 else 4, classes)
    weights = folder / "init.safetensors"
    command = [options.build / "weir", "weights", "init", path, "-o", weights]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return folder, path


def programs(options):
    names = [*PREDICTING] if options.predict else ["weir", *KERAS]
    if not options.predict:
        for name in PYTORCH:
            names += [name, name + KEPT]
    for name in options.only or []:
        if name not in names:
            sys.exit(f"unknown: {name}; known: {', '.join(names)}")
    return [name for name in names if not options.only or name in options.only]


def is_of_images(net):
    return any(len(given["shape"]) == 3 for given in net.inputs.values())


def command_of(name, spec, run, options, python, threads, batch):
    known = PREDICTING if options.predict else KERAS | PYTORCH
    script = name.split()[0]
    command = [options.build / "bench/step_bench"] if name == "weir" else [python, "-B", BENCH / f"peer_{script}.py"]
    command += ["--spec", spec, "--run", run, "--threads", threads]
    if options.predict:
        command += ["--predict", batch]
    if name != "weir":
        command += ["--variant", known[name.removesuffix(KEPT)]]
    return [str(part) for part in command]


# ---- one model


def difference(losses, expected):
    return max(abs(one - other) / max(abs(other), 1e-9) for one, other in zip(losses, expected, strict=True))


def agree(model, base, worker):
    """Largest difference of the losses from the base's; ends the comparison where the two compute something else."""
    if worker.output:
        largest = max(map(abs, base.output))
        apart = max(abs(one - other) for one, other in zip(worker.output, base.output, strict=True)) / largest
        if not apart <= OUTPUTS:
            raise Disagreement(f"{worker.name} predicts something else than {base.name}: {apart} of the largest apart")
        return apart
    if worker.ready["parameters"] != base.ready["parameters"]:
        sizes = [f"{each.name} {each.ready['parameters']}" for each in (base, worker)]
        raise Disagreement("different numbers of parameters: " + ", ".join(sizes))
    first, following = difference(worker.loss[:1], base.loss[:1]), difference(worker.loss, base.loss)
    if not (first <= model.first and following <= model.agreement):
        raise Disagreement(f"{worker.name} computes something else: {worker.loss}, {base.name} {base.loss}")
    return following


def start_workers(model, spec, run, options, python, threads, batch, cpus, logs):
    """Those that run: some variants need a compiler, or memory, that the machine has not. The first must."""
    workers, failed = [], {}
    images = is_of_images(network.read(spec))
    for program in programs(options):
        if program.startswith("pytorch channels_last") and not images:
            continue  # the same as pytorch
        try:
            command = command_of(program, spec, run, options, python, threads, batch)
            worker = Worker(program, command, cpus, logs, cap(options))
            worker.take_first_steps(FIRST_STEPS if options.predict else model.steps)
            if options.predict:
                worker.output = worker.ask("output")["output"]
            workers.append(worker)
        except Failed as failure:
            if not workers:
                sys.exit(str(failure))
            failed[program] = str(failure)
            print(f"{program} does not run: {str(failure).splitlines()[-1][:200]}", file=sys.stderr)
    return workers, failed


def compare(name, options, python, threads, batch, logs):
    model, cpus = MODELS[name], set(sorted(os.sched_getaffinity(0))[-threads:])
    if len(cpus) < threads:
        sys.exit(f"{threads} threads need as many CPUs; this process may use {len(cpus)}")
    load = os.getloadavg()[0]
    run, spec = prepare(name, model, options)
    workers, failed = start_workers(model, spec, run, options, python, threads, batch, cpus, logs)
    try:
        agreement = {worker.name: agree(model, workers[0], worker) for worker in workers}
        time_in_turn(workers, options, Occupied(cpus))
        results = [summary(worker, workers, agreement[worker.name]) for worker in workers]
    finally:
        for worker in workers:
            worker.end()
    return {
        "model": name,
        "batch_size": batch or network.read(spec).batch_size,
        "threads": threads,
        "limit": None if options.predict else limit_of(spec, options, threads, cpus),
        "cpus": sorted(cpus),
        "load_average": load,
        "programs": results,
        "failed": failed,
    }


def limit_of(spec, options, threads, cpus):
    """What `weir bench` says: the share of a step that the machine's arithmetic and memory need at least."""
    command = [options.build / "weir", "bench", spec, "--threads", threads, "--json"]
    told = subprocess.run(
        [str(part) for part in command],
        check=True,
        capture_output=True,
        text=True,
        env=clean_environment() | cap(options),
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    measured = json.loads(told.stdout)
    return {"seconds": measured["seconds"], "limit_seconds": measured["limit_seconds"]}


def time_in_turn(workers, options, occupied):
    """A B C, A B C, …: as many steps a slice as fit into its time."""
    for worker in workers:
        worker.steps = max(1, round(options.slice / worker.usual))
        worker.ask(f"step {worker.steps}")  # warm
    for _ in range(options.rounds):
        for worker in workers:
            worker.time_slice(occupied, options.retakes)


def summary(worker, workers, agreement):
    own = worker.medians()
    versus = {other.name: [theirs / mine for theirs, mine in zip(other.medians(), own)] for other in workers}
    return {
        "name": worker.name,
        "ready": worker.ready,
        "first_step_seconds": worker.first,
        "loss_difference": agreement,
        "losses": worker.loss,
        "peak_rss": worker.ask("memory")["peak_rss"],
        "median_ms": 1e3 * statistics.median(own),
        "min_ms": 1e3 * min(map(min, worker.slices)),
        "max_slice_ms": 1e3 * max(own),
        "cpu_ms": 1e3 * worker.cpu / sum(map(len, worker.slices)),
        "busy_cpus": worker.cpu / sum(map(sum, worker.slices)),
        "disturbed_slices": worker.disturbed,
        "repeated_slices": worker.repeated,
        "ratios": {
            name: {"least": min(ratios), "median": statistics.median(ratios), "most": max(ratios)}
            for name, ratios in versus.items()
        },
        "seconds": worker.slices,
    }


# ---- what is told


def best_peer(result):
    peers = [program for program in result["programs"] if program["name"] != "weir"]
    return min(peers, key=lambda program: program["median_ms"], default=None)


def span(ratio):
    return f"{ratio['median']:.2f} ({ratio['least']:.2f} … {ratio['most']:.2f})"


def detail(result):
    """One table a model: every program."""
    first = result["programs"][0]["name"]
    lines = [
        f"### {result['model']}, batch {result['batch_size']}, {threads_text(result['threads'])}",
        "",
        f"| program | median | least | CPU time | busy CPUs | time / {first}'s: median (least … most) "
        "| peak memory | ready after | first step | disturbed |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for program in result["programs"]:
        own = result["programs"][0]["ratios"][program["name"]]
        lines.append(
            f"| {program['name']} | {milliseconds(program['median_ms'])} | {milliseconds(program['min_ms'])} "
            f"| {milliseconds(program['cpu_ms'])} | {program['busy_cpus']:.2f} | {span(own)} "
            f"| {program['peak_rss'] / 1e6:.0f} MB | {program['ready']['start_seconds']:.2f} s "
            f"| {program['first_step_seconds']:.3f} s | {program['disturbed_slices']} of {len(program['seconds'])} |"
        )
    lines += [f"\n{name} does not run here." for name in result["failed"]]
    return "\n".join(lines)


def overview(results):
    """One line a model: weir beside the fastest peer."""
    lines = [
        "| model | batch | threads | weir | fastest peer | its median | its time / weir's "
        "| of the limit | weir's memory | its memory |",
        "|---|---:|---:|---:|---|---:|---:|---:|---:|---:|",
    ]
    for result in results:
        own, peer = result["programs"][0], best_peer(result)
        if own["name"] != "weir" or peer is None:
            continue
        lines.append(
            f"| {result['model']} | {result['batch_size']} | {result['threads']} | {milliseconds(own['median_ms'])} "
            f"| {peer['name']} | {milliseconds(peer['median_ms'])} | {span(own['ratios'][peer['name']])} "
            f"| {share_of_limit(result)} | {own['peak_rss'] / 1e6:.0f} MB | {peer['peak_rss'] / 1e6:.0f} MB |"
        )
    return "\n".join(lines)


def share_of_limit(result):
    return f"{result['limit']['limit_seconds'] / result['limit']['seconds']:.2f}" if result["limit"] else "-"


def milliseconds(value):
    return f"{value:.3f} ms" if value < 1 else f"{value:.2f} ms" if value < 100 else f"{value:.0f} ms"


def threads_text(threads):
    return "1 thread" if threads == 1 else f"{threads} threads"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*MODELS]
    parser.add_argument("--model", nargs="+", choices=known, default=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--predict", action="store_true", help="time predictions instead of training steps")
    parser.add_argument("--batch-size", type=int, nargs="+", default=[1, 32], help="of predictions")
    parser.add_argument("--json", type=Path, help="also write everything measured to this file")
    parser.add_argument("--only", action="append", metavar="PROGRAM", help="weir, 'keras jit', … (repeatable)")
    parser.add_argument("--avx2", action="store_true", help="keep every program to AVX2")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--slice", type=float, default=0.4, metavar="SECONDS", help="of one program before the next")
    parser.add_argument("--retakes", type=int, default=3, help="of a slice that others disturbed")
    parser.add_argument("--build", type=Path, default=ROOT / "build/release", help="folder of the built programs")
    parser.add_argument("--peers", type=Path, help="virtual environment with the peers, used as it is")
    parser.add_argument("--work", type=Path, default=ROOT / "build/bench", help="data and initial weights")
    return parser.parse_args()


def main():
    options = parse()
    peers_wanted = any(name != "weir" for name in programs(options))
    python = peers_python(options.peers) if peers_wanted else None
    machine, results, disagreements = describe(), [], []
    if machine["load_average"] > 0.3:
        load = machine["load_average"]
        print(f"load average {load:.2f}: other programs are running; nothing here is worth quoting", file=sys.stderr)
    with tempfile.TemporaryDirectory() as logs:
        for name in options.model:
            sizes = options.batch_size if options.predict else [None]
            for threads, batch in itertools.product(options.threads, sizes):
                print(f"{name}, {threads_text(threads)} …", file=sys.stderr)
                try:
                    results.append(compare(name, options, python, threads, batch, Path(logs)))
                except Disagreement as disagreement:
                    disagreements.append(f"{name}, {threads_text(threads)}: {disagreement}")
                    print(disagreements[-1], file=sys.stderr)
    programs_run = [program for result in results for program in result["programs"]]
    versions = {key: value for program in programs_run for key, value in program["ready"]["versions"].items()}
    if options.json:
        settings = {"rounds": options.rounds, "avx2": options.avx2}
        raw = {"machine": machine, "versions": versions, **settings, "results": results}
        options.json.write_text(json.dumps(raw, indent=1) + "\n")
    what = "prediction" if options.predict else "training step"
    print(f"One {what}; {options.rounds} rounds of slices of {options.slice:g} s, in turn.")
    vector = "avx2 alone" if options.avx2 else machine["vector"]
    where = f"{machine['cpu']}, {machine['cpus']} CPUs, {vector}, load average {machine['load_average']:.2f}"
    print(f"{where}; " + ", ".join(f"{key} {value}" for key, value in versions.items()))
    for result in results:
        print("\n" + detail(result))
    print("\n" + overview(results))
    if disagreements:
        sys.exit("\nnot timed, because the programs compute different things:\n" + "\n".join(disagreements))


if __name__ == "__main__":
    main()
