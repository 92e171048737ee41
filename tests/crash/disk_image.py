"""What a disk may hold after a power cut, from a record of what a program did to it (io_wrap.c).

The rules are those of POSIX, not those of one file system: the bytes of a file are sure to be there up to its last fsync,
a name in a directory up to the last fsync of that directory.  Everything since may be there or not, in any combination:
a later write without an earlier one, a rename without the file's bytes, half of a write."""
import os
import random
import struct

OPEN, WRITE, FSYNC, CLOSE, RENAME, UNLINK, MKDIR, RMDIR, TRUNCATE, UNKNOWN = range(1, 11)
HEAD = struct.Struct("<IiQII")
SECTOR = 512
MODES = ("lost", "kept", "ordered", "random")


def records(path):
    """(kind, fd, offset, name, data) of every change, in order."""
    with open(path, "rb") as f:
        raw = f.read()
    at = 0
    while at < len(raw):
        kind, fd, offset, n_name, n_data = HEAD.unpack_from(raw, at)
        at += HEAD.size
        name = raw[at : at + n_name].decode()
        yield kind, fd, offset, name, raw[at + n_name : at + n_name + n_data]
        at += n_name + n_data


class File:
    def __init__(self, data=b""):
        self.durable = bytes(data)  # what is sure to be there
        self.now = bytearray(data)  # what the program sees
        self.since = []  # (when, offset, data) or (when, length, None = cut to it)

    def write(self, when, offset, data):
        if len(self.now) < offset:
            self.now.extend(bytes(offset - len(self.now)))
        self.now[offset : offset + len(data)] = data
        self.since.append((when, offset, data))

    def truncate(self, when, length):
        if length == len(self.now):
            return
        del self.now[length:]
        self.now.extend(bytes(length - len(self.now)))
        self.since.append((when, length, None))

    def sync(self):
        self.durable = bytes(self.now)
        self.since = []


class Directory:
    def __init__(self):
        self.durable = {}
        self.now = {}
        self.since = []  # (when, names gone, names set: name -> node)

    def change(self, when, gone, came):
        apply_names(self.now, gone, came)
        self.since.append((when, gone, came))

    def sync(self):
        self.durable = dict(self.now)
        self.since = []


def apply_names(names, gone, came):
    for name in gone:
        names.pop(name, None)
    names.update(came)


class Disk:
    """Follows the records below `root`; `base`: a directory with what was there, all of it durable."""

    def __init__(self, root, base=None):
        self.root = root
        self.top = load(base) if base else Directory()
        self.open = {}
        self.when = 0

    def node(self, path):
        at = self.top
        for part in [p for p in path[len(self.root) :].split("/") if p not in ("", ".")]:
            at = at.now[part]
        return at

    def split(self, path):
        parent, name = os.path.split(path.rstrip("/"))
        return self.node(parent), name

    def step(self, record):
        kind, fd, offset, name, data = record
        self.when += 1
        if kind == OPEN:
            if offset & os.O_DIRECTORY:
                self.open[fd] = self.node(name)
                return
            parent, last = self.split(name)
            if last not in parent.now:
                if not offset & os.O_CREAT:
                    raise ValueError(f"{name}: opened, but unknown")
                parent.change(self.when, [], {last: File()})
            elif offset & os.O_TRUNC:
                parent.now[last].truncate(self.when, 0)
            self.open[fd] = parent.now[last]
        elif kind == WRITE:
            self.open[fd].write(self.when, offset, data)
        elif kind == TRUNCATE:
            self.open[fd].truncate(self.when, offset)
        elif kind == FSYNC:
            self.open[fd].sync()
        elif kind == CLOSE:
            del self.open[fd]
        elif kind == RENAME:
            parent, last = self.split(name)
            to_parent, to_last = self.split(data.decode())
            if parent is not to_parent:
                raise ValueError(f"{name}: renamed into another directory")
            parent.change(self.when, [last], {to_last: parent.now[last]})
        elif kind in (UNLINK, RMDIR):
            parent, last = self.split(name)
            parent.change(self.when, [last], {})
        elif kind == MKDIR:
            parent, last = self.split(name)
            parent.change(self.when, [], {last: Directory()})
        else:
            raise ValueError(f"record {self.when}: `{name}` is something that this image cannot follow")

    def write_to(self, out, mode, rng):
        """Make directory `out` what a restart finds if the power goes now."""
        keep = Keeper(mode, rng, self.when)
        write_directory(self.top, out, keep)


class Keeper:
    """Says of each change that was not synced whether it got to the disk.
    lost: none.  kept: all (what kill -9 leaves).  ordered: names up to some moment, as with a journal, and of each file a
    beginning.  random: any of them, in pieces of a sector."""

    def __init__(self, mode, rng, now):
        self.mode, self.rng = mode, rng
        self.until = rng.randint(max(0, now - 40), now)
        self.share = rng.random()

    def name(self, when):
        if self.mode == "ordered":
            return when <= self.until
        return self.mode == "kept" or (self.mode == "random" and self.rng.random() < self.share)

    def bytes_of(self, file):
        if self.mode == "kept":
            return bytes(file.now)
        if self.mode == "lost":
            return file.durable
        out = bytearray(file.durable)
        n_kept = self.rng.randint(0, len(file.since))
        for i, (_, offset, data) in enumerate(file.since):
            if self.mode == "ordered" and i > n_kept:
                break
            if self.mode == "ordered" and i == n_kept and data:
                data = data[: self.rng.randint(0, len(data))]
            if data is None:
                if self.mode == "ordered" or self.rng.random() < self.share:
                    del out[offset:]
                    out.extend(bytes(offset - len(out)))
            elif self.mode == "ordered":
                put(out, offset, data)
            else:
                self.sectors(out, offset, data)
        return bytes(out)

    def sectors(self, out, offset, data):
        at = 0
        while at < len(data):
            n = min(SECTOR - (offset + at) % SECTOR, len(data) - at)
            if self.rng.random() < self.share:
                put(out, offset + at, data[at : at + n])
            at += n


def put(out, offset, data):
    if len(out) < offset:
        out.extend(bytes(offset - len(out)))
    out[offset : offset + len(data)] = data


def write_directory(directory, out, keep):
    names = dict(directory.durable)
    for when, gone, came in directory.since:
        if keep.name(when):
            apply_names(names, gone, came)
    os.makedirs(out)
    for name, node in names.items():
        path = os.path.join(out, name)
        if isinstance(node, Directory):
            write_directory(node, path, keep)
        else:
            with open(path, "wb") as f:
                f.write(keep.bytes_of(node))


def load(path):
    """A tree of files as one that is wholly durable."""
    directory = Directory()
    for entry in os.scandir(path):
        if entry.is_dir():
            directory.now[entry.name] = load(entry.path)
        else:
            with open(entry.path, "rb") as f:
                directory.now[entry.name] = File(f.read())
    directory.sync()
    return directory


def differences(a, b):
    """Paths at which two trees of files differ."""
    out = []
    names_a, names_b = set(os.listdir(a)), set(os.listdir(b))
    for name in sorted(names_a | names_b):
        pa, pb = os.path.join(a, name), os.path.join(b, name)
        if name not in names_a or name not in names_b or os.path.isdir(pa) != os.path.isdir(pb):
            out.append(pa)
        elif os.path.isdir(pa):
            out += differences(pa, pb)
        else:
            with open(pa, "rb") as fa, open(pb, "rb") as fb:
                if fa.read() != fb.read():
                    out.append(pa)
    return out
