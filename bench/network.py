"""A specification as both translators read it: layers in order, with what each reads, and the losses that are kept.

Needs nothing beside Python, and knows no layer type: that is the translators' affair (peer_keras.py, peer_pytorch.py).
What a peer has no way to compute as weir does is refused here or there, never left out.
"""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

LAYER_KEYS = {"name", "type", "from", "trainable", "training", "$comment"}
TERM_KEYS = {"type", "at", "target", "weight", "$comment"}


class Unsupported(Exception):
    """The peers cannot compute this specification."""


@dataclass
class Layer:
    name: str
    type: str
    reads: dict  # role, or a number in a list, → node
    settings: dict  # the type's own keys
    trainable: bool
    training: bool


@dataclass
class Term:
    name: str
    type: str
    at: str
    target: dict
    weight: float
    settings: dict


@dataclass
class Network:
    name: str
    inputs: dict  # name → {"shape", "dtype"}
    layers: list
    terms: list
    outputs: list
    optimizer: dict
    batch_size: int
    predicting: bool = False  # then the outputs are what is wanted, else the losses

    def wanted(self):
        """The nodes at the end, in order: the outputs, or what the kept terms look at."""
        if self.predicting:
            return self.outputs
        ends = [term.at for term in self.terms] + [term.target["node"] for term in self.terms if "node" in term.target]
        return list(dict.fromkeys(ends))

    def needed(self):
        """Layers in order that the wanted nodes need."""
        wanted, needed = set(self.wanted()), []
        for layer in reversed(self.layers):
            if layer.name in wanted:
                needed.insert(0, layer)
                wanted |= set(layer.reads.values())
        return needed

    def fed(self):
        """Inputs that have to be there, in the file's order."""
        read = {node for layer in self.needed() for node in layer.reads.values()} | set(self.wanted())
        if not self.predicting:
            read |= {term.target.get("input") for term in self.terms}
        return [name for name in self.inputs if name in read]


def without_comments(text):
    """JSON with // and /* */ comments as plain JSON; strings stay as they are."""
    keep_strings = lambda match: match.group(0) if match.group(0).startswith('"') else " "
    return re.sub(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', keep_strings, text, flags=re.DOTALL)


def refuse_other_keys(what, given, known):
    if other := sorted(set(given) - known):
        raise Unsupported(f"{what}: the peers do not know {', '.join(other)}")


def read_reads(entry, before):
    reads = entry.get("from", before)
    if isinstance(reads, str):
        reads = [reads]
    return reads if isinstance(reads, dict) else dict(enumerate(reads))


def in_order(layers, inputs):
    ready, waiting, ordered = set(inputs), list(layers), []
    while waiting:
        layer = next((layer for layer in waiting if set(layer.reads.values()) <= ready), None)
        if layer is None:
            raise Unsupported(f"{waiting[0].name}: reads a port, or a node that is not there")
        waiting.remove(layer)
        ordered.append(layer)
        ready.add(layer.name)
    return ordered


def read_layers(entries, inputs):
    floats = [name for name, given in inputs.items() if given.get("dtype", "f32") == "f32"]
    layers, before = [], floats[0] if len(floats) == 1 else None
    for entry in entries:
        settings = {key: value for key, value in entry.items() if key not in LAYER_KEYS}
        refuse_other_keys(entry["name"], {key for key in settings if key in ("share", "stop_gradient")}, set())
        reads = read_reads(entry, before)
        flags = [entry.get(flag, True) for flag in ("trainable", "training")]
        layers.append(Layer(entry["name"], entry["type"], reads, settings, *flags))
        before = entry["name"]
    return in_order(layers, inputs)


def read_terms(loss):
    refuse_other_keys("loss", loss, {"terms", "exclude", "unreached", "$comment"})
    excluded, terms = set(loss.get("exclude", [])), []
    for name, entry in loss["terms"].items():
        if name in excluded or entry["at"] in excluded or entry.get("weight") == 0:
            continue
        if not isinstance(entry.get("weight", 1), (int, float)):
            raise Unsupported(f"{name}: a weight that changes")
        if entry.get("target", {}).get("gradient"):
            raise Unsupported(f"{name}: a target that learns")
        settings = {key: value for key, value in entry.items() if key not in TERM_KEYS}
        terms.append(Term(name, entry["type"], entry["at"], entry.get("target", {}), entry.get("weight", 1), settings))
    return terms


def read(path):
    spec = json.loads(without_comments(Path(path).read_text()))
    if spec.get("numerics", "keras") != "keras":
        raise Unsupported(f"numerics {spec['numerics']}")
    inputs = {name: given for name, given in spec["inputs"].items() if name != "$comment"}
    layers = read_layers(spec["layers"], inputs)
    read_by_some = {node for layer in layers for node in layer.reads.values()}
    return Network(
        spec.get("name", Path(path).stem),
        inputs,
        layers,
        read_terms(spec["loss"]),
        spec.get("outputs", [layer.name for layer in layers if layer.name not in read_by_some]),
        spec["train"]["optimizer"],
        spec["train"].get("batch_size", 32),
    )


def main():
    """Says of each specification given whether the peers can compute it: a test, where there are no peers."""
    for path in sys.argv[1:]:
        net = read(path)
        fed, needed, nodes = net.fed(), net.needed(), set(net.inputs)
        for layer in needed:
            if not set(layer.reads.values()) <= nodes:
                sys.exit(f"{path}: {layer.name} reads what comes later")
            nodes.add(layer.name)
        if not fed or not needed or not set(net.wanted()) <= nodes:
            sys.exit(f"{path}: nothing is left of it")
        losses = ", ".join(term.name for term in net.terms)
        print(f"{net.name}: reads {', '.join(fed)}; {len(needed)} layers; losses {losses}")


if __name__ == "__main__":
    main()
