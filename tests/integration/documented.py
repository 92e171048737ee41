"""documented.py metrics SCRAPE PAGE: the tables of PAGE are the metrics of a scrape, with their types and helps.
documented.py report REPORT PAGE: PAGE has a row for every member of a report, and no other.
documented.py tensors PAGE VERSION...: PAGE has one row for every tensor of the versions, with its type and shape, and none
that no version has."""
import json
import re
import struct
import sys


def rows(page):
    """First cell -> the others, of every table row that begins with a code span."""
    table = {}
    for line in open(page, encoding="utf-8"):
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| `"):
            for name in re.findall(r"`([^`]+)`", cells[0]):
                table[name] = cells[1:]
    return table


def metrics(scrape):
    found = {}
    for line in open(scrape, encoding="utf-8"):
        word = line.split(maxsplit=3)
        if word[:2] == ["#", "HELP"]:
            found[word[2]] = [None, word[3].strip()]
        elif word[:2] == ["#", "TYPE"]:
            found[word[2]][0] = word[3].strip()
    return found


def members(report, prefix=""):
    """{"a": {"b": 1}} -> a.b; {"a": [{"b": 1}]} -> a[].b; the entries of objects that end in _by_kind or _by_reason are the
    page's `.KIND`, `.REASON`."""
    for name, value in report.items():
        if isinstance(value, list):
            for entry in value:
                yield from members(entry, prefix + name + "[].")
        elif not isinstance(value, dict):
            yield prefix + name
        elif "_by_" in name:
            yield prefix + name + "." + name.rsplit("_", 1)[1].upper()
        else:
            yield from members(value, prefix + name + ".")


NAME = r"[A-Za-z0-9_-]+"
STANDS_FOR = {"T": NAME + r"(?:\." + NAME + ")?", "S": NAME, "N": NAME, "L": "[0-9]+", "P": "(?:mlp|unit)[.].+",
              "M": r"(?:metrics|popularity|frozen\.metrics|slice\." + NAME + ")"}


def tensor_rows(page):
    """(file, regular expression, dtype, shape as documented, name as documented) of each tensor of a page."""
    file = None
    for line in open(page, encoding="utf-8"):
        file = next((f for f in ("model", "train") if line.startswith("`%s.safetensors`" % f)), file)
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        shape = re.match(r"([UIF][0-9]+) \(([^)]*)\)", cells[1]) if len(cells) > 2 else None
        if line.startswith("| `") and shape and file:
            for name in re.findall(r"`([^`]+)`", cells[0]):
                parts = [STANDS_FOR.get(part, re.escape(part)) for part in name.split(".")]
                yield file, re.compile(r"\.".join(parts) + "$"), shape[1], shape[2].split(", "), name


def tensors(version):
    """(file, name, dtype, shape) of each tensor of a version."""
    for file in "model", "train":
        with open("%s/%s.safetensors" % (version, file), "rb") as f:
            (n,) = struct.unpack("<Q", f.read(8))
            for name, t in json.loads(f.read(n)).items():
                yield file, name, t["dtype"], t["shape"]


def check_tensors(page, versions):
    documented, seen, wrong = list(tensor_rows(page)), set(), []
    for version in versions:
        for file, name, dtype, shape in tensors(version):
            mine = [d for d in documented if d[0] == file and d[1].match(name)]
            seen.update(d[4] for d in mine)
            what = "%s.safetensors: `%s` %s %s" % (file, name, dtype, shape)
            if len(mine) != 1:
                wrong.append("%s has %d rows in %s" % (what, len(mine), page))
            elif (mine[0][2], len(mine[0][3])) != (dtype, len(shape)) or \
                    any(d.isdigit() and int(d) != s for d, s in zip(mine[0][3], shape)):
                wrong.append("%s is documented as %s (%s)" % (what, mine[0][2], ", ".join(mine[0][3])))
    return wrong + ["`%s`: no version has it" % d[4] for d in documented if d[4] not in seen], documented


if sys.argv[1] == "tensors":
    wrong, found = check_tensors(sys.argv[2], sys.argv[3:])
    print("\n".join(dict.fromkeys(wrong)) or "%s: %d tensors, as they are" % (sys.argv[2], len(found)))
    sys.exit(1 if wrong or not found else 0)

what, made, page = sys.argv[1:]
documented = rows(page)
if what == "metrics":
    real = metrics(made)
    wrong = [f"{name}: {real.get(name)} is documented as {documented.get(name)}"
             for name in sorted(real.keys() | documented.keys()) if real.get(name) != documented.get(name)]
else:
    real = set(members(json.loads(open(made, encoding="utf-8").read())))
    wrong = [f"{name}: {'not documented' if name in real else 'no such member'}"
             for name in sorted(real ^ documented.keys())]
print("\n".join(wrong) or f"{page}: {len(documented)} rows, as they are")
sys.exit(1 if wrong or not documented else 0)
