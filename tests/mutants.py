#!/usr/bin/env python3
"""Would the tests notice a wrong gradient? Breaks one gradient rule at a time and looks whether a test fails.

All mutants are compiled into one copy of the sources; WEIR_MUTANT=k in the environment switches the k-th on, so that
there is one build for all of them. Mutated are, in the ops' double-precision references and in our kernels, the
expressions that gradients consist of (sign, factor, dropped term), the operands that a gradient node is given (wrong
operand), and a few lines of the passes that add gradients up and route them (RULES).

    ./dev mutants [--list] [--only EXPRESSION] [--build FOLDER]

A mutant is caught where the tests end with anything but success. Those that no test caught are printed, and the exit
code is 1 then.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ["compiler", "runtime", "tests", "models", "schemas", "docs", "bench", "examples"]
FILES = ["CMakeLists.txt", "CMakePresets.json", "README.md", "dev", ".clang-format"]
# Where most mutants die, so that they do so quickly; the whole suite decides about the others.
ABOUT_SOURCES = "--source-file-exclude=*layering_test.cpp,*docs_test.cpp"  # they see that mutants are no good style
FIRST = ["op_examples", "op_numbers", "loss_numbers", "loss_kernels", "elementwise_kernels", "routing", "verify"]

SWITCH = """// Written by tests/mutants.py.
#pragma once
#include <string>
#include <vector>
namespace weir_mutants {
extern const int active;
/// The expression; its negative, double and zero are the mutants first, first + 1, first + 2.
template <class T> __attribute__((always_inline)) inline T changed(int first, T x) {
  return active == first ? static_cast<T>(-x) : active == first + 1 ? static_cast<T>(2 * x)
         : active == first + 2 ? T{} : x;
}
template <class Text>
Text expression(int first, Text right) {
  return active == first ? "0 - (" + right + ")" : active == first + 1 ? "2 * (" + right + ")" : right;
}
inline std::vector<int> either(int mutant, std::vector<int> right, std::vector<int> wrong) {
  return active == mutant ? wrong : right;
}
}
"""
DEFINITION = """
#include <cstdlib>
namespace weir_mutants {
extern const int active;
const int active = std::getenv("WEIR_MUTANT") ? std::atoi(std::getenv("WEIR_MUTANT")) : 0;
}
"""

# Lines of the passes: file, what stands there, what stands there in the mutant ($ is its switch).
RULES = [
    ("compiler/passes/routing.cpp", "graph.at(value).stop_gradient ||", "(!$ && graph.at(value).stop_gradient) ||"),
    ("compiler/passes/routing.cpp", "|| term.stop_at.contains(value)", "|| (!$ && term.stop_at.contains(value))"),
    ("compiler/passes/routing.cpp", "!parameter.trainable ||", "(!$ && !parameter.trainable) ||"),
    ("compiler/passes/routing.cpp", "term.skip.contains(parameter.layer)",
     "(!$ && term.skip.contains(parameter.layer))"),
    ("compiler/passes/routing.cpp", "term.only.contains(parameter.layer);",
     "($ || term.only.contains(parameter.layer));"),
    ("compiler/passes/differentiate.cpp", "contributions_[key].push_back(made[i]);",
     "if (!$ || contributions_[key].empty()) contributions_[key].push_back(made[i]);"),
    ("compiler/passes/differentiate.cpp", "for (int signature : signatures) pass_on(id, signature);",
     "for (int signature : signatures) if (!$ || signature == signatures.front()) pass_on(id, signature);"),
    ("compiler/passes/measure.cpp",
     "if (term.stop_at.contains(term.at)) term.stop_at.insert(term.prediction);",
     "if (!$ && term.stop_at.contains(term.at)) term.stop_at.insert(term.prediction);"),
]


class Mutants:
    def __init__(self):
        self.descriptions = {}  # number -> "file:line: what"

    def add(self, path, text, position, what):
        number = len(self.descriptions) + 1
        line = text.count("\n", 0, position) + 1
        self.descriptions[number] = f"{path}:{line}: {what}"
        return number


def closing(text, opening, pair):
    depth = 0
    for i in range(opening, len(text)):
        depth += (text[i] == pair[0]) - (text[i] == pair[1])
        if depth == 0:
            return i
    raise ValueError("unbalanced")


FUNCTION = re.compile(r"\b(\w+|operator\(\))\(([^(){};]*)\)\s*(?:const\s*)?(?:override\s*)?\{")


def bodies(text, wanted):
    """(name, start, end) of the bodies of functions whose name is wanted."""
    for match in FUNCTION.finditer(text):
        name = match.group(1)
        if name in ("if", "for", "while", "switch") or not wanted(name):
            continue
        start = match.end() - 1
        yield name, start + 1, closing(text, start, "{}")


def is_gradient_rule(path, name):
    if name.endswith("_infer") or name.startswith(("check", "validate", "create", "lower")):
        return False  # what stands in a gradient's own lowering (gradient_lower) is a rule
    stem = path.stem
    if path.parts[0] == "runtime":
        whole_file = stem.endswith("_gradient") or "backward" in stem or stem in ("adam", "sgd")
        return whole_file or "slope" in name or name == "gradient"
    return "slope" in name or "gradient" in name or (name.endswith("_reference") and "loss" not in name)


EXPRESSION = re.compile(
    r"return (?P<returned>[^;{}\"]+);"
    r"|(?P<left>\b[\w.]+(?:\(\"\w+\"\))?\[[^;={}]*\]|\bsum) (?P<operator>=|\+=|-=) (?P<assigned>[^;={}\"][^;{}\"]*);")
POINTWISE = re.compile(r'\.set\("expression", ("[^"]+")\)')
SYMMETRIC = {"exponential_gradient"}  # a product of its two operands: exchanged, they give the same
EMISSION = re.compile(r"c\.emit\((\w+),\s*\{([^{}]*)\}")
# Not a number, or the same whatever is done to it.
NOTHING = re.compile(r"^(0|0\.0f?|true|false|gradient|result|nullptr|x|row|none|!.*|static_cast<std::int64_t>.*)$")
NOT_NUMBERS = re.compile(r"[<>=!]=|&&|\|\|(?!.*\?)|\bKernelBuilder\b|\bstd::string\b|\[&|\[=|make_unique")


def operands(text):
    parts, depth, last = [], 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append(text[last:i].strip())
            last = i + 1
    return parts + [text[last:].strip()]


def mutate_expression(match, path, text, offset, mutants):
    returned = match.group("returned")
    expression = returned or match.group("assigned")
    if returned and returns_nothing(text, offset) or NOTHING.match(expression.strip()) or (NOT_NUMBERS.search(expression) and "?" not in expression):
        return match.group(0)
    position = offset + match.start()
    short = " ".join(match.group(0).split())
    first = mutants.add(path, text, position, f"sign of '{short}'")
    mutants.add(path, text, position, f"factor 2 on '{short}'")
    mutants.add(path, text, position, f"'{short}' dropped")
    changed = f"::weir_mutants::changed({first}, ({expression}))"
    if returned:
        return f"return {changed};"
    return f"{match.group('left')} {match.group('operator')} {changed};"


def mutate_pointwise(match, path, text, offset, mutants):
    first = mutants.add(path, text, offset + match.start(), f"sign of {match.group(1)}")
    mutants.add(path, text, offset + match.start(), f"factor 2 on {match.group(1)}")
    return f'.set("expression", ::weir_mutants::expression({first}, std::string({match.group(1)})))'


def mutate_emission(match, path, text, offset, mutants):
    given = operands(match.group(2))
    if len(given) < 2 or match.group(1) in SYMMETRIC:
        return match.group(0)
    swapped = [given[1], given[0]] + given[2:]
    number = mutants.add(path, text, offset + match.start(), f"operands of {match.group(1)} exchanged")
    lists = f"{{{', '.join(given)}}}, {{{', '.join(swapped)}}}"
    return f"c.emit({match.group(1)}, ::weir_mutants::either({number}, {lists})"


def mutated(path, text, mutants):
    result, last = [], 0
    for name, start, end in bodies(text, lambda name: is_gradient_rule(path, name)):
        if start < last:
            continue  # inside the body before
        body = text[start:end]
        if 'result("value")' in body:
            continue  # the loss itself
        if returns_numbers(text, start):
            body = EXPRESSION.sub(lambda m: mutate_expression(m, path, text, start, mutants), body)
        body = POINTWISE.sub(lambda m: mutate_pointwise(m, path, text, start, mutants), body)
        body = EMISSION.sub(lambda m: mutate_emission(m, path, text, start, mutants), body)
        result += [text[last:start], body]
        last = end
    return "".join(result + [text[last:]])


def head_of(text, start):
    return text[text.rfind("\n", 0, text.rfind("(", 0, start)) + 1:start]


def returns_nothing(text, start):
    return re.search(r"\bvoid\s+\w+\(", head_of(text, start)) is not None


def returns_numbers(text, start):
    head = head_of(text, start)
    return not re.search(r"\b(bool|int64_t|Dims|string|Denominator|KernelBuilder|OpDef|CrossentropyFormula)\s+\w+\(", head)


def write_mutants(target):
    mutants = Mutants()
    for folder in FOLDERS:
        if (ROOT / folder).exists():
            shutil.copytree(ROOT / folder, target / folder, dirs_exist_ok=True)
    for name in FILES:
        shutil.copy2(ROOT / name, target / name)
    sources = sorted([*(ROOT / "compiler/ops").glob("*.?pp"), *(ROOT / "runtime/kernels").glob("*.?pp")])
    for source in sources:
        path = source.relative_to(ROOT)
        (target / path).write_text(mutated(path, source.read_text(), mutants))
    for path, old, new in RULES:
        text = (target / path).read_text()
        if old not in text:
            sys.exit(f"mutants.py: {path} no longer holds: {old}")
        number = mutants.add(path, text, text.index(old), new.replace("$", "mutant"))
        (target / path).write_text(text.replace(old, new.replace("$", f"(::weir_mutants::active == {number})"), 1))
    (target / "mutants.hpp").write_text(SWITCH)
    error = target / "runtime/error.cpp"
    error.write_text(error.read_text() + DEFINITION)
    return mutants.descriptions


def build(folder, source):
    jobs = str(os.cpu_count() or 2)
    flags = f"-O1 -include {source}/mutants.hpp"
    subprocess.run(["cmake", "-S", source, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                    f"-DCMAKE_CXX_FLAGS_RELEASE={flags}", "-DWEIR_WERROR=OFF",
                    f"-DCMAKE_PREFIX_PATH={ROOT}/build/onednn"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", folder, "--parallel", jobs, "--target", "weir_tests"], check=True)


def passes(program, source, number, arguments):
    """Whether the tests pass; more than half an hour is a failure too."""
    environment = dict(os.environ, WEIR_MUTANT=str(number), OMP_WAIT_POLICY="passive")
    try:
        run = subprocess.run([program, "--abort-after=1", ABOUT_SOURCES, *arguments], cwd=source, env=environment,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=1800, check=False)
        return run.returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--list", action="store_true", help="only print the mutants")
    parser.add_argument("--only", default="", help="mutants whose description this regular expression finds")
    parser.add_argument("--build", type=Path, default=ROOT / "build/mutants", help="where to copy and build")
    options = parser.parse_args()
    source = options.build / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    descriptions = {k: v for k, v in write_mutants(source).items() if re.search(options.only, v)}
    if options.list:
        for number, what in descriptions.items():
            print(number, what)
        return 0
    build(options.build / "tree", source)
    program = options.build / "tree/tests/weir_tests"
    if not passes(program, source, 0, []):
        sys.exit("mutants.py: the tests fail without any mutant")
    first = ["--source-file=" + ",".join(f"*{name}_test.cpp" for name in FIRST)]
    survivors = []
    for done, (number, what) in enumerate(descriptions.items(), 1):
        caught = not passes(program, source, number, first) or not passes(program, source, number, [])
        if not caught:
            survivors.append(what)
        print(f"{done}/{len(descriptions)} {'caught ' if caught else 'ALIVE  '} {what}", flush=True)
    print(f"{len(descriptions) - len(survivors)} of {len(descriptions)} mutants caught")
    for what in survivors:
        print("not caught:", what)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
