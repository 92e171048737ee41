#!/usr/bin/env python3
"""io_faults.py [--per-case N] [--seed S] [--events N] [--only CASE] [--every N] [--keep]: the nth call of a kind fails.

A replay, from nothing or from the middle, meets one failing call, or one from which on all of their kind fail.  It must end as
if nothing had been (a version that cannot be written is made again later), or with exit code 1 and one line that says what
failed: never with a signal (but at known places of libraries that got no memory), a hang or another result.  A failing write or fsync of the write-ahead log must stop it.  Then the
fault is gone, and the next replay must go on to the examples, the counters and the model of one that met none."""
import argparse
import os
import random
import shutil
import signal
import struct
import subprocess
import time

import disk_image
from state_run import Failed, World, finish, say

# As in wrap_plan.h.
CLASSES = ("open read write fsync rename unlink mkdir close truncate allocate mmap change space malloc own").split()
LOG_SYNCS = 4
# How libraries end the program where they get no memory, told by where: the innermost function, or with SIGABRT the first one
# that is not this program's.  C++ has no other way than SIGABRT.  RocksDB 7.8.3 does not look at what it got for LZ4's state
# (LZ4_createStream, LZ4_createStreamDecode), for the parts and tables of its cache and for the list of families, and reads or
# writes at address 0.
UNCHECKED_BY_ROCKSDB = (("librocksdb.", "rocksdb_list_column_families"),
                        ("liblz4.", "LZ4_decompress_safe_continue"), ("liblz4.", "LZ4_compress_fast_continue"),
                        ("librocksdb.", "_ZN7rocksdb9lru_cache13LRUCacheShard"), ("librocksdb.", "_ZN7rocksdb9lru_cache13LRUHandleTable"))


def by_library(code, place, err):
    """Did a library end the program for want of memory, at a place that is known for it?  place: as place_wrap.c writes it,
    nothing while libraries are loaded."""
    if code == 1:  # libgfortran's constructor, beneath OpenBLAS
        return err == "Operating system error: Cannot allocate memory\nMemory allocation failed\n"
    if not place:
        return code == -signal.SIGABRT and err.startswith("terminate called after throwing an instance of 'std::bad_alloc'")
    number, *frames = place.split()
    if not frames or int(number) != -code:
        return False
    library, _, symbol = frames[0].partition(":")
    if code == -signal.SIGABRT:
        return library.startswith(("libstdc++.", "librocksdb.", "librdkafka.", "libopenblas", "libblas."))
    return code == -signal.SIGSEGV and any(library.startswith(lib) and symbol.startswith(s) for lib, s in UNCHECKED_BY_ROCKSDB)


# The log of the store, synced by the publisher thread alone.
LOG_SYNC = "the log's fsync"
# (class, error, for ever)
CASES = (
    ("write", "EIO", False), ("write", "SHORT", False), ("write", "ENOSPC", True), ("fsync", "EIO", False), ("fsync", "EIO", True),
    (LOG_SYNC, "EIO", False),
    ("rename", "EIO", False), ("open", "EIO", False), ("open", "EMFILE", True), ("close", "EIO", False), ("mkdir", "ENOSPC", False),
    ("unlink", "EIO", False), ("truncate", "EIO", False), ("allocate", "ENOSPC", True), ("read", "EIO", False),
    ("mmap", "ENOMEM", False), ("change", "EROFS", True), ("space", "ENOSPC", True), ("own", "ENOMEM", False),
    ("own", "ENOMEM", True), ("malloc", "ENOMEM", False),
)


class Suite:
    def __init__(self, world, args):
        self.world, self.args = world, args
        self.rng = random.Random(args.seed)
        self.failures, self.passed, self.ends, self.places = [], 0, {}, {}
        self.middle = self.record_middle()
        self.totals = {start: self.count(start) for start in ("nothing", "middle")}

    def record_middle(self):
        self.world.fresh()
        trace = os.path.join(self.world.tmp, "trace")
        self.world.check_same(self.world.replay(wrap={"UNDINE_IO_TRACE": trace}))
        records = list(disk_image.records(trace))
        disk = disk_image.Disk(self.world.work)
        for record in records[: int(len(records) * 0.6)]:
            disk.step(record)
        out = os.path.join(self.world.tmp, "middle")
        disk.write_to(out, "kept", random.Random(0))
        return out

    def start(self, start):
        self.world.fresh()
        if start == "middle":
            shutil.copytree(self.middle, self.world.work, dirs_exist_ok=True)

    def count(self, start):
        """How many calls of each class a replay makes."""
        self.start(start)
        path = os.path.join(self.world.tmp, "count")
        if os.path.exists(path):
            os.remove(path)
        self.world.check_same(self.world.replay(wrap={"UNDINE_IO_COUNT": path}))
        with open(path, "rb") as f:
            raw = f.read()
        totals = dict(zip(CLASSES, struct.unpack_from(f"<{len(CLASSES)}Q", raw)))
        totals[LOG_SYNC] = LOG_SYNCS
        return totals

    def fault(self, start, kind, nth, error, always, options):
        self.start(start)
        said, place = os.path.join(self.world.tmp, "said"), os.path.join(self.world.tmp, "place")
        for path in (said, place):
            if os.path.exists(path):
                os.remove(path)
        wrap = {"UNDINE_IO_SAID": said, "UNDINE_IO_PLACE": place}
        if kind == LOG_SYNC:
            kind, options, wrap["UNDINE_IO_FILES"] = "fsync", ["store.sync_interval=1h"], ".log"
        wrap["UNDINE_IO_FAIL"] = f"{kind}:{nth}:{error}{':always' if always else ''}"
        outcome = self.world.replay(wrap=wrap, options=options)
        failed = []
        if os.path.exists(said):
            with open(said, encoding="utf-8") as f:
                failed = f.read().split("\n")[:-1]
        where = ""
        if os.path.exists(place):
            with open(place, encoding="utf-8") as f:
                where = f.readline().strip()
        self.check_fault(outcome, kind, error, failed, where)
        return outcome.code, failed

    def check_fault(self, outcome, kind, error, failed, place):
        log = [p for p in failed if p.endswith(".log") and "/store/" in p]
        must_stop = log and kind in ("write", "fsync", "space") and error != "SHORT"
        if outcome.code == 0:
            self.world.check_same(outcome)
            if must_stop:
                raise Failed(f"it went on although {log[0]} could not be written")
        elif kind == "malloc" and by_library(outcome.code, place, outcome.err):
            key = f"{signal.Signals(-outcome.code).name if outcome.code < 0 else 'exit 1'} in {place.split()[1] if place else 'a constructor of a library'}"
            self.places[key] = self.places.get(key, 0) + 1
        elif outcome.code != 1 or not outcome.why():
            raise Failed(f"ends with {outcome.code} at `{place}`: {outcome.err}")

    def one(self, kind, error, always, start, nth, options):
        name = f"{kind} {error}{' from there on' if always else ''}"
        where = f"seed {self.args.seed}, {name}, call {nth} of {self.totals[start][kind]}, from {start}, {' '.join(options)}"
        failed = []
        try:
            code, failed = self.fault(start, kind, nth, error, always, options)
            self.world.check_same(self.world.replay())
            self.world.check_published()
            self.passed += 1
            ends = self.ends.setdefault(name, {})
            ends[code] = ends.get(code, 0) + 1
            if self.args.verbose:
                say(f"{where}: ends with {code}; {[p[len(self.world.work):] for p in failed[:2]]}")
        except Failed as e:
            self.failures.append(f"{where}: {[p[len(self.world.work):] for p in failed[:3]]}: {e}")
            if self.args.keep:
                shutil.copytree(self.world.work, os.path.join(self.world.tmp, f"failed-{len(self.failures)}"))

    def moments(self, total):
        if self.args.every:
            return range(1, total + 1, self.args.every)
        return sorted(self.rng.randint(1, total) for _ in range(self.args.per_case))

    def run(self):
        for kind, error, always in CASES:
            if self.args.only and self.args.only != kind:
                continue
            for i, start in enumerate(("nothing", "middle")):
                if not self.args.every and self.args.per_case == 1 and self.rng.randint(0, 1) != i:
                    continue
                total = self.totals[start][kind]
                if total == 0:
                    continue
                for nth in self.moments(total):
                    # Synced by the publisher alone, or by the ingest thread too.
                    options = self.rng.choice((["store.sync_interval=1h"], []))
                    self.one(kind, error, always, start, nth, options)
        for name, ends in self.ends.items():
            say(f"{name}: {', '.join(f'{n} ended with {code}' for code, n in sorted(ends.items()))}")
        for place, n in sorted(self.places.items()):
            say(f"no memory, in a library: {n} {place}")


def full_disk(world):
    """The real thing: a small file system that is full, then larger.  Needs to be allowed to mount one."""
    world.fresh()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "undine-test", world.work], capture_output=True).returncode:
        say("a full tmpfs: SKIPPED, this user may not mount one")
        return
    try:
        outcome = world.replay()
        if outcome.code != 1 or not outcome.why():
            raise Failed(f"on a full disk it ends with {outcome.code}: {outcome.err}")
        subprocess.run(["mount", "-o", "remount,size=256m", world.work], check=True)
        world.check_same(world.replay())
        world.check_published()
        say(f"a full tmpfs: {outcome.why()[:200]}; larger: as if nothing had been")
    finally:
        subprocess.run(["umount", world.work], check=True)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


def until(what, seconds=30):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise Failed("what was waited for did not happen")
        time.sleep(0.01)


def lost_disk(world):
    """The real thing: ext4 finds an error and makes itself read-only under the running program.  Needs a loop device."""
    world.fresh()
    image = os.path.join(world.tmp, "disk")
    with open(image, "wb") as f:
        f.truncate(256 << 20)
    mount = ("mount", "-o", "loop,errors=remount-ro", image, world.work)
    if run("mkfs.ext4", "-q", image).returncode or run(*mount).returncode:
        say("a disk that turns read-only: SKIPPED, this user may not mount one")
        return
    try:
        device = run("findmnt", "-no", "SOURCE", world.work).stdout.strip()
        trigger = f"/sys/fs/ext4/{os.path.basename(device)}/trigger_fs_error"
        if not os.access(trigger, os.W_OK):
            say(f"a disk that turns read-only: SKIPPED, the kernel has no {trigger}")
            return
        slow = ["store.sync_interval=0s", "ingest.poll_max=3"]
        child = world.start(slow)
        until(lambda: os.path.exists(os.path.join(world.state, "versions", "CURRENT")) or child.poll() is not None)
        with open(trigger, "w", encoding="ascii") as f:
            f.write("test")
        outcome = world.end(child)
        if outcome.code != 1 or not outcome.why():
            raise Failed(f"on a disk that turns read-only it ends with {outcome.code}: {outcome.err}")
        refused = world.replay()
        if refused.code != 1 or not refused.why():
            raise Failed(f"on a read-only disk it ends with {refused.code}: {refused.err}")
        run("umount", world.work)
        run("e2fsck", "-p", image)
        if run(*mount).returncode:
            raise Failed("the disk cannot be mounted again")
        world.check_same(world.replay())
        world.check_published()
        say(f"a disk that turns read-only: {outcome.why()[:160]}; mended: as if nothing had been")
    finally:
        run("umount", world.work)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--per-case", type=int, default=1, help="failing calls per case, chosen by the seed")
    p.add_argument("--every", type=int, default=0, help="instead every Nth call of each class")
    p.add_argument("--only", choices=CLASSES, help="only this class")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--events", type=int, default=9000)
    p.add_argument("--keep", action="store_true", help="keep the states of what fails, as it left them")
    p.add_argument("--verbose", action="store_true")
    args = p.parse_args()
    world = World(args.events, 21)
    suite = Suite(world, args)
    suite.run()
    for real in (full_disk, lost_disk):
        try:
            real(world)
            suite.passed += 1
        except Failed as e:
            suite.failures.append(str(e))
    finish(world, suite.failures, suite.passed, args.keep)


if __name__ == "__main__":
    main()
