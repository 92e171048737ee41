#!/usr/bin/env python3
"""layers.py complains about each thing that it is there for, and about nothing in a tree that is well."""
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import layers  # noqa: E402

GOOD = "#ifndef UNDINE_BASE_X_H\n#define UNDINE_BASE_X_H\n#endif\n"
# file -> (content, a part of the complaint that it must draw)
OFFENCES = {
    "ingest/a.c": ('#include "learner/trainer.h"\n', "may not include learner/trainer.h"),
    "learner/b.c": ('#include "featurestore/store.h"\n', "may not include featurestore/store.h"),
    "learner/model/c.c": ('#include "learner/trainer.h"\n', "may not include learner/trainer.h"),
    "featurestore/d.c": ("#include <librdkafka/rdkafka.h>\n", "is included only by"),
    "base/e.c": ("void f(void)\n{\n" + "    ;\n" * 71 + "}\n", "function of 71 lines"),
    "base/g.c": ("\n" * 801, "801 lines"),
    "base/h.h": ("int x;\n", "the guard is not UNDINE_BASE_H_H"),
    "base/x.c": ('#include "base/y.h"\n', 'the first include is not "base/x.h"'),
    "base/i.c": ("/* TO" "DO: everything */\n", "base/i.c:1"),
    "docs/j.md": ("Run `./ops/nothing` and read [this](gone.md).\n", "./ops/nothing"),
    "README.md": ("Run `undine fly`.\n", "undine fly"),
}


def write(root, path, content):
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as f:
        f.write(content)


def main():
    failures = []
    with tempfile.TemporaryDirectory() as root:
        write(root, "ops/main.c", '    {"run", "", NULL},\n')
        write(root, "base/x.h", GOOD)
        for n in range(20):
            write(root, f"base/ok{n}.c", "void f(void)\n{\n" + "    ;\n" * 70 + "}\n")
        failures += [f"complaint about a good tree: {c}" for c in layers.check(root)]
        for path, (content, _) in OFFENCES.items():
            write(root, path, content)
        complaints = list(layers.check(root))
        for path, (_, part) in OFFENCES.items():
            if not any(path in c and part in c for c in complaints):
                failures.append(f"no complaint about {path}: {part}")
    print("\n".join(failures + [f"{len(OFFENCES)} offences, {len(failures)} failures"]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
