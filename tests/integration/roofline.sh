#!/usr/bin/env bash
# roofline.sh: the phases of a training step are all of it, and no share of the core is above 1.
. "$(dirname "$0")/lib.sh"
: "${BUILD:?the build}"

"$BUILD/tests/bench_roofline" --shape deeprec --seconds 0.2 > "$tmp/line.json" || fail "bench_roofline"
expect "$tmp/line.json" steps -ge 10
expect "$tmp/line.json" steps -le 16
for share in step_of_peak products_of_peak rows_of_memory; do
  expect "$tmp/line.json" $share -gt 0
  expect "$tmp/line.json" $share -le 1
done
python3 - "$tmp/line.json" << 'CHECK' || fail "phases"
import json, sys
phases = json.load(open(sys.argv[1]))["phases"]
assert abs(sum(phases.values()) - 1) < 1e-7, phases  # each is printed with 9 digits
assert all(x > 0 for x in phases.values()), phases
CHECK
code=0
"$BUILD/tests/bench_roofline" --shape wide 2> "$tmp/wide.log" || code=$?
[ $code -eq 2 ] && grep -q -- "--shape" "$tmp/wide.log" || fail "a shape that there is not (exit code $code)"
say "ok"
