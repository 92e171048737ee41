"""flip_labels.py FILE FROM TO END: the events of FILE that are older than its line END; of the impressions between the times of
lines FROM and TO those that were clicked are not, and the others are."""
import json
import sys


def main():
    path, (begin, end, stop) = sys.argv[1], map(int, sys.argv[2:])
    with open(path) as f:
        events = [json.loads(line) for line in f]
    begin, end, stop = (events[line]["time"] for line in (begin, end, stop))
    flipped = {e["id"]: e for e in events if e["kind"] == "impression" and begin <= e["time"] < end}
    clicked = {e["impression"] for e in events if e["kind"] == "click"}
    events = [e for e in events if e.get("impression") not in flipped]
    events += [{"kind": "click", "time": e["time"] + 1000, "user": e["user"], "impression": i}
               for i, e in flipped.items() if i not in clicked]
    for e in sorted(events, key=lambda e: e["time"]):
        if e["time"] < stop:
            print(json.dumps(e, separators=(",", ":")))


main()
