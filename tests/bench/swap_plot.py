#!/usr/bin/env python3
"""Latency of scoring, second by second, while versions change: an SVG of what `undine bench swap --series` wrote.

    undine bench swap --series swap.jsonl
    tests/bench/swap_plot.py swap.jsonl swap.svg
"""
import json
import sys
from itertools import groupby
from pathlib import Path

import plot


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.rstrip())
    seconds = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    ends = [s["at_s"] for s in seconds[1:]] + [seconds[-1]["at_s"] + 1]
    stretches = [list(g) for _, g in groupby(zip(seconds, ends), lambda x: x[0]["swapping"])]
    shades = [(g[0][0]["at_s"], g[-1][1]) for g in stretches if g[0][0]["swapping"]]
    full, deltas = (sum(s[kind] for s in seconds) for kind in ("full", "deltas"))
    series = [(name, [((s["at_s"] + end) / 2, s[f"{name}_us"] / 1e3, 0) for s, end in zip(seconds, ends)])
              for name in ("p99", "p50")]
    title = f"A second's requests; shaded: {full} full versions (dashed), {deltas} deltas"
    plot.lines(sys.argv[2], title, "seconds", "ms", series, shades=shades,
                        from_zero=True, marks=[s["at_s"] for s in seconds if s["full"]])


if __name__ == "__main__":
    main()
