"""documented.py metrics SCRAPE PAGE: the tables of PAGE are the metrics of a scrape, with their types and helps.
documented.py report REPORT PAGE: PAGE has a row for every member of a report, and no other."""
import json
import re
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
