"""Versions come: by refresh, by the following thread, under threads that score."""

from __future__ import annotations

import gc
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable, List, Set

import pytest

import undine

from conftest import Publish


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end, "30 s were not enough"
        time.sleep(0.01)


def test_info(scorer: undine.Scorer, publish: Publish) -> None:
    info = scorer.info
    assert (info.version, info.trained_seq, info.examples) == (1, 100, 100) and len(info.digest) == 32
    assert info.event_time == datetime(2022, 4, 24, 15, 5, 41, 436000, timezone.utc)
    assert info.rows == {"uid": 12, "age": 12, "video": 12, "tag": 12, "hour": 12}
    assert undine.Field("tag", "candidate", 3, False) in info.fields
    assert info.sequences == (
        undine.SequenceInfo("clicks", 10, ("video", "tag")),
        undine.SequenceInfo("carts", 5, ("tag",)),
    )
    publish("{}")
    assert scorer.info is info
    scorer.refresh()
    assert scorer.info.version == scorer.version == 2 and len(scorer.info.sequences) == 1


def test_refresh(scorer: undine.Scorer, publish: Publish) -> None:
    old = scorer.score(1, candidates=[1, 2])
    assert not scorer.refresh()
    assert publish("{}") == 2
    assert scorer.score(1, candidates=[1, 2]) == old
    assert scorer.refresh() and not scorer.refresh()
    new = scorer.score(1, candidates=[1, 2])
    assert new != old and (old.version, new.version) == (1, 2)


def test_follow(versions: Path, publish: Publish) -> None:
    errors: List[undine.UndineError] = []
    with undine.Scorer(versions, follow=0.02, on_error=errors.append) as scorer:
        publish("{}")
        until(lambda: scorer.version == 2)
        current = versions / "CURRENT"
        good = current.read_text()
        current.write_text("nonsense\n")
        until(lambda: scorer.follow_error is not None)
        assert isinstance(errors[0], undine.CorruptVersion) and scorer.score(candidates=[1]).version == 2
        current.write_text(good)
        until(lambda: scorer.follow_error is None)
    assert not any(t.name == "undine-follow" for t in threading.enumerate())


def test_a_scorer_that_nobody_has_any_more_ends(versions: Path) -> None:
    scorer = undine.Scorer(versions, follow=0.01)
    scorer.score(candidates=[1])
    del scorer
    gc.collect()
    until(lambda: not any(t.name == "undine-follow" for t in threading.enumerate()))


def test_threads(versions: Path, publish: Publish) -> None:
    """Sessions come and go with their threads while versions do; every score is one of the version that it names."""
    candidates = [{"video": i, "tag": [i, i + 1]} for i in range(12)]
    steps = {"clicks": [{"video": 1, "tag": 2}]}
    forms = (["{}"], ["{}", "spread"], ["{}", "own_tables"])
    numbers = [1] + [publish(*form) for form in forms]
    want = {}
    for number in numbers:
        (versions / "CURRENT").write_text(f"{number:012}\n")
        with undine.Scorer(versions) as one:
            want[number] = one.score(3, steps, candidates)
    wrong: List[object] = []
    seen: Set[int] = set()
    stop = threading.Event()
    with undine.Scorer(versions, follow=0.005) as scorer:

        def score() -> None:
            try:
                for _ in range(25):
                    got = scorer.score(3, steps, candidates)
                    seen.add(got.version)
                    if got != want[got.version]:
                        wrong.append(got)
            except Exception as e:  # whatever it is, the main thread tells
                wrong.append(e)

        def swap() -> None:
            k = 0
            while not stop.wait(0.01):
                next_ = versions / "next"
                next_.write_text(f"{numbers[k % len(numbers)]:012}\n")
                next_.replace(versions / "CURRENT")
                k += 1

        swapper = threading.Thread(target=swap)
        swapper.start()
        for _ in range(20):
            threads = [threading.Thread(target=score) for _ in range(8)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        stop.set()
        swapper.join()
        until(lambda: len(scorer._sessions) <= 1)  # those of threads that ended are given back
    assert not wrong and len(seen) > 1


def test_close_while_threads_score(versions: Path) -> None:
    scorer = undine.Scorer(versions)
    ends: List[BaseException] = []

    def score() -> None:
        try:
            while True:
                scorer.score(3, candidates=list(range(200)))
        except Exception as e:
            ends.append(e)

    threads = [threading.Thread(target=score) for _ in range(4)]
    for t in threads:
        t.start()
    time.sleep(0.05)
    scorer.close()
    for t in threads:
        t.join()
    assert len(ends) == 4 and all(isinstance(e, ValueError) and "closed" in str(e) for e in ends)


@pytest.mark.parametrize("follow", [None, 0.01])
def test_many_open_and_close(versions: Path, follow: float) -> None:
    for _ in range(20):
        with undine.Scorer(versions, follow=follow) as scorer:
            scorer.score(candidates=[1])
