#!/usr/bin/env python3
"""Scores of an exported graph against those of `undine score`, over the forms of a model.

export.py FOLDER    the class of docs/export.md is importable as `exported`
"""
import json
import os
import random
import subprocess
import sys
import warnings

import numpy

from exported import Exported

TOLERANCE = 1e-5
SMALL = {"unit": {"hidden": [6]}, "mlp": {"hidden": [10, 5]}}


def model(kind="din", unit=None, mlp=None, **more):
    return {"kind": kind, "unit": {"hidden": [6], **(unit or {})}, "mlp": {"hidden": [10, 5], **(mlp or {})}, **more}


FORMS = [("default", model(), [])]
FORMS += [(f"mlp {a}", model(mlp={"activation": a}), []) for a in ("sigmoid", "relu", "tanh", "prelu", "dice")]
FORMS += [(f"unit {a}", model(unit={"activation": a, "hidden": [7, 4]}), []) for a in ("sigmoid", "relu", "tanh", "prelu", "dice")]
FORMS += [(f"{n} {i}", model(unit={"normalize": n, "input": i}), ["two_sequences"])
          for n in ("none", "softmax", "sqrt_dim", "length", "scaled_softmax") for i in ("paper", "official")]
FORMS += [(f"base {p}", model("base", base_pool=p), ["two_sequences"]) for p in ("sum", "mean")]
FORMS += [("linear", model(linear=True), ["two_sequences"]),
          ("linear base", model("base", linear=True), ["own_tables"]),
          ("cross", model(product=True, sum_history=True, linear=True), ["two_sequences"]),
          ("product", model(product=True), []),
          ("sum_history", model(sum_history=True), ["own_tables"]),
          ("own tables", model(linear=True), ["own_tables", "two_sequences"]),
          ("shared row", model(), ["shared"]),
          ("shared row, linear, own tables", model(linear=True), ["shared", "own_tables"])]


def some(r, ids, n_max):
    return [str(r.randrange(ids)) for _ in range(r.randrange(n_max + 1))]


def request(r, ids):
    """Missing fields, values twice and too many, steps of nothing, more steps than count, no steps."""
    thing = lambda: {"video": some(r, ids, 1), "tag": some(r, ids, 5)}
    sequences = {"clicks": [thing() for _ in range(r.choice((0, 1, 4, 14)))]}
    if r.random() < 0.7:
        sequences["carts"] = [{"tag": some(r, ids, 4)} for _ in range(r.choice((0, 1, 9)))]
    return {"user": str(r.randrange(ids)), "profile": {"age": some(r, ids, 1)}, "context": {"hour": some(r, ids, 1)},
            "sequences": sequences, "candidates": [thing() for _ in range(r.randrange(1, 20))]}


def undine(*arguments, **more):
    return subprocess.run([os.environ["UNDINE"], *arguments], check=True, capture_output=True, text=True, **more).stdout


def check(folder, name, options, flags, seed):
    r = random.Random(seed)
    subprocess.run([f"{os.environ['BUILD']}/tests/make_version", f"{folder}/versions", json.dumps(options), "spread", *flags],
                   check=True, capture_output=True)
    # An id that is not there has a random vector, which the graph cannot know, unless there is a row for all of them.
    requests = [request(r, 20 if "shared" in flags else 12) for _ in range(25)]
    for q in requests:
        if "two_sequences" not in flags:
            q["sequences"].pop("carts", None)
    want = undine("score", "--versions", f"{folder}/versions", "--input", "-", input="\n".join(map(json.dumps, requests)))
    want = [json.loads(line)["scores"] for line in want.splitlines()]
    worst = 0.0
    for unit in ("factorized", "naive"):
        undine("export", "--onnx", f"{folder}/versions", "--output", f"{folder}/{unit}", "--unit", unit)
        exported = Exported(f"{folder}/{unit}")
        for q, scores in zip(requests, want):
            got = exported.score(**q)
            assert got.dtype == numpy.float32 and got.shape == (len(scores),)
            worst = max(worst, float(numpy.max(numpy.abs(got - scores))))
    spread = numpy.std(numpy.concatenate(want))
    print(f"{name:36} worst difference {worst:.1e}, scores spread by {spread:.3f}")
    assert worst < TOLERANCE and spread > 0.01, name
    return exported, requests, want


def users_of_their_own(exported, requests, want):
    """U = B: one run for many users, their histories filled up to the longest."""
    feeds = []

    class Keep:
        def run(self, names, feed):
            feeds.append(feed)
            return [None]

    session, exported.session = exported.session, Keep()
    for q in requests:
        exported.score(**{**q, "candidates": q["candidates"][:1]})
    exported.session = session
    together = {}
    for i in exported.inputs:
        arrays = [feed[i["name"]] for feed in feeds]
        shape = [max(sizes) for sizes in zip(*(a.shape[1:] for a in arrays))]
        full = numpy.full([len(arrays)] + shape, exported.tables[i["table"]]["row_none"], numpy.int64)
        for k, a in enumerate(arrays):
            full[(k, *map(slice, a.shape[1:]))] = a[0]
        together[i["name"]] = full
    (got,) = session.run(["score"], together)
    worst = float(numpy.max(numpy.abs(got - [scores[0] for scores in want])))
    print(f"{len(requests)} users in one run: worst difference {worst:.1e}")
    assert worst < TOLERANCE


def main(folder):
    for n, (name, options, flags) in enumerate(FORMS):
        work = f"{folder}/form-{n}"
        os.mkdir(work)
        exported, requests, want = check(work, name, options, flags, n)
        if name in ("cross", "base mean") or name.startswith(("softmax", "length")):
            users_of_their_own(exported, requests, want)


warnings.simplefilter("error")
main(sys.argv[1])
