#!/usr/bin/env python3
"""notices.py: the comparison of the crash tests sees each thing that it is there for: one round is tampered with in
several ways, and every one of them has to be complained of."""
import argparse
import importlib.machinery
import importlib.util
import json
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)
import crashlib  # noqa: E402

loader = importlib.machinery.SourceFileLoader("kill", os.path.join(here, "kill"))
kill = importlib.util.module_from_spec(importlib.util.spec_from_loader("kill", loader))
loader.exec_module(kill)


class Tampered(kill.Round):
    """What a finished round is compared with, changed by `change`."""

    def reference(self):
        if not hasattr(self, "known"):
            self.known = super().reference()
        state, report, digests = self.known
        return state, json.loads(json.dumps(report)), dict(digests)

    def complaint(self, n_lines):
        try:
            self.compare(n_lines)
        except crashlib.Failure as failure:
            return str(failure)
        return ""


def rewrite(path, change):
    with open(path, encoding="utf-8") as old:
        before = old.read()
    with open(path, "w", encoding="utf-8") as new:
        new.write(change(before))
    return lambda: rewrite(path, lambda _: before)


def change_report(member, value):
    def change(text):
        report = json.loads(text)
        report[member] = value(report[member])
        return json.dumps(report)
    return change


def main():
    undine = os.environ.get("UNDINE", os.path.join(crashlib.ROOT, "build", "dev", "undine"))
    args = argparse.Namespace(seed=1, undine=undine, kills=1, keep=False, json=None, every_point=False)
    run = kill.Run(args)
    round_ = Tampered(run, "file", 1, ["store.after_write", "publish.after_rename"])
    compared = []
    round_.compare = compared.append  # by Round.go: later, again and again
    round_.go()
    del round_.compare
    lines = compared[0]
    assert round_.complaint(lines) == "", round_.complaint(lines)
    versions = os.path.join(round_.state, "versions")
    history, current = os.path.join(versions, "HISTORY"), os.path.join(versions, "CURRENT")
    oldest = f"{crashlib.version_numbers(round_.state)[0]:012d}\n"
    tampering = {
        "an example more": (round_.report, change_report("examples", lambda n: n + 1), "examples"),
        "another order": (round_.report, change_report("example_digest", lambda d: d[::-1]), "example_digest"),
        "another model": (round_.report, change_report("model_digest", lambda d: d[::-1]), "model_digest"),
        "an event less": (round_.report, change_report("events", lambda n: n - 1), "were produced"),
        "a click that is counted elsewhere": (round_.report, change_report("accounting", lambda a: {**a, "clicks_orphan": 0}), "clicks_orphan"),
        "a version with another model": (history, lambda t: t.replace('"digest":"', '"digest":"0', 1), "an uninterrupted learner's"),
        "a publication told of twice": (history, lambda t: t + t.splitlines()[-1] + "\n", "each version once"),
        "CURRENT left behind": (current, lambda _: oldest, "CURRENT is"),
    }
    for what, (path, change, says) in tampering.items():
        undo = rewrite(path, change)
        complaint = round_.complaint(lines)
        undo()
        assert says in complaint, f"{what}: {complaint!r} does not say `{says}`"
        crashlib.say(f"{what}: {complaint[:90]}")
    round_.seen_current.add(10**6)
    assert "HISTORY does not say so" in round_.complaint(lines)
    round_.seen_current.clear()
    assert round_.complaint(lines) == ""
    crashlib.say(f"ok: {len(tampering) + 1} kinds of damage are noticed")


main()
