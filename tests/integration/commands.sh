#!/usr/bin/env bash
# The program's face: help, version, mistyped commands and options, exit codes.
. "$(dirname "$0")/lib.sh"

# run CODE ARGUMENT...: stdout and stderr to files
run() {
  want=$1 code=0
  shift
  "$UNDINE" "$@" > "$tmp/stdout" 2> "$tmp/stderr" < /dev/null || code=$?
  [ "$code" = "$want" ] || { cat "$tmp/stderr"; fail "exit code $code, not $want: undine $*"; }
}
says() { grep -qF -- "$2" "$tmp/$1" || { cat "$tmp/$1"; fail "$1 does not say: $2"; }; }
silent() { [ ! -s "$tmp/$1" ] || { cat "$tmp/$1"; fail "$1 is not empty"; }; }

run 0 --version
says stdout "undine $(sed -n 's/^project(undine VERSION \([0-9.]*\).*/\1/p' "$ROOT/CMakeLists.txt")"
run 0 --help
says stdout "usage: undine COMMAND"
silent stderr
commands=$(sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p' "$tmp/stdout")
[ -n "$commands" ] || fail "--help lists no commands"
run 0 help
run 2
says stderr "usage: undine COMMAND"
silent stdout

for command in $commands; do
  run 0 help "$command"
  says stdout "usage: undine $command"
  silent stderr
  cp "$tmp/stdout" "$tmp/help"
  run 0 "$command" --help
  cmp -s "$tmp/stdout" "$tmp/help" || fail "help $command and $command --help differ"
  run 2 "$command" --no-such-option
  says stderr "undine $command"
  silent stdout
done

run 2 confg
says stderr "did you mean \`config\`?"
run 2 help confg
says stderr "did you mean \`config\`?"
run 2 qqqqqqqq
says stderr "\`undine --help\` lists them"
silent stdout
# Wrong values: which one, and what would be right.
run 2 generate --evnts 5
says stderr "did you mean \`--events\`?"
run 2 generate --events x
says stderr "--events is \`x\`, expected a whole number"
run 2 generate --events -5
says stderr "--events is -5, expected 0.."
run 2 generate --rate nan
says stderr "--rate is \`nan\`, expected a number"
run 2 generate --rate=-1
says stderr "--rate is -1, expected 0 or more"
run 2 generate --start-ms yesterday
says stderr "2026-01-31T12:00:00Z"
run 2 demo --seconds -3
says stderr "--seconds is -3"
config=$ROOT/configs/demo.yaml
run 2 replay --config "$config"
says stderr "--input FILE... or --from TIME"
run 2 replay --config "$config" --input x --to 5
says stderr "--to goes with --from"
run 2 replay --config "$config" --from 2026-01-02 --to 2026-01-01
says stderr "--to must be later"
run 1 replay --config "$config" --input "$tmp/nowhere.jsonl"
says stderr "$tmp/nowhere.jsonl: No such file"
silent stdout

# Nothing there, nothing in it, nothing good in it.
: > "$tmp/empty.jsonl"
run 0 replay --config "$config" --input "$tmp/empty.jsonl"
expect "$tmp/stdout" events -eq 0
printf 'bad\nworse\n' > "$tmp/bad.jsonl"
run 0 replay --config "$config" --input "$tmp/bad.jsonl" --state "$tmp/state"
expect "$tmp/stdout" accounting.malformed -eq 2
expect "$tmp/stdout" examples -eq 0
run 4 replay --config "$config" --input "$tmp/bad.jsonl" --state "$tmp/state" -o model.mlp.hidden=20
says stderr 'configured "hidden":[20]'
says stderr "empty state directory"
run 1 inspect store --state "$tmp/nowhere"
says stderr "no store at $tmp/nowhere/store"
run 1 inspect version --state "$tmp/nowhere"
says stderr "no version is published there"
run 1 inspect version --state "$tmp/state" --version 77
says stderr "no version 000000000077 in $tmp/state/versions"
run 2 inspect version --state "$tmp/state" --version abc
says stderr "--version is \`abc\`"
run 1 inspect user --state "$tmp/state" --config "$config" --user nobody
says stderr "user \`nobody\` has no sequence"
silent stdout

# Compressed and piped, in and out: the same.
run 0 generate --events 3000 --output "$tmp/events.jsonl.zst"
run 0 replay --config "$config" --input "$tmp/events.jsonl.zst" --state "$tmp/learned"
cp "$tmp/stdout" "$tmp/a.json"
run 0 replay --config "$config" --input "$tmp/events.jsonl.zst" --state "$tmp/learned"
same "$tmp/stdout" "$tmp/a.json" events examples example_digest model_digest
expect "$tmp/stdout" events_per_second -eq 0
expect "$tmp/stdout" examples_per_second -eq 0
"$UNDINE" generate --events 3000 2> "$tmp/stderr" | "$UNDINE" replay --config "$config" --input - > "$tmp/b.json" 2>> "$tmp/stderr"
same "$tmp/a.json" "$tmp/b.json" events examples example_digest model_digest
# Neither threads nor the size of a poll are anything that is learned.
for workers in 1 2 4; do
  run 0 replay --config "$config" --input "$tmp/events.jsonl.zst" -o learner.workers=$workers -o ingest.poll_max=$((workers * 37))
  expect "$tmp/stdout" workers -eq $workers
  same "$tmp/stdout" "$tmp/a.json" events examples auc logloss example_digest model_digest
done
run 2 replay --config "$config" --input "$tmp/events.jsonl.zst" -o learner.workers=0
says stderr "\`learner.workers\` is 0, expected 1..64"
echo '{"candidates":[{"item":"i1","category":"c1"}]}' > "$tmp/request.jsonl"
run 0 score --versions "$tmp/learned/versions" --input "$tmp/request.jsonl"
cp "$tmp/stdout" "$tmp/a.json"
zstd -q "$tmp/request.jsonl"
run 0 score --versions "$tmp/learned/versions" --input "$tmp/request.jsonl.zst"
cmp "$tmp/stdout" "$tmp/a.json" || fail "compressed requests score otherwise"
head -c 20 "$tmp/request.jsonl.zst" > "$tmp/cut.jsonl.zst"
run 1 score --versions "$tmp/learned/versions" --input "$tmp/cut.jsonl.zst"
says stderr "cut.jsonl.zst"
# Every shape of the benchmark learns; its words are refused by name.
for shape in online deeprec deeprec30 paper; do
  run 0 bench learner --shape $shape --batch 16 --seconds 0.01
  says stdout "\"shape\":\"$shape\""
  expect "$tmp/stdout" examples_per_cpu_second -gt 0
done
# Every item has a row, within the bound or not at all.
run 0 bench learner --batch 16 --history 20 --rows 3000 --uniform --memory 20000000 --seconds 0.01
expect "$tmp/stdout" rows -ge 3000
expect "$tmp/stdout" bytes_per_row -ge 168
run 1 bench learner --batch 16 --history 20 --rows 300000 --memory 2000000 --seconds 0.01
says stderr "over their bound of 2000000 bytes"
run 2 bench learner --shape wide
says stderr "--shape is \`wide\`, expected online, deeprec, deeprec30 or paper"
# Scoring, and scoring while versions change, without a request that fails; quantiles in order.
for unit in paper official; do
  run 0 bench score --unit $unit --candidates 20 --history 5 --rows 1000 --seconds 0.05 --dir "$tmp"
  expect "$tmp/stdout" failed -eq 0
  python3 -c '
import json, sys
o = json.load(open(sys.argv[1]))
m = o["machine"]
assert m["n"] == o["n"] + 1 > 1 and 0 < m["p50_us"] <= m["p99_us"] <= m["max_us"], o
for of in filter(None, (o, o.get("int16"))):
    quiet = of.get("quiet", {"n": 0})
    assert quiet["n"] == round(m["quiet_share"] * o["n"]) and quiet.get("max_us", 0) <= of["max_us"], o
    assert of["p99_over_p50"] >= 1 and 0 < of["cpu_p50_us"] <= of["cpu_p99_us"], o' "$tmp/stdout" || fail "bench score"
done
run 0 bench swap --bytes 100000 --deltas 2 --step 0.02 --seconds 1.2 --rounds 2 --candidates 20 --history 5 --dir "$tmp" \
  --series "$tmp/series"
python3 -c '
import json, sys
o = json.load(open(sys.argv[1]))
assert o["failed"] == o["failed_swaps"] == 0 and o["refresh_full"]["n"] >= 4, o
assert all(o[k]["p50_us"] <= o[k]["p99_us"] <= o[k]["max_us"] for k in ("quiet", "swapping")), o' "$tmp/stdout" ||
  fail "bench swap"
python3 -c '
import json, sys
seconds = [json.loads(line) for line in open(sys.argv[1])]
assert [s["swapping"] for s in seconds] == 2 * [False, False, True, True], seconds
for s in seconds:
    assert s["swapping"] or s["full"] + s["deltas"] <= 1, s  # one that was under way
assert all(sum(s[k] for s in seconds) > 0 for k in ("full", "deltas", "n")), seconds' "$tmp/series" || fail "bench swap --series"
"$ROOT/tests/bench/swap_plot.py" "$tmp/series" "$tmp/swap.svg"
python3 -c 'import sys, xml.dom.minidom as x; assert x.parse(sys.argv[1]).getElementsByTagName("polyline").length == 2' "$tmp/swap.svg" ||
  fail "swap_plot.py"
# Every event of a file is read, of whatever mix, and makes an example or a step.
run 0 bench ingest --events 5000 --users 100 --runs 1 --dir "$tmp"
expect "$tmp/stdout" events -eq 5000
expect "$tmp/stdout" events_per_cpu_second -gt 0
run 0 bench ingest --events 5000 --users 5000 --runs 1 --ctr 0.05 --rate 1000 --durability commit --dir "$tmp"
expect "$tmp/stdout" sync_ms -eq 0
expect "$tmp/stdout" examples -gt 4600
expect "$tmp/stdout" clicks -gt 150
# Users who do not fit in the cache are read again; the views that they begin with are not timed.
run 0 bench ingest --events 35000 --users 20000 --views 1 --runs 1 --ctr 0.05 --rate 10000 --cache 1000000 --window 500 --dir "$tmp"
expect "$tmp/stdout" measured -le 15000
expect "$tmp/stdout" loads -ge 1000
expect "$tmp/stdout" pending_max -le 6000
run 2 bench ingest --views 1
says stderr "it needs --ctr"
run 2 bench ingest --durability never
says stderr "--durability is \`never\`, expected interval or commit"
run 2 bench ingest --ctr 1.5
# The whole daemon: it learns and publishes, and each thread has its share of time.
run 0 bench end-to-end --events 40000 --users 200 --rate 500 --batch 64 --negatives 0.3 --dir "$tmp"
python3 -c '
import json, sys
o = json.load(open(sys.argv[1]))
assert o["events"] > 0 and o["examples"] > 0 and o["versions"] >= 1 and o["seconds"] > 0, o
assert set(o["busy"]) == {"ingest", "learner", "publisher"} and o["bottleneck"] in o["busy"], o
assert o["busy"]["learner"] > 0 and all(x >= 0 for x in o["busy"].values()), o' "$tmp/stdout" || fail "bench end-to-end"
run 1 bench end-to-end --events 1000 --users 200 --dir "$tmp"
says stderr "expected at least 20000"
run 2 bench end-to-end --negatives 0
# Both precisions in turns where the processor has both, and each alone.
if grep -q avx512_vnni /proc/cpuinfo; then
  run 0 bench score --candidates 20 --history 5 --rows 1000 --seconds 0.05 --dir "$tmp" --precision both
  says stdout '"precision":"f32"'
  says stdout '"int16":{"n":'
  says stdout '"times_faster":'
  run 0 bench score --candidates 20 --history 5 --rows 1000 --requests 3 --dir "$tmp" --precision int16
  says stdout '"precision":"int16"'
  if grep -q '"machine"' "$tmp/stdout"; then
    fail "a probe runs where requests are counted"
  fi
else
  run 1 bench score --candidates 20 --history 5 --rows 1000 --seconds 0.05 --dir "$tmp" --precision int16
  says stderr "AVX-512 VNNI"
fi
run 2 bench score --precision int4
says stderr "--precision is \`int4\`, expected f32, int16 or both"
run 2 bench score --unit wide
says stderr "--unit is \`wide\`, expected paper or official"
run 2 bench swap --rounds 0
[ -z "$(find "$tmp" -maxdepth 1 -name 'undine-bench-*')" ] || fail "a benchmark left its versions"
# Its mini-batches as a file: a line that says what follows, and all of it, to the byte.
run 0 bench learner --shape deeprec30 --batch 16 --write-batches "$tmp/batches"
python3 - "$tmp/batches" << 'EOF'
import json, struct, sys
raw = open(sys.argv[1], "rb").read()
at = raw.index(b"\n") + 1
head = json.loads(raw[:at])
b, fields, width, steps = head["batch"], len(head["fields"]), head["step_fields"], set()
for _ in range(head["batches"]):
    assert set(raw[at:at + b]) <= {0, 1}
    n = struct.unpack_from(f"<{b}I", raw, at + b)
    steps |= set(n)
    at += 5 * b + 8 * b * fields + 8 * width * sum(n)
assert at == len(raw) and (b, fields, width) == (16, 3, 2) and (min(steps), max(steps)) == (10, 50), steps
EOF
say "ok: $(echo "$commands" | wc -l) commands"
