"""Runs of undine over one small stream of files, and what must be equal at their ends."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# A report's members that tell whether the same was learned from the same.
SAME = ("events impressions clicks examples positives batches rows example_digest model_digest accounting").split()
KILLED_BY_TEST = 124
# Everything happens often: small polls, a version every 100 ms, tables and logs that are full after 200 KB.
OPTIONS = ("snapshot.interval=100ms ingest.poll_max=53 store.sync_interval=10ms store.write_buffer=4MiB").split()
# The same with versions that hold what changed, and merges of two and more of them.
DELTAS = ("snapshot.delta_interval=50ms snapshot.chain_max=2 snapshot.keep=2").split()


class Failed(Exception):
    pass


class Outcome:
    def __init__(self, code, out, err):
        self.code, self.err = code, err
        lines = out.strip().split("\n")
        self.report = json.loads(lines[-1]) if code in (0, 5) and lines[-1] else None

    def digest(self):
        return {k: self.report[k] for k in SAME}

    def why(self):
        """The last line for people."""
        said = [line for line in self.err.strip().split("\n") if line.startswith("undine ")]
        return said[-1] if said else ""

    def restored(self):
        """Number of the version it went on from and of the examples that it had learned; 0 = none."""
        found = re.search(r"restored version (\d+): (\d+) examples", self.err)
        return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


class World:
    """A stream, its uninterrupted replay, and a place for states.  UNDINE, ROOT and BUILD are as for every test.
    deltas: versions are written as DELTAS says."""

    def __init__(self, events, seed, deltas=False):
        self.options = [*OPTIONS, *(DELTAS if deltas else ())]
        build = os.environ.get("BUILD", os.path.join(ROOT, "build", "dev"))
        self.undine = os.environ.get("UNDINE", os.path.join(build, "undine"))
        self.config = os.path.join(ROOT, "configs", "demo.yaml")
        self.wrap = os.path.join(build, "tests", "libcrash_wrap.so")
        self.tmp = tempfile.mkdtemp(prefix="undine-crash.")
        self.input = os.path.join(self.tmp, "events.jsonl")
        self.work = os.path.join(self.tmp, "work")
        self.state = os.path.join(self.work, "state")
        self.env = dict(os.environ)
        self.choose_kernels()
        made = [self.undine, "generate", "--events", str(events), "--seed", str(seed), "--output", self.input]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.whole = self.replay(os.path.join(self.tmp, "whole"))
        if self.whole.code != 0:
            raise Failed(f"an uninterrupted replay ends with {self.whole.code}: {self.whole.err}")

    def choose_kernels(self):
        """The program starts itself again where OpenBLAS guesses wrong; spare every run that."""
        if "OPENBLAS_CORETYPE" not in self.env:
            self.env["OPENBLAS_NUM_THREADS"] = "1"

    def fresh(self):
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.work)

    def command(self, state, options):
        command = [self.undine, "replay", "--config", self.config, "--input", self.input, "--state", state or self.state]
        for option in [*self.options, *options]:
            command += ["-o", option]
        return command

    def start(self, options=()):
        """A replay that goes on while something is done to it."""
        return subprocess.Popen(self.command(None, options), env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self, child, timeout_s=60):
        try:
            out, err = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as e:
            child.kill()
            raise Failed(f"hangs for {timeout_s} s") from e
        return Outcome(child.returncode, out.decode(errors="replace"), err.decode(errors="replace"))

    def replay(self, state=None, wrap=None, timeout_s=60, options=()):
        """Replay the stream; wrap: environment of the wrapped run."""
        command = self.command(state, options)
        env = self.env
        if wrap is not None:
            env = {**env, "LD_PRELOAD": self.wrap, "UNDINE_IO_DIR": self.work, **wrap}
        try:
            done = subprocess.run(command, env=env, capture_output=True, timeout=timeout_s)
        except subprocess.TimeoutExpired as e:
            raise Failed(f"hangs for {timeout_s} s: {(e.stderr or b'').decode(errors='replace')}") from e
        return Outcome(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def check_same(self, outcome):
        if outcome.code != 0:
            raise Failed(f"ends with {outcome.code}: {outcome.err}")
        a, b = self.whole.digest(), outcome.digest()
        wrong = [f"{k}: {a[k]} whole, {b[k]} here" for k in SAME if a[k] != b[k]]
        if wrong:
            raise Failed("WRONG RESULT: " + "; ".join(wrong))

    def manifests(self):
        return self.manifests_of(os.path.join(self.state, "versions"))

    @staticmethod
    def manifests_of(versions):
        """Number -> manifest of every version that has one."""
        found = {}
        for name in sorted(os.listdir(versions)) if os.path.isdir(versions) else ():
            try:
                with open(os.path.join(versions, name, "manifest.json"), encoding="utf-8") as f:
                    found[int(name)] = json.load(f)
            except (OSError, ValueError):
                pass  # another file, a temporary directory, or what a test has damaged
        return found

    @staticmethod
    def kind(manifests, number):
        if manifests[number]["kind"] != "delta":
            return "merged" if "merged_from" in manifests[number] else "full"
        full = manifests.get(manifests[number]["chain"][0]["number"], {})
        return "delta on a merged one" if "merged_from" in full else "delta"

    def check_published(self, state=None):
        """After a replay that ended well, CURRENT names a version with its model, and every version says what it is."""
        versions = os.path.join(state or self.state, "versions")
        with open(os.path.join(versions, "CURRENT"), encoding="ascii") as f:
            name = f.read().strip()
        with open(os.path.join(versions, name, "manifest.json"), encoding="utf-8") as f:
            digest = json.load(f)["digests"]["model"]
        if digest != self.whole.report["model_digest"]:
            raise Failed(f"CURRENT is {name} with model {digest}, learned is {self.whole.report['model_digest']}")

    def close(self, keep):
        if keep:
            print(f"kept: {self.tmp}")
        else:
            shutil.rmtree(self.tmp, ignore_errors=True)


def say(text):
    print(text, flush=True)


def finish(world, failures, passed, keep):
    world.close(keep and failures)
    for failure in failures:
        say(f"FAIL {failure}")
    say(f"{passed} passed, {len(failures)} failed")
    sys.exit(1 if failures else 0)
