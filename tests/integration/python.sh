#!/usr/bin/env bash
# The Python package as a user gets it: installed by pip beside an installed libundine, typed, tested; the code of its
# pages runs.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/python_env.sh"
python_env
cmake --install "$BUILD" --component scorer --prefix "$tmp/usr" > /dev/null
library=$(find "$tmp/usr" -name libundine.so.0)
case $(nm -D "$library") in
*__asan_init* | *__tsan_init*) skip "a library with a sanitizer cannot be loaded by a Python without" ;;
esac

package=$tmp/package
cp -r "$ROOT/scorer/python" "$package"
"$python" -m pip wheel --disable-pip-version-check --quiet --no-deps --wheel-dir "$tmp/wheel" "$package" > "$tmp/pip.log" 2>&1 ||
  fail "pip does not build the package"
[ "$(echo "$tmp"/wheel/*)" = "$tmp/wheel/undine_scorer-0.1.0-py3-none-any.whl" ] || fail "the wheel is $(echo "$tmp"/wheel/*)"
"$python" -m pip install --disable-pip-version-check --quiet --no-deps --no-compile --target "$tmp/site" "$tmp"/wheel/*.whl

export UNDINE_LIBRARY=$library PYTHONPATH=$tmp/site PYTHONDONTWRITEBYTECODE=1 UNDINE BUILD
cd "$package"
# The types that a user of the installed package sees, and the package's own.
PYTHONPATH= "$python" -m mypy --no-incremental --cache-dir "$tmp/mypy" > "$tmp/mypy.log" || { cat "$tmp/mypy.log"; fail "mypy complains"; }
rm -rf src
"$python" -m pytest tests > "$tmp/pytest.log" 2>&1 || { cat "$tmp/pytest.log"; fail "pytest"; }
tail -1 "$tmp/pytest.log"

# Without numpy, pandas or anything else.
"$BUILD"/tests/make_version "$tmp/versions" > /dev/null
python3 -I -c '
import sys
sys.path.insert(0, sys.argv[1])
import undine
with undine.Scorer(sys.argv[2]) as scorer:
    assert len(scorer.score("1", [1, 2], [3, 4])) == 2
assert "numpy" not in sys.modules' "$tmp/site" "$tmp/versions"

# The code of the pages, with the names of a model that is learned on the way.
mkdir "$tmp/user" && cd "$tmp/user"
"$UNDINE" generate --events 3000 --output log.jsonl > /dev/null 2>&1
"$UNDINE" replay --config "$ROOT/configs/demo.yaml" --input log.jsonl --state state > /dev/null 2> "$tmp/replay.log"
for page in scorer/python/README.md docs/scorers.md; do
  python3 "$ROOT/tests/integration/documents.py" block python "$ROOT/$page" > page.py
  "$python" page.py > "$tmp/page.out" || fail "the code of $page does not run"
  [ "$(grep -oE '\b0\.[0-9]{3}[0-9]+' "$tmp/page.out" | wc -l)" -ge 2 ] || { cat "$tmp/page.out"; fail "$page prints no scores"; }
done
say "ok"
