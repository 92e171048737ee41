#!/usr/bin/env python3
"""Every fault point of the tree stands in docs/reliability.md once, and every one that stands there exists.

fault_points.py [ROOT]    exit code 0 = all hold, 1 = complaints on stdout"""
import os
import re
import sys

root = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ROOT", os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(root, "tests", "crash"))
import crashlib  # noqa: E402

with open(os.path.join(root, "docs", "reliability.md"), encoding="utf-8") as page:
    text = page.read().split("### Fault points")[1].split("\n## ")[0]
documented = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", text, re.M)
points = crashlib.fault_points()
complaints = [f"{p} is not in docs/reliability.md" for p in points if p not in documented]
complaints += [f"docs/reliability.md: there is no fault point {p}" for p in documented if p not in points]
complaints += [f"docs/reliability.md: {p} stands there twice" for p in set(documented) if documented.count(p) > 1]
print("\n".join(complaints) or f"{len(points)} fault points, as they are documented")
sys.exit(1 if complaints or not points else 0)
