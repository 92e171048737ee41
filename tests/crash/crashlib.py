"""crashlib.py: what the crash tests share: the programs, streams with trouble in them, brokers in other processes, and the
life of a daemon.  Python's standard library alone."""
import atexit
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED = 77
KILLED = -signal.SIGKILL
PARTITIONS = 4
children = []
temporary = []


class Failure(Exception):
    """A promise that does not hold."""


class NoBroker(Exception):
    """This machine has no Kafka."""


def skipped(why):
    """The exit code for it: with CI=true a broker is expected."""
    say(f"SKIPPED: no Kafka broker can be had on this machine: {why}")
    return 1 if os.environ.get("CI") == "true" else SKIPPED


def clean_up():
    for child in children:
        if child.poll() is None:
            child.kill()
            child.wait()
    for path in temporary:
        shutil.rmtree(path, ignore_errors=True)


atexit.register(clean_up)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))


def say(text):
    print(time.strftime("%H:%M:%S"), text, flush=True)


def temporary_directory():
    path = tempfile.mkdtemp(prefix="undine-kill.")
    temporary.append(path)
    return path


def machine():
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        found = re.search(r"^model name\s*:\s*(.*)$", info.read(), re.M)
        model = found.group(1) if found else model
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release()}


class Programs:
    """The program under test and its helper; a build with fault points is asked for by the caller."""

    def __init__(self, undine):
        self.undine = undine
        self.digests = os.path.join(os.path.dirname(undine), "tests", "version_digests")

    def call(self, *words, code=0, program=None):
        """Run to the end; returns its standard output."""
        done = subprocess.run([program or self.undine, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False)
        if done.returncode != code:
            raise Failure(f"`{' '.join(words[:2])}` ended with {done.returncode}, expected {code}: {done.stderr[-600:]}")
        return done.stdout

    def start(self, words, out, log, fault=None, program=None, stdin=subprocess.DEVNULL):
        """Start in the background; standard output into `out` (a path or PIPE), standard error appended to `log`."""
        environment = {k: v for k, v in os.environ.items() if k != "UNDINE_FAULT"}
        if fault is not None:
            environment["UNDINE_FAULT"] = fault
        stdout = out if out == subprocess.PIPE else open(out, "wb")
        with open(log, "ab") as stderr:
            child = subprocess.Popen([program or self.undine, *words], stdin=stdin, stdout=stdout, stderr=stderr,
                                     env=environment)
        if stdout != subprocess.PIPE:
            stdout.close()
        children[:] = [c for c in children if c.poll() is None] + [child]
        return child


def fault_points():
    """Every FAULT("...") of the tree, by grep: a new one is covered at once."""
    found = set()
    for layer in ("base", "configs", "featurestore", "ingest", "learner", "ops", "scorer"):
        for folder, _, names in os.walk(os.path.join(ROOT, layer)):
            for name in names:
                if name.endswith(".c"):
                    with open(os.path.join(folder, name), encoding="utf-8") as source:
                        found.update(re.findall(r'\bFAULT\("([^"]+)"\)', source.read()))
    return sorted(found)


# ---- streams ----


def make_stream(programs, path, events, seed, rng):
    """A generated stream with duplicates, malformed lines, clicks of unknown impressions and users that are forgotten.
    Returns its lines; they are in `path`."""
    programs.call("generate", "--events", str(events), "--seed", str(seed), "--users", "60", "--items", "300", "--output", path)
    with open(path, encoding="utf-8") as lines:
        clean = lines.read().splitlines()
    later = {}
    out = []
    for i, line in enumerate(clean):
        out.append(line)
        out.extend(later.pop(i, ()))
        event = json.loads(line)
        draw = rng.random()
        if draw < 0.01:  # soon enough to be no late event
            later.setdefault(i + 1 + rng.randrange(40), []).append(line)
        elif draw < 0.015:
            out.append(rng.choice(("{\"kind\":\"click\"", "no json at all", "{\"kind\":\"view\",\"time\":1}", line[:-7])))
        elif draw < 0.02:
            out.append(json.dumps({"kind": "click", "impression": f"unknown-{i}", "user": event["user"], "time": event["time"]}))
        elif draw < 0.024:
            out.append(json.dumps({"kind": "forget", "user": event["user"], "time": event["time"] + 1}))
    with open(path, "w", encoding="utf-8") as lines:
        lines.write("\n".join(out) + "\n")
    return out


def write_config(path, topics, brokers):
    """The shipped demo configuration on topics of its own."""
    with open(os.path.join(ROOT, "configs", "demo.yaml"), encoding="utf-8") as source:
        text = source.read()
    text = text.replace("name: impressions,", f"name: {topics}impressions,").replace("name: clicks, kinds: [click, behavior]",
                                                                                  f"name: {topics}clicks, kinds: [click, behavior, forget]")
    text = text.replace("brokers: localhost:9092", f"brokers: {brokers}").replace("group: undine-demo", f"group: {topics}undine")
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)


# ---- brokers ----


class MockBroker:
    """librdkafka's mock cluster in a process of its own, which outlives every daemon."""
    kind = "mock"

    def __init__(self, programs, directory):
        self.programs = programs
        self.log = os.path.join(directory, "mock-broker.log")
        self.child = programs.start(["mock-broker"], subprocess.PIPE, self.log, stdin=subprocess.PIPE)
        line = self.child.stdout.readline().decode()
        if not line.startswith("BOOT "):
            raise Failure(f"the mock broker did not start: {line!r}")
        self.brokers = line.split()[1]

    def command(self, text):
        self.child.stdin.write(text.encode() + b"\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline().decode().strip()
        if answer != "ok":
            raise Failure(f"mock broker: `{text}`: {answer}")

    def create(self, topics):
        for name in ("impressions", "clicks"):
            self.command(f"topic {topics}{name} {PARTITIONS}")

    def go_down(self):
        """What it holds stays."""
        self.command("down 1")

    def come_back(self):
        self.command("up 1")

    def close(self):
        self.child.kill()
        self.child.wait()


class KafkaBroker:
    """A real Kafka (ops/kafka-dev)."""
    kind = "kafka"

    def __init__(self, programs, directory):
        self.programs = programs
        self.data = os.path.join(directory, "kafka")
        self.script = os.path.join(ROOT, "ops", "kafka-dev")
        done = subprocess.run([self.script, "start", "--data", self.data], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            raise NoBroker(done.stderr.strip()[-300:])
        atexit.register(self.close)
        self.brokers = done.stdout.split()[-1]

    def create(self, topics):
        """With the topics, the names are the producer's to make: an input without lines."""
        for name in ("impressions", "clicks"):
            self.programs.call("produce", "--brokers", self.brokers, "--create", "--partitions", str(PARTITIONS), "--topics",
                               f"impression={topics}{name}", "--input", "/dev/null")

    def go_down(self):
        subprocess.run([self.script, "kill9", "--data", self.data], check=True, capture_output=True)

    def come_back(self):
        """On its data."""
        subprocess.run([self.script, "start", "--data", self.data], check=True, capture_output=True, stdin=subprocess.DEVNULL)

    def close(self):
        subprocess.run([self.script, "kill9", "--data", self.data], check=False, capture_output=True)


def start_producer(programs, broker, topics, path, rate, log):
    """Send the lines of `path` in their order, `rate` a second (0: as fast as it goes)."""
    words = ["produce", "--brokers", broker.brokers, "--input", path, "--topics",
             f"impression={topics}impressions,click={topics}clicks,behavior={topics}clicks,forget={topics}clicks"]
    if rate > 0:
        words += ["--rate", str(max(1, int(rate)))]
    return programs.start(words, log + ".out", log)


# ---- what is compared ----

REPORT = ("events", "impressions", "clicks", "examples", "positives", "batches", "batches_skipped", "rows", "rows_forgotten",
          "rows_expired", "auc", "gauc", "logloss", "normalized_entropy", "calibration", "popularity_auc", "ece",
          "example_digest", "model_digest")
STORE = ("watermark_ms", "event_time_ms", "first_impression_ms", "users_digest", "events_digest", "users", "steps",
         "events_kept")


def read_report(path):
    with open(path, encoding="utf-8") as out:
        return json.loads(out.read().strip().splitlines()[-1])


def differences(expected, got, names, what):
    return [f"{what} {n}: {got.get(n)!r}, expected {expected.get(n)!r}" for n in names if expected.get(n) != got.get(n)]


def compare_counters(expected, got, what):
    """All counters but the losses, which an uninterrupted run has none of."""
    names = [n for n in expected if n != "losses"]
    return differences(expected, got, names, what)


def history(state):
    """The whole lines of HISTORY; one that a crash cut short is followed by a whole one, or by nothing."""
    path = os.path.join(state, "versions", "HISTORY")
    if not os.path.exists(path):
        return []
    entries = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue
    return entries


def current_version(state):
    try:
        with open(os.path.join(state, "versions", "CURRENT"), encoding="utf-8") as current:
            return int(current.read())
    except FileNotFoundError:
        return None


def manifest(state, number):
    with open(os.path.join(state, "versions", f"{number:012}", "manifest.json"), encoding="utf-8") as text:
        return json.load(text)


def is_merged(state, number):
    """Made of deltas beside the publishing of others: a checkpoint, which is not published itself."""
    return "merged_from" in manifest(state, number)


def is_refused(state, number):
    gate = manifest(state, number)["gate"]
    return gate != "off" and (gate["mode"], gate["verdict"]) == ("enforce", "refuse")


def version_numbers(state):
    try:
        return sorted(int(n) for n in os.listdir(os.path.join(state, "versions")) if re.fullmatch(r"\d{12}", n))
    except FileNotFoundError:
        return []


def compare_history(state, seen_current, digests):
    """Every version that was ever published: told of once, in order, the model of an uninterrupted learner at the same
    example; and the newest is the published one."""
    wrong = []
    entries = history(state)
    numbers = [e["version"] for e in entries]
    if numbers != sorted(set(numbers)):
        wrong.append(f"HISTORY does not tell of each version once, in order: {numbers}")
    missing = seen_current - set(numbers)
    if missing:
        wrong.append(f"versions {sorted(missing)} were published and HISTORY does not say so")
    for e in entries:
        model = digests.get(str(e["trained_seq"]))
        if model != e["digest"]:
            wrong.append(f"version {e['version']} of example {e['trained_seq']} is {e['digest']}, an uninterrupted learner's is {model}")
    published = [e["version"] for e in entries if e["event"] == "publish"]  # the gate may have refused others
    current = current_version(state)
    present = [n for n in version_numbers(state) if not is_merged(state, n) and not is_refused(state, n)]
    if current is None or current != max(present, default=None) or current != max(published, default=None):
        wrong.append(f"CURRENT is {current}, there are {present}")
    return wrong


def show_tail(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            print("  " + "  ".join(log.readlines()[-12:]), flush=True)
    except OSError:
        pass
