"""What is wrong is said by name, and leaves the scorer as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import numpy
import pandas
import pytest

import undine

from conftest import Publish


@pytest.mark.parametrize(
    "request_, words",
    [
        ({"candidates": [{"vidoe": 1}]}, "no field `vidoe`"),
        ({"candidates": [{"hour": 1}]}, "belongs to the context"),
        ({"candidates": [{"video": 1}], "sequences": {"views": [{"video": 1}]}}, "no sequence `views`"),
        ({"candidates": [1], "sequences": {"views": [1]}}, "no sequence `views`"),
        ({"candidates": [1], "sequences": [1]}, "say which"),
        ({"candidates": [{"video": 1.5}]}, "1.5 is no id"),
        ({"candidates": [{"video": float("inf")}]}, "inf is no id"),
        ({"candidates": [{"video": 1e300}]}, "is no id"),
        ({"candidates": [True]}, "True is no id"),
        ({"candidates": [numpy.bool_(True)]}, "True is no id"),
        ({"candidates": [{"video": {1, 2}}]}, "{1, 2} is no id"),
        ({"candidates": [{"video": [[1]]}]}, "[1] is no id"),
        ({"candidates": [object()]}, "is no id"),
        ({"candidates": ["\ud800"]}, "no text"),
        ({"candidates": "123"}, "neither"),
        ({"candidates": 7}, "neither"),
        ({"candidates": {"video": "123"}}, "expected a list"),
        ({"candidates": {"video": [1, 2], "tag": [1]}}, "unequal lengths"),
        ({"candidates": pandas.DataFrame([[1, 2]], columns=["video", "video"])}, "there twice"),
        ({"candidates": [{"vid\0eo": 1}]}, "is no name"),
        ({"user": [1]}, "[1] is no id"),
        ({"profile": [1]}, "profile is [1]"),
        ({"context": "x"}, "context is 'x'"),
    ],
)
def test_bad_requests(scorer: undine.Scorer, request_: Dict[str, Any], words: str) -> None:
    before = scorer.score(candidates=[1])
    with pytest.raises(undine.BadRequest) as e:
        scorer.score(**request_)
    assert words in str(e.value) and e.value.code == -5 and isinstance(e.value, ValueError)
    assert scorer.score(candidates=[1]) == before


def test_nothing_is_published(tmp_path: Path) -> None:
    with pytest.raises(undine.NotPublished, match="CURRENT") as e:
        undine.Scorer(tmp_path / "nowhere")
    assert e.value.code == -6 and isinstance(e.value, LookupError)
    with pytest.raises(undine.BadRequest, match="too long"):
        undine.Scorer("x" * 5000)
    with pytest.raises(ValueError, match="NUL"):
        undine.Scorer("a\0b")
    with pytest.raises(ValueError, match="follow"):
        undine.Scorer(tmp_path, follow=0)


def test_a_damaged_version_is_refused(versions: Path, scorer: undine.Scorer, publish: Publish) -> None:
    before = scorer.score(candidates=[1, 2])
    number = publish("{}")
    model = versions / f"{number:012}" / "model.safetensors"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    with pytest.raises(undine.CorruptVersion, match="model.safetensors"):
        scorer.refresh()
    assert scorer.version == 1 and scorer.score(candidates=[1, 2]) == before
    with undine.Scorer(versions) as other:  # begins with the newest whole one, and says why
        assert other.version == 1
        with pytest.raises(undine.CorruptVersion, match="model.safetensors"):
            other.refresh()
    data[-1] ^= 1
    model.write_bytes(data)
    assert scorer.refresh() and scorer.version == number


def test_closed(versions: Path) -> None:
    scorer = undine.Scorer(versions)
    assert not scorer.closed
    with scorer:
        scorer.score(candidates=[1])
    assert scorer.closed
    scorer.close()
    for call in (scorer.refresh, lambda: scorer.score(candidates=[1]), lambda: scorer.info, lambda: scorer.version):
        with pytest.raises(ValueError, match="closed"):
            call()


LOAD = "import undine, undine._library\ntry: print(undine.library_version())\nexcept undine.LibraryNotFound as e: print('refused', e)"


def load(**environment: str) -> str:
    kept = {k: v for k, v in os.environ.items() if k not in ("UNDINE_LIBRARY", "LD_LIBRARY_PATH", "PKG_CONFIG_PATH")}
    out = subprocess.run([sys.executable, "-c", LOAD], env={**kept, **environment}, check=True, capture_output=True, text=True)
    return out.stdout.strip()


def test_the_library_is_found(tmp_path: Path) -> None:
    installed = Path(os.environ["UNDINE_LIBRARY"])
    version = undine.library_version()
    assert version == undine.__version__
    assert load(UNDINE_LIBRARY=str(installed)) == version
    assert load(LD_LIBRARY_PATH=str(installed.parent)) == version
    assert load(PKG_CONFIG_PATH=str(installed.parent / "pkgconfig")) == version
    assert load(UNDINE_LIBRARY=str(tmp_path / "gone.so")).startswith("refused")
    assert "UNDINE_LIBRARY" in load(PATH="/nowhere")
    other = next(Path(p) for p in ("/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6") if Path(p).exists())
    shutil.copy(other, tmp_path / "libundine.so.0")  # has none of the functions
    assert load(UNDINE_LIBRARY=str(tmp_path / "libundine.so.0")).startswith("refused")
