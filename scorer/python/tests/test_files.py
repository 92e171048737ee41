"""The package safetensors reads what the C reader reads: the digest of all rows and dense tensors is the same."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Dict, List

import numpy
import pytest
import xxhash
from safetensors.numpy import load_file

from conftest import make_version


def digest_of(version: Path) -> str:
    """docs/formats.md, "Model digest"."""
    tensors: Dict[str, Any] = load_file(str(version / "model.safetensors"))
    pieces: List[bytes] = []
    for table in json.loads((version / "manifest.json").read_text())["schema"]["tables"]:
        keys, rows = (tensors.pop(f"table.{table['name']}.{what}") for what in ("keys", "rows"))
        del tensors[f"table.{table['name']}.index"]
        total = sum(xxhash.xxh3_128_intdigest(k.tobytes() + row.tobytes()) for k, row in zip(keys, rows)) % 2**128
        pieces += [table["name"].encode(), len(keys).to_bytes(8, "little") + total.to_bytes(16, "little")]
    for name in sorted(tensors):
        assert tensors[name].dtype == numpy.float32
        pieces += [name.encode(), tensors[name].tobytes()]
    h = 0
    for piece in pieces:
        halves = h.to_bytes(16, "little") + xxhash.xxh3_128_intdigest(piece).to_bytes(16, "little")
        h = xxhash.xxh3_128_intdigest(halves)
    return f"{h:032x}"


@pytest.mark.parametrize("flags", [[], ["spread"], ["own_tables", "two_sequences"], ["shared"]])
def test_weights_are_those_of_the_c_reader(tmp_path: Path, flags: List[str]) -> None:
    number = make_version(tmp_path, '{"linear": true}', *flags)
    command = [os.environ["UNDINE"], "inspect", "version", "--versions", str(tmp_path)]
    read = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert digest_of(tmp_path / f"{number:012}") == read["digests"]["model"]
