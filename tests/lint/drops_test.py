#!/usr/bin/env python3
"""drops.py complains about each of these, and about nothing else."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROW = "| `DROP(late)` | an event behind the watermark | `undine_late_total` | `tests/t.c: test_late` |\n"
GOOD = {
    "docs/reliability.md": ROW,
    "docs/metrics.md": "| `undine_late_total` | counter | Late. |\n",
    "ingest/a.c": "void f(void)\n{\n    c->late++; /* DROP(late) */\n}\n",
    "tests/t.c": "static void test_late(void **state)\n",
}
BAD = {
    "DROP(early) has no row": {"ingest/b.c": "/* DROP(early) */\n"},
    "old is marked nowhere": {"docs/reliability.md": ROW + ROW.replace("DROP(late)", "DROP(old)")},
    "late has two rows": {"docs/reliability.md": ROW + ROW},
    "no `undine_gone_total`": {"docs/reliability.md": ROW.replace("undine_late_total", "undine_gone_total")},
    "no command prints `rows_gone`": {"docs/reliability.md": ROW.replace("undine_late_total", "rows_gone")},
    "lacks a counter or a test": {"docs/reliability.md": ROW.replace("`undine_late_total`", "none")},
    "there is no tests/u.c": {"docs/reliability.md": ROW.replace("tests/t.c", "tests/u.c")},
    "has no test `test_lat`": {"docs/reliability.md": ROW.replace(": test_late", ": test_lat")},
    "has 3 cells": {"docs/reliability.md": ROW.replace(" | `tests/t.c: test_late`", "")},
    "raised without a DROP(name)": {"ops/c.c": "\n\n\n\n    s->rows_dropped += n;\n"},
}


def run(files):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                f.write(text)
        return subprocess.run([sys.executable, os.path.join(HERE, "drops.py"), root], capture_output=True, text=True,
                              check=False)


good = run(GOOD)
assert good.returncode == 0, good.stdout + good.stderr
for want, change in BAD.items():
    bad = run({**GOOD, **change})
    assert bad.returncode == 1 and want in bad.stdout, f"{want}: {bad.stdout}{bad.stderr}"
print(f"ok: {len(BAD)} mistakes found")
