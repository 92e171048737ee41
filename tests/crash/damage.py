#!/usr/bin/env python3
"""damage.py [--deltas] [--rounds N] [--seed S] [--events N] [--keep]: files of a state are cut, flipped, lost or from another time.

The state is that of a replay in its middle.  Where nothing but what can be made again is damaged, the next replay must go on
to the examples, the counters and the model of one without damage; else it may also refuse, with exit code 4 (a person is
needed: ops/undine.service starts it no more) and one line that says what is wrong.  It must never end with anything else."""
import argparse
import os
import random
import shutil

import disk_image
from state_run import Failed, World, finish, say

REFUSALS = (4,)


class States:
    """States of one replay at several moments, as kill -9 leaves them."""

    def __init__(self, world, moments):
        world.fresh()
        trace = os.path.join(world.tmp, "trace")
        world.check_same(world.replay(wrap={"UNDINE_IO_TRACE": trace}))
        records = list(disk_image.records(trace))
        self.path = []
        disk = disk_image.Disk(world.work)
        for i, share in enumerate(moments):
            for record in records[disk.when : int(len(records) * share)]:
                disk.step(record)
            self.path.append(os.path.join(world.tmp, f"state-{i}"))
            disk.write_to(self.path[i], "kept", random.Random(0))


def files(directory, *endings):
    """Files of a directory that begin or end so, ascending."""
    if not os.path.isdir(directory):
        return []
    return sorted(os.path.join(directory, n) for n in os.listdir(directory) if n.startswith(endings) or n.endswith(endings))


# ---- what is done to one file ----


def cut(path, rng):
    os.truncate(path, rng.randint(0, max(0, os.path.getsize(path) - 1)))


def flip(path, rng):
    with open(path, "r+b") as f:
        data = bytearray(f.read())
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        f.seek(0)
        f.write(data)


def zero_tail(path, rng):
    size = os.path.getsize(path)
    cut(path, rng)
    with open(path, "r+b") as f:
        f.truncate(size)


def lose(path, rng):
    os.remove(path)


def empty(path, rng):
    os.truncate(path, 0)


def garbage(path, rng):
    size = os.path.getsize(path)
    with open(path, "wb") as f:
        f.write(rng.randbytes(size))


HARMS = (cut, flip, zero_tail, lose, empty, garbage)

# ---- what is damaged: (name, must the next replay go on, function of state and rng) ----


def one_of_store(*endings):
    def damage(state, rng):
        found = files(os.path.join(state, "store"), *endings)
        path, harm = rng.choice(found), rng.choice(HARMS)
        harm(path, rng)
        return f"{os.path.basename(path)} {harm.__name__}"

    return damage


def newest_log_cut(state, rng):
    path = files(os.path.join(state, "store"), ".log")[-1]
    cut(path, rng)
    return f"{os.path.basename(path)} at {os.path.getsize(path)}"


def versions_of(state):
    root = os.path.join(state, "versions")
    return [os.path.join(root, n) for n in sorted(os.listdir(root)) if n.isdigit()]


def version_file(n_newest):
    def damage(state, rng):
        done = []
        for version in versions_of(state)[-n_newest:]:
            path, harm = rng.choice(files(version, "manifest.json", ".safetensors")), rng.choice(HARMS)
            harm(path, rng)
            done.append(f"{path[len(state):]} {harm.__name__}")
        return ", ".join(done)

    return damage


def newest_version_vanished(state, rng):
    shutil.rmtree(versions_of(state)[-1])
    return "with CURRENT naming it"


def all_versions_vanished(state, rng):
    shutil.rmtree(os.path.join(state, "versions"))
    return ""


def by_kind(state):
    """The manifests by number, and the numbers of each kind, ascending."""
    found = World.manifests_of(os.path.join(state, "versions"))
    kinds = {"delta": [], "full": [], "merged": []}
    for number, manifest in found.items():
        kinds["merged" if "merged_from" in manifest else manifest["kind"]].append(number)
    return found, kinds


def directory(state, number):
    return os.path.join(state, "versions", f"{number:012}")


def harmed(state, number, rng):
    """A file of this version, or its place in the directory of all."""
    if rng.random() < 0.25:
        shutil.rmtree(directory(state, number))
        return f"{number} vanished"
    path, harm = rng.choice(files(directory(state, number), "manifest.json", ".safetensors")), rng.choice(HARMS)
    harm(path, rng)
    return f"{number}/{os.path.basename(path)} {harm.__name__}"


def a_delta(state, rng):
    """Any link: what stands on it goes with it."""
    return harmed(state, rng.choice(by_kind(state)[1]["delta"]), rng)


def a_chain(state, rng):
    """Every link of the newest chain but what it begins with."""
    found, kinds = by_kind(state)
    newest = found[kinds["delta"][-1]]
    return ", ".join(harmed(state, n, rng) for n in [x["number"] for x in newest["chain"][1:]] + [kinds["delta"][-1]])


def a_chains_begin(state, rng):
    found, kinds = by_kind(state)
    return harmed(state, found[kinds["delta"][-1]]["chain"][0]["number"], rng)


def a_merged(state, rng):
    merged = by_kind(state)[1]["merged"]
    return harmed(state, merged[-1], rng) if merged else "none there"


def swapped_deltas(state, rng):
    """Two links under each other's name."""
    deltas = by_kind(state)[1]["delta"]
    a, b = (directory(state, n) for n in rng.sample(deltas, 2)) if len(deltas) > 1 else (None, None)
    if a is None:
        return "one alone"
    os.rename(a, a + ".x")
    os.rename(b, a)
    os.rename(a + ".x", b)
    return f"{a[-12:]} and {b[-12:]}"


def foreign_delta(state, rng):
    """The files of an earlier link in the place of the newest."""
    deltas = by_kind(state)[1]["delta"]
    if len(deltas) > 1:
        shutil.rmtree(directory(state, deltas[-1]))
        shutil.copytree(directory(state, rng.choice(deltas[:-1])), directory(state, deltas[-1]))
    return str(deltas)


def current(state, rng):
    path = os.path.join(state, "versions", "CURRENT")
    harm = rng.choice((lose, empty, garbage, cut, old_current, coming_current))
    harm(path, rng)
    return harm.__name__


def old_current(path, rng):
    with open(path, "w", encoding="ascii") as f:
        f.write(os.path.basename(versions_of(os.path.dirname(os.path.dirname(path)))[0]) + "\n")


def coming_current(path, rng):
    with open(path, "w", encoding="ascii") as f:
        f.write("000000000999\n")


def history(state, rng):
    harm = rng.choice((cut, lose, empty, flip))
    harm(os.path.join(state, "versions", "HISTORY"), rng)
    return harm.__name__


KINDS = (
    ("the newest write-ahead log", False, newest_log_cut),
    ("a write-ahead log", False, one_of_store(".log")),
    ("a table", False, one_of_store(".sst")),
    ("MANIFEST", False, one_of_store("MANIFEST")),
    ("the store's CURRENT", False, one_of_store("CURRENT")),
    ("what RocksDB keeps for people", True, one_of_store("IDENTITY", "LOG", "OPTIONS")),
    ("the newest version", True, version_file(1)),
    ("the two newest versions", True, version_file(2)),
    ("all versions", False, version_file(99)),
    ("the newest version vanished", True, newest_version_vanished),
    ("all versions vanished", False, all_versions_vanished),
    ("CURRENT", True, current),
    ("HISTORY", True, history),
)


# The link before, the whole version below it, or the older whole one that is kept: there is always one to fall back to.
DELTA_KINDS = (
    ("a delta", True, a_delta),
    ("the newest chain", True, a_chain),
    ("what the newest chain begins with", True, a_chains_begin),
    ("the newest merged version", True, a_merged),
    ("deltas exchanged", True, swapped_deltas),
    ("a delta of another moment", True, foreign_delta),
)


def mixed(states, out, rng, what):
    """A state with parts from several moments: a live directory that was copied, or a backup of one half."""
    late, early = states.path[-1], states.path[0]
    shutil.copytree(late, out, dirs_exist_ok=True)
    if what == "files":
        for path in files(os.path.join(out, "state", "store"), ""):
            other = os.path.join(rng.choice(states.path), "state", "store", os.path.basename(path))
            if os.path.exists(other):
                shutil.copyfile(other, path)
    else:  # the store behind its versions, or before them
        shutil.rmtree(os.path.join(out, "state", what))
        shutil.copytree(os.path.join(early, "state", what), os.path.join(out, "state", what))


MIXTURES = (("store", False), ("versions", False), ("files", False))


class Suite:
    def __init__(self, world, args):
        self.world, self.args = world, args
        self.states = States(world, (0.4, 0.6, 0.75, 0.9))
        self.rng = random.Random(args.seed)
        self.failures, self.passed, self.ends = [], 0, {}

    def check(self, kind, must_go_on, name):
        outcome = self.world.replay()
        if outcome.code in REFUSALS and not must_go_on:
            if not outcome.why():
                raise Failed(f"refused without a word: {outcome.err}")
        else:
            self.world.check_same(outcome)
            self.world.check_published()
        ends = self.ends.setdefault(kind, {})
        ends[outcome.code] = ends.get(outcome.code, 0) + 1
        if outcome.code and self.args.verbose:
            say(f"{kind}: {name}: {outcome.code}: {outcome.why()}")

    def one(self, kind, must_go_on, damage, number):
        self.world.fresh()
        name = damage()
        try:
            self.check(kind, must_go_on, name)
            self.passed += 1
        except Failed as e:
            self.failures.append(f"seed {self.args.seed}, {kind} {number}: {name}: {e}")
            if self.args.keep:
                shutil.copytree(self.world.work, os.path.join(self.world.tmp, f"failed-{len(self.failures)}"))

    def damaged(self, function):
        shutil.copytree(self.rng.choice(self.states.path[1:]), self.world.work, dirs_exist_ok=True)
        return function(self.world.state, self.rng)

    def run(self):
        for number in range(self.args.rounds):
            for kind, must_go_on, function in KINDS + (DELTA_KINDS if self.args.deltas else ()):
                self.one(kind, must_go_on, lambda f=function: self.damaged(f), number)
            for what, must_go_on in MIXTURES:
                self.one(f"{what} of another moment", must_go_on,
                         lambda w=what: mixed(self.states, self.world.work, self.rng, w), number)
        for kind, ends in self.ends.items():
            went, refused = ends.pop(0, 0), ends
            say(f"{kind}: went on {went} times, refused {sum(refused.values())}{f' {refused}' if refused else ''}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=1, help="damages of each kind")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--deltas", action="store_true", help="versions that hold what changed, and merges of them")
    p.add_argument("--events", type=int, default=20000)
    p.add_argument("--keep", action="store_true", help="keep the states of what fails, as it left them")
    p.add_argument("--verbose", action="store_true", help="print every refusal")
    args = p.parse_args()
    world = World(args.events, 21, args.deltas)
    suite = Suite(world, args)
    suite.run()
    finish(world, suite.failures, suite.passed, args.keep)


if __name__ == "__main__":
    main()
