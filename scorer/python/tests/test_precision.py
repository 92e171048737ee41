"""Scores in 16-bit integers: near those in floats, and what `undine score` says in integers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import undine

REQUEST: dict[str, Any] = {"user": "7", "candidates": [{"video": 1}, {"video": 2}], "sequences": {"clicks": [{"video": 3, "tag": [1]}]}}


def has_vnni() -> bool:
    return "avx512_vnni" in Path("/proc/cpuinfo").read_text()


def test_int16(scorer: undine.Scorer, versions: Path) -> None:
    if not has_vnni():
        with pytest.raises(undine.UnknownModel, match="AVX-512 VNNI"):
            undine.Scorer(versions, precision="int16")
        return
    command = [os.environ["UNDINE"], "score", "--versions", str(versions), "--input", "-", "--precision", "int16"]
    out = subprocess.run(command, input=json.dumps(REQUEST), check=True, capture_output=True, text=True).stdout
    with undine.Scorer(versions, precision="int16") as int16:
        got = list(int16.score(**REQUEST))
    assert got == pytest.approx(json.loads(out)["scores"], abs=1e-8)
    floats = list(scorer.score(**REQUEST))
    assert got != floats and got == pytest.approx(floats, abs=1e-3)


def test_unknown_precision(versions: Path) -> None:
    with pytest.raises(ValueError, match="'bf16'.*f32, int16"):
        undine.Scorer(versions, precision="bf16")
