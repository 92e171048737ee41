#!/usr/bin/env python3
"""Rules of the tree that a compiler does not check: which layer may include which, how long functions and files may
be, words that announce unfinished work, commands that the README names.

layers.py [ROOT] [README...]    exit code 0 = all hold, 1 = complaints on stdout
"""
import os
import re
import sys

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800

# A folder and what it may include besides itself (DESIGN.md, "Folders are layers").  The longest match decides.
LAYERS = {
    "base": [],
    "featurestore": ["base/"],
    "ingest": ["base/", "featurestore/"],
    "learner": ["base/", "featurestore/example_log.h"],
    "learner/model": ["base/"],
    "scorer": ["base/", "learner/model/", "learner/version.h", "learner/snapshot.h"],
    "configs": ["base/", "featurestore/", "ingest/", "learner/"],
    "ops": ["base/", "featurestore/", "ingest/", "learner/", "scorer/", "configs/", "tests/bench/"],  # undine bench
}
LAYER_NAMES = ("base", "featurestore", "ingest", "learner", "scorer", "configs", "ops")

# Foreign headers that have one home, so that they can be exchanged.
HOMES = {
    "rocksdb/": {"featurestore/store.c"},
    "librdkafka/": {"ingest/source_kafka.c", "ingest/kafka_ask.c", "ingest/kafka_watch.c", "ops/kafka_producer.c", "ops/kafka_mock.c"},
    "simdjson": {"ingest/*.cc", "ops/json_tape.cc"},
    "microhttpd": {"ops/http.c", "ops/http_call.c", "ops/http_inside.h"},
    "yaml.h": {"configs/*.c", "ops/import_mapping.c"},
    "cblas.h": {"learner/blas.c"},
}

# Split, so that this file does not complain about itself.
UNFINISHED = re.compile(
    r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|\bplace" r"holder|\bfor " r"now\b|\bnot imple" r"mented|/(wo" r"rk|ro" r"ot)/",
    re.IGNORECASE)
TEXT = {".c", ".h", ".cc", ".cpp", ".py", ".sh", ".md", ".yaml", ".yml", ".cmake", ".html", ".js", ".service", ".json"}
SOURCE = {".c", ".h", ".cc", ".cpp"}


def tree(root):
    """Every file of the source tree, relative to root."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(d for d in folders if d not in ("build", ".git", ".cache", "__pycache__"))
        for name in sorted(names):
            yield os.path.relpath(os.path.join(folder, name), root)


def layer_of(path):
    folder = os.path.dirname(path)
    while folder:
        if folder in LAYERS:
            return folder
        folder = os.path.dirname(folder)
    return None


def at_home(path, homes):
    for home in homes:
        if "*" in home:
            prefix, suffix = home.split("*")
            if path.startswith(prefix) and path.endswith(suffix):
                return True
        elif path == home:
            return True
    return False


def check_includes(path, lines):
    layer = layer_of(path)
    if layer is None:
        return
    allowed = LAYERS[layer] + [layer + "/"]
    for n, line in enumerate(lines, 1):
        m = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if not m:
            continue
        name = m.group(2)
        if name.split("/")[0] in LAYER_NAMES and not any(name.startswith(a) for a in allowed):
            yield f"{path}:{n}: {layer}/ may not include {name}"
        for prefix, homes in HOMES.items():
            if name.startswith(prefix) and not at_home(path, homes):
                yield f"{path}:{n}: {name} is included only by {', '.join(sorted(homes))}"


def check_lengths(path, lines):
    if len(lines) > FILE_LINES_MAX:
        yield f"{path}: {len(lines)} lines, at most {FILE_LINES_MAX}"
    start = None
    for n, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = n
        elif line.startswith("}") and start is not None:
            if n - start - 1 > FUNCTION_LINES_MAX:
                yield f"{path}:{start}: function of {n - start - 1} lines, at most {FUNCTION_LINES_MAX}"
            start = None


def check_guard(path, text):
    """UNDINE_LAYER_NAME_H; the one public header is UNDINE_H."""
    if not path.endswith(".h") or layer_of(path) is None or path == "scorer/undine.h":
        return
    guard = "UNDINE_" + re.sub(r"[/.]", "_", path).upper()
    if f"#ifndef {guard}\n#define {guard}\n" not in text:
        yield f"{path}: the guard is not {guard}"


def check_own_header_first(path, root, lines):
    if not path.endswith(".c") or layer_of(path) is None:
        return
    own = path[:-1] + "h"
    if not os.path.exists(os.path.join(root, own)):
        return
    first = next((l for l in lines if l.startswith("#include")), "")
    if not first.startswith(f'#include "{path[:-2]}'):  # kernels.c may begin with kernels_isa.h
        yield f'{path}: the first include is not "{own}"'


def check_words(path, lines):
    for n, line in enumerate(lines, 1):
        if UNFINISHED.search(line):
            yield f"{path}:{n}: {line.strip()[:100]}"


def check_document(path, root, text):
    """Files that a document names by ./PATH or by a relative link are there."""
    for m in re.finditer(r"(?:^|[\s`$(])\./([A-Za-z0-9_][A-Za-z0-9_./-]*[A-Za-z0-9_])", text):
        name = m.group(1)
        if not name.startswith("build/") and not os.path.exists(os.path.join(root, name)):
            yield f"{path}: names ./{name}, which is not there"
    for m in re.finditer(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        if not os.path.exists(os.path.join(root, os.path.dirname(path), m.group(1))):
            yield f"{path}: links to {m.group(1)}, which is not there"


def check_commands(path, root, text):
    """`undine COMMAND` in a document is a command of the program's table."""
    table = os.path.join(root, "ops", "main.c")
    if not os.path.exists(table):
        return
    with open(table, encoding="utf-8") as f:
        known = set(re.findall(r'^\s*\{"([a-z-]+)",', f.read(), re.MULTILINE)) | {"help"}
    code = re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL) + re.findall(r"`[^`\n]+`", text)
    for name in re.findall(r"(?:^|[`/])undine ([a-z][a-z-]*)\b", "\n".join(code), re.MULTILINE):
        if name not in known:
            yield f"{path}: names the command `undine {name}`, which is not there"


def check(root):
    n = 0
    for path in tree(root):
        ext = os.path.splitext(path)[1]
        if ext not in TEXT and os.path.basename(path) != "CMakeLists.txt":
            continue
        n += 1
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
            text = f.read()
        lines = text.splitlines()
        if ext in SOURCE:
            yield from check_includes(path, lines)
            yield from check_lengths(path, lines)
            yield from check_guard(path, text)
            yield from check_own_header_first(path, root, lines)
        yield from check_words(path, lines)
        if ext == ".md":
            yield from check_document(path, root, text)
        if path in ("README.md", "CONTRIBUTING.md"):
            yield from check_commands(path, root, text)
    if n < 20:
        yield f"only {n} files found in {root}: the search is broken"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    complaints = list(check(root))
    print("\n".join(complaints + [f"{len(complaints)} complaints"]))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
