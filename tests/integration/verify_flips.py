#!/usr/bin/env python3
"""verify_flips.py STATE CONFIG N: one bit flipped at N random places of the files of a state, one after the other, is
found by `undine inspect store --verify` each time; the state is put back."""
import os
import random
import subprocess
import sys

# What RocksDB and undine do not read to find data: words for people, and locks.  HISTORY tells of publications.
UNREAD = ("LOCK", "LOG", "OPTIONS", "IDENTITY", "HISTORY")
# A table file ends with its footer, some bytes of which are padding without meaning and without a checksum.
FOOTER = 53

state, config, flips = sys.argv[1], sys.argv[2], int(sys.argv[3])
rng = random.Random(20240607)
files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(state) for name in names
               if not name.startswith(UNREAD) and os.path.getsize(os.path.join(folder, name)) > 0)
rng.shuffle(files)
found = {}
for i in range(flips):
    path = files[i % len(files)]
    data = open(path, "rb").read()
    end = len(data) - FOOTER if path.endswith(".sst") else len(data)
    at = rng.randrange(end)
    damaged = bytearray(data)
    damaged[at] ^= 1 << rng.randrange(8)
    with open(path, "wb") as f:
        f.write(damaged)
    run = subprocess.run([os.environ["UNDINE"], "inspect", "store", "--verify", "--state", state, "--config", config],
                         capture_output=True, text=True, check=False)
    with open(path, "wb") as f:
        f.write(data)
    if run.returncode != 1 or not run.stderr.strip():
        sys.exit(f"byte {at} of {len(data)} of {path}: exit code {run.returncode}: {run.stderr}")
    kind = os.path.splitext(path)[1] or os.path.basename(path).split("-")[0]
    found[kind] = found.get(kind, 0) + 1
print("ok: flipped bits found:", ", ".join(f"{n} {kind}" for kind, n in sorted(found.items())))
