#!/usr/bin/env bash
# bad_input.sh: broken messages among good ones are counted by reason, kept as samples, and change nothing else.
. "$(dirname "$0")/lib.sh"

"$UNDINE" generate --events 20000 --seed 7 --output "$tmp/clean.jsonl" > "$tmp/generate.json"
python3 - "$tmp/clean.jsonl" "$tmp/dirty.jsonl" "$tmp/expected.json" <<'P'
import json, sys
bad = [  # reason, line
    ("json", b'{"kind":"impression","id":"x1","user":"u1","time":1700000'),
    ("json", b'[1,2,3]'),
    ("json", b'not json at all'),
    ("kind", b'{"kind":"purchase","user":"u1","time":1700000000500}'),
    ("kind", b'{"user":"u1","time":1700000000500}'),
    ("type", b'{"kind":"impression","id":"x2","user":"u1","time":"noon","candidate":{"item":"i1"}}'),
    ("type", b'{"kind":"impression","id":"x3","user":{"a":1},"time":1700000000500,"candidate":{"item":"i1"}}'),
    ("missing", b'{"kind":"impression","user":"u1","time":1700000000500,"candidate":{"item":"i1"}}'),
    ("missing", b'{"kind":"impression","id":"x4","time":1700000000500,"candidate":{"item":"i1"}}'),
    ("missing", b'{"kind":"click","user":"u1","time":1700000000500}'),
    ("missing", b'{"kind":"click","impression":"i1"}'),
    ("time", b'{"kind":"click","impression":"i1","time":-5}'),
    ("number", b'{"kind":"click","impression":"i1","time":99999999999999999999999}'),
    ("number", b'{"kind":"click","impression":"i1","time":1e999}'),
    ("json", b'{"kind":"click","impression":"i1","time":NaN}'),
    ("json", b'{"kind":"click","impression":"i1","time":-Infinity}'),
    ("type", b'{"kind":"impression","id":"x9","user":"u1","time":1700000000500,"candidate":{"item":1e999}}'),
    ("json", b'{"kind":"impression","id":"x9","user":"u1","time":1700000000500,"candidate":{"item":NaN}}'),
    ("number", b'{"kind":"impression","id":"x5","user":"u1","time":1700000000500,"candidate":{"item":123456789012345678901234567890}}'),
    ("length", b'{"kind":"impression","id":"x6","user":"' + b"u" * 300 + b'","time":1700000000500,"candidate":{"item":"i1"}}'),
    ("utf8", b'{"kind":"impression","id":"x7","user":"\xff\xfe","time":1700000000500,"candidate":{"item":"i1"}}'),
    ("too_long", b'{"kind":"impression","id":"x8","user":"' + b"u" * (2 << 20) + b'"}'),
    ("empty", b''),
    ("time", b'{"kind":"click","impression":"i1","time":4611686018427387904}'),
    ("future", b'{"kind":"click","impression":"i1","time":4102444800000}'),
]
lines = open(sys.argv[1], "rb").read().split(b"\n")[:-1]
out, expected = [], {}
for i, line in enumerate(lines):
    out.append(line)
    if i % 100 == 50:
        reason, text = bad[(i // 100) % len(bad)]
        out.append(text)
        expected[reason] = expected.get(reason, 0) + 1
open(sys.argv[2], "wb").write(b"\n".join(out) + b"\n")
json.dump(expected, open(sys.argv[3], "w"))
P
"$UNDINE" replay --config "$ROOT/configs/demo.yaml" --input "$tmp/clean.jsonl" > "$tmp/clean.json" 2> "$tmp/clean.log"
"$UNDINE" replay --config "$ROOT/configs/demo.yaml" --input "$tmp/dirty.jsonl" --state "$tmp/state" \
  -o ingest.poll_max=13 > "$tmp/dirty.json" 2> "$tmp/dirty.log"
same "$tmp/clean.json" "$tmp/dirty.json" model_digest example_digest examples impressions clicks
python3 - "$tmp/dirty.json" "$tmp/expected.json" <<'P' || fail "malformed messages are not counted by reason"
import json, sys
got = {k: v for k, v in json.load(open(sys.argv[1]))["accounting"]["malformed_by_reason"].items() if v}
want = json.load(open(sys.argv[2]))
if got != want:
    print("counted ", got, "\nexpected", want)
    sys.exit(1)
P
[ "$(field "$tmp/dirty.json" accounting.closes)" = true ] || fail "the accounting does not close"

"$UNDINE" inspect malformed --state "$tmp/state" > "$tmp/malformed.json"
python3 - "$tmp/malformed.json" "$tmp/dirty.json" <<'P' || fail "inspect malformed does not show the newest samples"
import json, sys
samples = json.load(open(sys.argv[1]))
total = json.load(open(sys.argv[2]))["accounting"]["malformed"]
assert samples and samples[0]["number"] == total, samples[:1]
assert all(a["number"] > b["number"] for a, b in zip(samples, samples[1:]))
assert all(s["reason"] and len(s["payload"]) <= 5000 for s in samples)
P
say "ok: $(field "$tmp/dirty.json" accounting.malformed) malformed messages, and the same model"
