"""Versions to score with, made by a program of the C tests; scores to compare with, from the program `undine`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

import undine

Publish = Callable[..., int]
ProgramScores = Callable[[List[Any]], List[Any]]


def make_version(folder: Path, *arguments: str) -> int:
    program = f"{os.environ['BUILD']}/tests/make_version"
    out = subprocess.run([program, str(folder), *arguments], check=True, capture_output=True, text=True).stdout
    return int(out.split()[0])


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    folder = tmp_path / "versions"
    make_version(folder, "{}", "spread", "two_sequences")
    return folder


@pytest.fixture
def publish(versions: Path) -> Publish:
    return lambda *arguments: make_version(versions, *arguments)


@pytest.fixture
def scorer(versions: Path) -> Iterator[undine.Scorer]:
    with undine.Scorer(versions) as scorer:
        yield scorer


@pytest.fixture
def program_scores(versions: Path) -> ProgramScores:
    """What `undine score` says to requests as JSON."""

    def run(requests: List[Any]) -> List[Any]:
        command = [os.environ["UNDINE"], "score", "--versions", str(versions), "--input", "-"]
        lines = "\n".join(map(json.dumps, requests))
        out = subprocess.run(command, input=lines, check=True, capture_output=True, text=True).stdout
        return [json.loads(line) for line in out.splitlines()]

    return run
