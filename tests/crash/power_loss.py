#!/usr/bin/env python3
"""power_loss.py [--deltas] [--cuts N] [--again N] [--seed S] [--events N] [--keep]: the power goes at any moment of a replay.

A replay is recorded with every change that it makes to its disk.  Then the disk is built as a power cut may leave it: what
was synced, and of the rest nothing, all, a beginning, or any part (disk_image.py).  On each such disk a replay must go on to
the examples, the counters and the model of one that was never cut, and from a version that had been announced or a newer one.
A share of the restarts is recorded and cut again."""
import argparse
import json
import os
import random
import re
import shutil

import disk_image
from state_run import Failed, World, finish, say


SUBCUTS = 3  # of a restart that is recorded


class Recording:
    """A replay and its changes.  base: a directory with the disk that it starts on; None = an empty one."""

    def __init__(self, world, base=None):
        self.world, self.base = world, base
        world.fresh()
        if base:
            shutil.copytree(base, world.work, dirs_exist_ok=True)
        self.trace = os.path.join(world.tmp, "trace")
        if os.path.exists(self.trace):
            os.remove(self.trace)
        self.outcome = world.replay(wrap={"UNDINE_IO_TRACE": self.trace})
        self.records = list(disk_image.records(self.trace))
        world.check_same(self.outcome)
        self.check_complete()

    def check_complete(self):
        """All changes together must give the very files that are there, or something escapes the record."""
        out = os.path.join(self.world.tmp, "all")
        disk = disk_image.Disk(self.world.work, self.base)
        for record in self.records:
            disk.step(record)
        disk.write_to(out, "kept", random.Random(0))
        wrong = disk_image.differences(out, self.world.work)
        shutil.rmtree(out)
        if wrong:
            raise Failed(f"the record is not complete: {wrong}")

    def created(self, ending):
        return len({r[3] for r in self.records if r[0] == disk_image.OPEN and r[3].endswith(ending)})

    def renames(self):
        """After which changes a version has just got its name: the moments at which a name without its files, or files
        without their name, may be left."""
        named = re.compile(r".*/versions/\d{12}")
        return [i + 1 for i, r in enumerate(self.records) if r[0] == disk_image.RENAME and named.fullmatch(r[4].decode())]

    def cuts(self, moments):
        """The disk as it stands after so many changes, for each of these moments, ascending."""
        disk = disk_image.Disk(self.world.work, self.base)
        for at in sorted(moments):
            for record in self.records[disk.when : at]:
                disk.step(record)
            yield disk


def announced(disk):
    """What the newest version in the synced part of HISTORY had learned: readers know of it for good."""
    try:
        history = disk.node(os.path.join(disk.root, "state/versions/HISTORY"))
    except KeyError:
        return 0
    lines = history.durable.decode().splitlines()
    return json.loads(lines[-1])["trained_seq"] if lines else 0


def check_restart(world, promised):
    """Returns the version it went on from, and its kind."""
    manifests = world.manifests()
    outcome = world.replay()
    world.check_same(outcome)
    version, learned = outcome.restored()
    if learned < promised:
        raise Failed(f"a version of {promised} examples was announced, it goes on from {version} of {learned}")
    if "skipped" in outcome.err:
        raise Failed(f"a version is not usable: {outcome.err}")
    return version, world.kind(manifests, version) if version else "none"


class Suite:
    def __init__(self, world, args):
        self.world, self.args = world, args
        self.failures, self.passed, self.restored, self.kinds = [], 0, {}, {}

    def cut(self, disk, mode, seed, name):
        shutil.rmtree(self.world.work, ignore_errors=True)
        disk.write_to(self.world.work, mode, random.Random(seed))
        try:
            version, kind = check_restart(self.world, announced(disk))
            self.restored[version] = self.restored.get(version, 0) + 1
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            self.passed += 1
        except Failed as e:
            self.failures.append(f"{name}: {e}")
            if self.args.keep:
                disk.write_to(os.path.join(self.world.tmp, f"disk-{len(self.failures)}"), mode, random.Random(seed))

    def cut_again(self, disk, mode, rng, name):
        """Record the restart on such a disk, and cut that."""
        base = os.path.join(self.world.tmp, "base")
        shutil.rmtree(base, ignore_errors=True)
        disk.write_to(base, mode, rng)
        try:
            restart = Recording(self.world, base)
        except Failed as e:
            self.failures.append(f"{name}, recorded: {e}")
            return
        # Most of what a restart does to the disk it does at once.
        n = len(restart.records)
        moments = [rng.randint(0, min(n, 120)) for _ in range(SUBCUTS - 1)] + [rng.randint(0, n)]
        for again in restart.cuts(moments):
            how = rng.choice(disk_image.MODES)
            self.cut(again, how, rng.randint(0, 2**32), f"{name}, then after change {again.when}, {how}")

    def run(self):
        rng = random.Random(self.args.seed)
        first = Recording(self.world)
        n = len(first.records)
        tables, logs = first.created(".sst"), first.created(".log")
        say(f"recorded: {n} changes, {first.outcome.report['version']} versions, {tables} tables, {logs} logs")
        if tables < 5 or logs < 3:
            raise Failed("the store has not written enough for this test to mean something")
        singles = max(len(disk_image.MODES), self.args.cuts - SUBCUTS * self.args.again)
        renames = first.renames()
        named = [min(n, rng.choice(renames) + rng.randint(0, 8)) for _ in range(singles // 3)]
        anywhere = [rng.randint(0, n) for _ in range(singles - len(disk_image.MODES) - len(named))]
        moments = sorted([n] * len(disk_image.MODES) + named + anywhere)
        modes = [disk_image.MODES[i % len(disk_image.MODES)] for i in range(singles)]
        for i, disk in enumerate(first.cuts(moments)):
            name = f"seed {self.args.seed}, cut {i} after change {disk.when} of {n}, {modes[i]}"
            self.cut(disk, modes[i], rng.randint(0, 2**32), name)
        for disk in first.cuts([rng.randint(0, n) for _ in range(self.args.again)]):
            mode = rng.choice(disk_image.MODES)
            name = f"seed {self.args.seed}, cut after change {disk.when} of {n}, {mode}"
            self.cut_again(disk, mode, rng, name)
        say(f"restarts by the version they went on from: {dict(sorted(self.restored.items()))}, by its kind: {self.kinds}")
        if self.args.deltas and not any(kind.startswith("delta") for kind in self.kinds):
            raise Failed("no restart went on from a delta: this test means nothing")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cuts", type=int, default=24)
    p.add_argument("--again", type=int, default=2, help="restarts that are recorded and cut 3 times (part of --cuts)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--deltas", action="store_true", help="versions that hold what changed, and merges of them")
    p.add_argument("--events", type=int, default=20000)
    p.add_argument("--keep", action="store_true", help="keep the disks of cuts that fail")
    args = p.parse_args()
    world = World(args.events, 21, args.deltas)
    suite = Suite(world, args)
    suite.run()
    finish(world, suite.failures, suite.passed, args.keep)


if __name__ == "__main__":
    main()
