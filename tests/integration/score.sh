#!/usr/bin/env bash
# undine score: JSON lines in, JSON lines out, exit codes.
. "$(dirname "$0")/lib.sh"
"$BUILD"/tests/make_version "$tmp/versions" >/dev/null
cat >"$tmp/good" <<'END'
{"user":"7","profile":{"age":3},"context":{"hour":[5]},"sequences":{"clicks":[{"video":1,"tag":[2,3]},{"video":"4"}]},"candidates":[{"video":5,"tag":[1,null,"2"]},{"video":"5","tag":["1",2]},{"video":18446744073709551615}]}

{"user":7,"profile":{"age":"3"},"context":{"hour":"5"},"sequences":{"clicks":[{"tag":["2","3"],"video":"1"},{"video":4}]},"candidates":[{"video":"18446744073709551615"}]}
{}
END
"$UNDINE" score --versions "$tmp/versions" --input "$tmp/good" >"$tmp/out"
"$UNDINE" score --versions "$tmp/versions" --input - <"$tmp/good" | diff - "$tmp/out"
python3 - "$tmp/out" <<'END'
import json, sys
a, b, c = [json.loads(line) for line in open(sys.argv[1])]
assert a["version"] == b["version"] == 1
assert len(a["scores"]) == 3 and all(0 < p < 1 for p in a["scores"])
assert a["scores"][0] == a["scores"][1] and a["scores"][2] == b["scores"][0] and a["scores"][0] != a["scores"][2]
assert c["scores"] == []
END

# A history longer than the model looks at, none at all in three spellings, and candidates alone or among a thousand.
python3 - "$tmp/many" <<'END'
import json, sys
step = lambda i: {"video": i, "tag": [i % 7]}
history, thousand = [step(i) for i in range(3000)], [step(i) for i in range(1000)]
def request(candidates, **more): return json.dumps({"user": "7", "candidates": candidates, **more})
with open(sys.argv[1], "w") as out:
    for sequences in ({"clicks": history}, {"clicks": history[-500:]}, {"clicks": []}, {}, {"clicks": [{}, {"video": None}]}):
        print(request([step(5)], sequences=sequences), file=out)
    for line in request([step(5)]), request(thousand), request(thousand[::-1]):
        print(line, file=out)
END
"$UNDINE" score --versions "$tmp/versions" --input "$tmp/many" >"$tmp/out"
python3 - "$tmp/out" <<'END'
import json, sys
long, newest, empty, none, steps_of_nothing, absent, thousand, backwards = [json.loads(line)["scores"] for line in open(sys.argv[1])]
assert long == newest != empty, (long, newest, empty)
assert empty == none == steps_of_nothing == absent
assert len(thousand) == 1000 and thousand == backwards[::-1] and thousand[5:6] == absent
END

# Another precision: near, and not the same; refused by its reason where the processor has no use for it.
if grep -q avx512_vnni /proc/cpuinfo; then
    "$UNDINE" score --versions "$tmp/versions" --input "$tmp/many" --precision int16 >"$tmp/int16"
    python3 - "$tmp/out" "$tmp/int16" <<'END'
import json, sys
f32, int16 = [[p for line in open(f) for p in json.loads(line)["scores"]] for f in sys.argv[1:]]
assert len(f32) == len(int16) and f32 != int16
assert all(abs(a - b) < 1e-3 for a, b in zip(f32, int16))
END
elif "$UNDINE" score --versions "$tmp/versions" --input "$tmp/many" --precision int16 2>"$tmp/err"; then
    echo "int16 without AVX-512 VNNI" && exit 1
else
    grep -q "AVX-512 VNNI" "$tmp/err"
fi
"$UNDINE" score --versions "$tmp/versions" --input "$tmp/many" --precision int4 2>"$tmp/err" && exit 1
grep -q '`int4`: expected f32 or int16' "$tmp/err"

expect_refused() { # request, words of the error
    local code=0
    printf '%s\n{}\n' "$1" | "$UNDINE" score --versions "$tmp/versions" --input - >"$tmp/out" 2>"$tmp/err" || code=$?
    if [ "$code" != 1 ] || ! head -1 "$tmp/out" | grep -qF "$2" || ! tail -1 "$tmp/out" | grep -qF '"scores":[]'; then
        echo "$1: exit code $code"
        cat "$tmp/out" "$tmp/err"
        exit 1
    fi
    python3 -c 'import json, sys; [json.loads(line) for line in open(sys.argv[1])]' "$tmp/out"
    grep -q "1 of 2 requests" "$tmp/err"
}
expect_refused '{"candidates":[{"vidoe":1}]}' 'no field `vidoe`'
expect_refused '{"candidate":[{"video":1}]}' 'no member `candidate`'
expect_refused '{"candidates":{"video":1}}' '`candidates` is not a list'
expect_refused '{"candidates":[1]}' '`candidates` is not an object'
expect_refused '{"candidates":[{"video":1.5}]}' '`video` is not an id'
expect_refused '{"candidates":[{"video":{}}]}' '`video` is not an id'
expect_refused '{"candidates":[{"video":[[1]]}]}' '`video` is not an id'
expect_refused '{"user":true}' '`user` is not an id'
expect_refused '{"sequences":{"views":[]}}' 'no sequence `views`'
expect_refused '{"sequences":[]}' '`sequences` is not'
expect_refused '{"profile":{"video":1}}' 'belongs to the candidate'
expect_refused '{"candidates":[' 'not one JSON object'
expect_refused '[]' 'not one JSON object'

code=0
"$UNDINE" score --versions "$tmp/nowhere" --input "$tmp/good" 2>"$tmp/err" || code=$?
[ "$code" = 1 ] && grep -q CURRENT "$tmp/err"
code=0
"$UNDINE" score --input "$tmp/good" 2>"$tmp/err" || code=$?
[ "$code" = 2 ] && grep -q -- --versions "$tmp/err"
code=0
"$UNDINE" score --versions "$tmp/versions" --input "$tmp/missing" 2>"$tmp/err" || code=$?
[ "$code" = 1 ] && grep -q missing "$tmp/err"
