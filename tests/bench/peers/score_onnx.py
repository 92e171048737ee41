#!/usr/bin/env python3
"""onnxruntime on what `undine export` wrote: how long a call with one user and many candidates takes.

    score_onnx.py --exported DIR --candidates N --history N

Row numbers are drawn before time is taken: hashing ids and finding rows, which undine_score does in
every call, costs nothing here.  Reads "run SECONDS" lines, answers each with one JSON line.
"""
import argparse
import json
import pathlib
import sys
import time

import numpy
import onnxruntime

REQUESTS = 64


def feeds(about, candidates, history):
    draw = numpy.random.default_rng(7)
    out = []
    for _ in range(REQUESTS):
        feed = {}
        for i in about["inputs"]:
            rows = about["tables"][i["table"]]["rows"]
            shape = ((1, history, 1) if "sequence" in i
                     else (candidates, 1) if i["group"] == "candidate" else (1, 1))
            feed[i["name"]] = draw.integers(0, rows, shape, numpy.int64)
        out.append(feed)
    return out


def run(session, every, seconds):
    took, at, end = [], 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.run(["score"], every[at])
        took.append(time.perf_counter() - start)
        at = (at + 1) % REQUESTS
    p50, p99 = numpy.quantile(took, [0.5, 0.99])
    return {"n": len(took), "p50_us": 1e6 * p50, "p99_us": 1e6 * p99}


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--exported", type=pathlib.Path, required=True)
    p.add_argument("--candidates", type=int, default=400)
    p.add_argument("--history", type=int, default=50)
    p.add_argument("--threads", type=int, default=1)
    opt = p.parse_args()
    about = json.loads((opt.exported / "inputs.json").read_text())
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = opt.threads
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(opt.exported / "model.onnx", settings,
                                           providers=["CPUExecutionProvider"])
    every = feeds(about, opt.candidates, opt.history)
    run(session, every, 1.0)
    print(json.dumps({"ready": True, "onnxruntime": onnxruntime.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(session, every, float(line.split()[1]))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
