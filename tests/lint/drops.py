#!/usr/bin/env python3
"""Nothing is dropped in silence: the markers `DROP(name)` in the source and the table "Whatever is left out or removed"
of docs/reliability.md name the same places; each row has a counter that a user can read and a test that is there; and
no counter of this sort is raised without a marker beside it.

drops.py [ROOT]    exit code 0 = all hold, 1 = complaints on stdout
"""
import os
import re
import sys

PAGE = "docs/reliability.md"
FOLDERS = ("base", "featurestore", "ingest", "learner", "scorer", "configs", "ops")
MARKER = re.compile(r"\bDROP\(([a-z_]+)\)")
# What is raised where something goes: such a line has a marker on it or on one of the three before.
RAISED = re.compile(r"(?:dropped|skipped|refused|ignored|malformed|filtered|late|duplicate|orphan|sampled_out|expired|evicted|"
                    r"forgotten|not_finite|losses|steps_empty|steps_dropped)\b(?:\[[^]]*\])?\s*(?:\+\+|\+=)")
NEAR = 3
# Sums of counters that are marked where they are raised, and what counts other things.
DERIVED = re.compile(r"_by_kind|_by_reason|stats\.values_|n_losses|v->out->|sums\.ignored")


def sources(root):
    for folder in FOLDERS:
        for path, folders, names in os.walk(os.path.join(root, folder)):
            folders.sort()
            for name in sorted(names):
                if name.endswith((".c", ".cc", ".h")):
                    yield os.path.relpath(os.path.join(path, name), root)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        return f.read()


def table(text):
    """name -> (counters, tests) of each row; and the complaints about rows."""
    rows, wrong = {}, []
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split(" | ")]
        name = re.fullmatch(r"`DROP\(([a-z_]+)\)`", cells[0])
        if name is None:
            continue
        if len(cells) != 4:
            wrong.append(f"{PAGE}: the row of {name[1]} has {len(cells)} cells, expected 4")
            continue
        if name[1] in rows:
            wrong.append(f"{PAGE}: {name[1]} has two rows")
        rows[name[1]] = (re.findall(r"`([^`]+)`", cells[2]), re.findall(r"`([^`]+)`", cells[3]))
    return rows, wrong


def check_counter(root, name, counter):
    if counter.startswith("undine_"):
        if f"| `{counter}` |" not in read(root, "docs/metrics.md"):
            yield f"{PAGE}: {name}: docs/metrics.md has no `{counter}`"
        return
    printed = re.compile(r'"[^"\n]*(?:\\"[^"\n]*)*\b' + re.escape(counter) + r'\b[^\n]*"')
    if not any(printed.search(read(root, path)) for path in sources(root) if path.startswith("ops/")):
        yield f"{PAGE}: {name}: no command prints `{counter}`"


def check_test(root, name, test):
    path, _, what = test.partition(": ")
    if not os.path.isfile(os.path.join(root, path)):
        yield f"{PAGE}: {name}: there is no {path}"
    elif what == "" or re.search(r"\b" + re.escape(what) + r"\b", read(root, path)) is None:
        yield f"{PAGE}: {name}: {path} has no test `{what}`"


def complaints(root):
    rows, wrong = table(read(root, PAGE))
    yield from wrong
    marked = {}
    for path in sources(root):
        lines = read(root, path).splitlines()
        for i, line in enumerate(lines):
            for name in MARKER.findall(line):
                marked.setdefault(name, f"{path}:{i + 1}")
            near = "\n".join(lines[max(0, i - NEAR):i + 1])
            if RAISED.search(line) and not DERIVED.search(line) and not MARKER.search(near):
                yield f"{path}:{i + 1}: a counter of what is left out is raised without a DROP(name): {line.strip()}"
    for name in sorted(marked.keys() - rows.keys()):
        yield f"{marked[name]}: DROP({name}) has no row in {PAGE}"
    for name in sorted(rows.keys() - marked.keys()):
        yield f"{PAGE}: {name} is marked nowhere"
    for name, (counters, tests) in sorted(rows.items()):
        if not counters or not tests:
            yield f"{PAGE}: {name} lacks a counter or a test"
        for counter in counters:
            yield from check_counter(root, name, counter)
        for test in tests:
            yield from check_test(root, name, test)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    found = list(complaints(root))
    print("\n".join(found + [f"{len(found)} complaints"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
