"""Every way to say a request gives the scores of `undine score`."""

from __future__ import annotations

import random
from typing import Any, Dict, List

import numpy
import pandas
import pytest

import undine

from conftest import ProgramScores

Features = Dict[str, Any]


def some(r: random.Random, n_max: int) -> List[Any]:
    values: List[Any] = [r.choice((str, int))(r.randrange(20)) for _ in range(r.randrange(n_max + 1))]
    return values + [None] * r.randrange(2)


def thing(r: random.Random) -> Features:
    return {"video": some(r, 1), "tag": some(r, 5)}


def test_random_requests(scorer: undine.Scorer, program_scores: ProgramScores) -> None:
    r = random.Random(3)
    requests: List[Features] = []
    for _ in range(100):
        request: Features = {"candidates": [thing(r) for _ in range(r.randrange(20))], "user": r.choice(("7", 7, None))}
        request["sequences"] = {
            "clicks": [thing(r) for _ in range(r.choice((0, 1, 14)))],
            "carts": [{"tag": some(r, 3)} for _ in range(r.randrange(8))],
        }
        request["profile"], request["context"] = {"age": some(r, 1)}, {"hour": some(r, 1)}
        requests.append(request)
    for request, want in zip(requests, program_scores([{k: v for k, v in q.items() if v is not None} for q in requests])):
        got = scorer.score(**request)
        assert numpy.array_equal(numpy.array(got, "f"), numpy.array(want["scores"], "f"))
        assert got.version == want["version"] == 1


CANDIDATES = [{"video": "5", "tag": ["1", "2"]}, {"video": "6", "tag": ["3"]}, {"video": "7", "tag": []}]
STEPS = [{"video": "1", "tag": ["2"]}, {"video": "2", "tag": ["4", "5"]}]


@pytest.fixture
def want(scorer: undine.Scorer) -> List[float]:
    return scorer.score("9", {"clicks": STEPS}, CANDIDATES)


@pytest.mark.parametrize(
    "candidates",
    [
        [{"video": 5, "tag": [1, 2]}, {"video": 6, "tag": 3}, {"video": 7}],
        [{"video": b"5", "tag": (b"1", b"2")}, {"video": [b"6"], "tag": b"3"}, {"video": b"7", "tag": None}],
        ({"tag": ["1", "2"], "video": "5"}, {"tag": ["3", "3"], "video": "6"}, {"tag": [None, ""], "video": "7"}),
        {"video": [5, 6, 7], "tag": [[1, 2], [3], []]},
        {"video": numpy.array([5, 6, 7], numpy.uint16), "tag": [numpy.array([1, 2]), numpy.array([3]), numpy.array([])]},
        {"video": numpy.array(["5", "6", "7"]), "tag": [["1", 2], "3", None]},
        pandas.DataFrame({"video": [5, 6, 7], "tag": [[1, 2], [3], float("nan")]}),
        pandas.DataFrame({"video": pandas.array([5, 6, 7], "Int64"), "tag": [["1", "2"], "3", pandas.NA]}),
        pandas.DataFrame({"video": ["5", "6", "7"], "tag": [[1, 2], 3.0, None]}, index=[9, 9, 2]),
        pandas.DataFrame({"video": [5, 6, 7, 8], "tag": [[1, 2], [3], [], []]}).query("video < 8"),
        [pandas.Series({"video": 5, "tag": [1, 2]}), {"video": numpy.int64(6), "tag": numpy.str_("3")}, {"video": "7"}],
        (dict(c) for c in CANDIDATES),
    ],
)
def test_candidates_in_other_words(scorer: undine.Scorer, want: List[float], candidates: Any) -> None:
    assert scorer.score(numpy.int64(9), {"clicks": STEPS}, candidates) == want


@pytest.mark.parametrize(
    "steps", [{"video": [1, 2], "tag": [[2], [4, 5]]}, pandas.DataFrame(STEPS), iter(STEPS), [{}, *STEPS, {"tag": None}]]
)
def test_steps_in_other_words(scorer: undine.Scorer, want: List[float], steps: Any) -> None:
    assert scorer.score("9", {"clicks": steps}, CANDIDATES) == want


def test_ids_alone(scorer: undine.Scorer) -> None:
    want = scorer.score("9", {"clicks": [{"video": 1}], "carts": [{"tag": 3}]}, [{"video": 5}, {"video": 6}])
    structured = numpy.array([(5,), (6,)], dtype=[("video", "i4")])
    for candidates in ([5, 6], ["5", "6"], numpy.array([5, 6]), numpy.array(["5", "6"]), pandas.Series([5, 6]), structured):
        assert scorer.score("9", {"clicks": [1], "carts": ["3"]}, candidates) == want


def test_the_only_sequence(versions: Any, publish: Any) -> None:
    publish("{}", "spread")
    with undine.Scorer(versions) as scorer:
        assert scorer.score(1, STEPS, CANDIDATES) == scorer.score(1, {"clicks": STEPS}, CANDIDATES)


def test_nothing(scorer: undine.Scorer) -> None:
    assert scorer.score() == [] and scorer.score(candidates={"video": []}) == []
    assert scorer.score(candidates=pandas.DataFrame({"video": []})) == [] and scorer.score(candidates=numpy.array([])) == []
    (p,) = scorer.score(candidates=[{}])
    assert 0 < p < 1 and [p] == scorer.score(None, {"clicks": []}, [None], profile={}, context={"hour": ""})


def test_any_text_is_an_id(scorer: undine.Scorer, program_scores: ProgramScores) -> None:
    words = ["é", "😀" * 50, "名前", " ", "NaN", "-1", str(2**64), "\u202e"]
    (want,) = program_scores([{"user": "ü", "candidates": [{"video": w} for w in words]}])
    got = scorer.score("ü", candidates=words)
    assert numpy.array_equal(numpy.array(got, "f"), numpy.array(want["scores"], "f")) and len(set(got)) == len(words)
    assert len({scorer.score(candidates=[w])[0] for w in ("a", "a\0", "a\0b", "\0", "")}) == 5
    assert scorer.score("ü", candidates=[w.encode() for w in words]) == got


def test_integers(scorer: undine.Scorer) -> None:
    for value in (0, -3, 2**31, 2**63, 10**40):
        want = scorer.score(candidates=[str(value)])
        assert scorer.score(candidates=[value]) == want
        if value < 2**53:
            assert scorer.score(candidates=[float(value)]) == want


def test_a_large_request(scorer: undine.Scorer) -> None:
    got = scorer.score("1", {"clicks": [{"video": i} for i in range(5000)]}, list(range(3000)))
    assert len(got) == 3000
    assert scorer.score("1", {"clicks": [{"video": i} for i in range(4000, 5000)]}, [2999]) == got[2999:]
