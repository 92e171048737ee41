#!/usr/bin/env python3
"""Rows that the reader of docs/formats.md finds, against those that the package safetensors reads.

formats.py FOLDER    versions/ and chain-N/ with chain-N.txt as formats.sh makes them; `reader` is importable
"""
import random
import shutil
import sys
import warnings
from pathlib import Path

import numpy
from safetensors.numpy import load_file

from reader import Version


def mix(x, mask=2**64 - 1):
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & mask
    return x ^ x >> 31


def by_index(keys, index, id):
    """Row number of an id as the page says that an index finds it; None where it has none."""
    at = mix(id) % len(index)
    while index[at] != 0 and keys[index[at] - 1] != id:
        at = (at + 1) % len(index)
    return index[at] - 1 if index[at] else None


def check_rows(version, folder):
    """Every row of the full version in `folder`, and nothing else."""
    tensors, n = load_file(folder / "model.safetensors"), 0
    for table in [t["name"] for t in version.manifest["schema"]["tables"]]:
        keys, rows = tensors[f"table.{table}.keys"], tensors[f"table.{table}.rows"]
        ids, index = keys.tolist(), tensors[f"table.{table}.index"].tolist()
        assert len(keys) == version.manifest["rows"][table]
        assert len(index) >= max(8, 1.5 * len(keys)) and len(index) & len(index) - 1 == 0
        assert by_index(ids, index, 12345) is None
        for place, (key, row) in enumerate(zip(ids, rows)):
            assert by_index(ids, index, key) == place
            found = version.row_of(table, key)
            assert found is not None and numpy.array_equal(numpy.array(found, "f"), row), (table, key)
            n += 1
        assert version.row_of(table, 12345) is None
    return n


def every_id(version, table):
    return {key for part in version.parts for what in ("keys", "removed") for key in part.get(f"table.{table}.{what}", [])}


def check_full(folder):
    version = Version(folder)
    n = check_rows(version, folder / "000000000001")
    for value in range(1, 12):  # the fixture's ids; the first one is the shared row
        assert version.row("video", value) == version.row("video", str(value)) is not None
        assert version.row("clicks.video", value) not in (None, version.row("video", value))
    assert version.row("video", 12) is None and version.row_of("video", 0) is not None
    return n


def check_chain(folder, delta, full, digest):
    version, whole = Version(folder, delta), Version(folder, full)
    assert version.manifest["kind"] == "delta" and len(version.parts) == 9 and len(whole.parts) == 1
    assert version.manifest["digests"]["model"] == whole.manifest["digests"]["model"] == digest
    gone = 0
    for table in version.manifest["rows"]:
        there = set(whole.parts[0][f"table.{table}.keys"])
        for key in every_id(version, table) - there:
            assert version.row_of(table, key) is None
            gone += 1
    assert gone > 0, "the chain removes nothing: it proves little"
    return check_rows(version, folder / full)


def check_damage(folder, other, r):
    """One byte of one file is another: refused, whichever it is.  One version is missing or another: refused."""
    for path in sorted(folder.glob("0*/*")):
        good = path.read_bytes()
        for _ in range(3):
            at = r.randrange(len(good))
            path.write_bytes(good[:at] + bytes([good[at] ^ 1 << r.randrange(8)]) + good[at + 1 :])
            refused(folder, path)
        path.write_bytes(good[: r.randrange(len(good))])
        refused(folder, path)
        path.write_bytes(good)
    Version(folder)
    third = folder / "000000000003"
    shutil.move(third, folder / "away")
    refused(folder, "a version that is missing")
    shutil.copytree(other / third.name, third)
    refused(folder, "a version of another chain")
    shutil.rmtree(third)
    shutil.copytree(folder / "000000000002", third)
    refused(folder, "a version under the number of another")


def refused(folder, what):
    try:
        Version(folder)
    except (AssertionError, ValueError, KeyError, OSError):
        return
    raise SystemExit(f"{what}: damaged, and not refused")


def main(folder):
    n = check_full(folder / "versions")
    for i in range(1, 7):
        delta, full, digest = (folder / f"chain-{i}.txt").read_text().split()
        n += check_chain(folder / f"chain-{i}", delta, full, digest)
    delta, full, _ = (folder / "chain-1.txt").read_text().split()
    shutil.rmtree(folder / "chain-1" / full)  # nobody needs it
    check_damage(folder / "chain-1", folder / "chain-2", random.Random(5))
    print(f"{n} rows read, damage refused")


warnings.simplefilter("error")
main(Path(sys.argv[1]))
