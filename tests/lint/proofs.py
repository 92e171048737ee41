#!/usr/bin/env python3
"""docs/proofs.md: each numbered claim has a test of its number, and the tests it names exist and run.

proofs.py [ROOT]"""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
claims = {f"{letter}{i}" for letter, most in {"A": 12, "D": 9, "M": 13, "O": 4, "E": 5, "S": 7}.items()
          for i in range(1, most + 1)} - {"S5"}  # a data set that is not here

defined, run = set(), set()
for path in (root / "tests").rglob("*.c"):
    text = path.read_text(encoding="utf-8")
    defined |= set(re.findall(r"^static void (test_\w+)\(", text, re.M))
    run |= set(re.findall(r"(?:cmocka_unit_test\w*|CASE)\(\s*(test_\w+)", text))

complaints = []
stated = {}
for line in (root / "docs/proofs.md").read_text(encoding="utf-8").splitlines():
    row = re.match(r"\| ([A-Z]\d*|) \| (.*) \|$", line)
    if row:
        stated[row[1]] = row[2]
        for name in re.findall(r"`(test_\w+)`", row[2]):
            if name not in defined & run:
                complaints.append(f"docs/proofs.md names {name}, which does not run")
for claim in sorted(claims):
    if claim not in stated:
        complaints.append(f"docs/proofs.md does not state {claim}")
    if not any(f"_{claim.lower()}_" in name for name in defined & run):
        complaints.append(f"no test has the number {claim}")
for complaint in complaints:
    print(complaint)
print(f"{len(claims)} claims, {len(defined & run)} tests, {len(complaints)} complaints")
sys.exit(1 if complaints else 0)
