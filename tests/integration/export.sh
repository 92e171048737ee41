#!/usr/bin/env bash
# undine export: onnxruntime gives the scores of `undine score`, for every form of the model; what cannot be is refused.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/python_env.sh"
python_env
python3 "$ROOT/tests/integration/documents.py" block python "$ROOT/docs/export.md" > "$tmp/exported.py"
UNDINE=$UNDINE BUILD=$BUILD PYTHONPATH=$tmp "$python" "$ROOT/tests/integration/export.py" "$tmp"

refused() { # words of the error, exit code, arguments
  local words=$1 code=0 expected=$2
  shift 2
  "$UNDINE" export "$@" > "$tmp/out" 2> "$tmp/err.log" || code=$?
  [ "$code" = "$expected" ] && grep -qF -- "$words" "$tmp/err.log" || fail "undine export $*: $code"
}
"$BUILD"/tests/make_version "$tmp/versions" > "$tmp/made"
read -r name digest < "$tmp/made"
refused "--output is required" 2 --onnx "$tmp/versions"
refused "--onnx is required" 2 --output "$tmp/none"
refused "factorized or naive" 2 --onnx "$tmp/versions" --output "$tmp/none" --unit other
refused "CURRENT" 1 --onnx "$tmp/nowhere" --output "$tmp/none"
refused "000000000009" 1 --onnx "$tmp/versions/000000000009" --output "$tmp/none"
[ ! -e "$tmp/none" ] || fail "an export that was refused left a directory"
"$UNDINE" export --onnx "$tmp/versions/$name/" --output "$tmp/one" > "$tmp/one.json"
refused "makes a new directory" 1 --onnx "$tmp/versions" --output "$tmp/one"
(cd "$tmp/versions" && "$UNDINE" export --onnx "$name" --output "$tmp/two") > "$tmp/two.json"
diff -r "$tmp/one" "$tmp/two" || fail "two exports of a version differ"
same "$tmp/one.json" "$tmp/two.json" version digest rows bytes
[ "$(field "$tmp/one.json" digest)" = "$digest" ] || fail "the digest is another"
[ "$(field "$tmp/one.json" bytes)" = "$(cat "$tmp"/one/* | wc -c)" ] || fail "the bytes are others"

# A chain of deltas gives the rows of the full version that it is.
for seed in 1 2 3; do
  "$BUILD"/tests/make_chain "$tmp/chain-$seed" 6 $seed > "$tmp/made"
  read -r delta full digest < "$tmp/made"
  "$UNDINE" export --onnx "$tmp/chain-$seed/$delta" --output "$tmp/delta-$seed" > "$tmp/delta.json"
  "$UNDINE" export --onnx "$tmp/chain-$seed/$full" --output "$tmp/full-$seed" > "$tmp/full.json"
  same "$tmp/delta.json" "$tmp/full.json" rows bytes digest
  [ "$(field "$tmp/delta.json" digest)" = "$digest" ] || fail "the digest is another"
  for file in rows.bin ids.safetensors; do
    cmp "$tmp/delta-$seed/$file" "$tmp/full-$seed/$file" || fail "$file of a chain and of its full version differ"
  done
done
