# python_env.sh: sourced after lib.sh by the tests that need packages from PyPI: sets $python to an interpreter that has
# those of python_requirements.txt (or of the file named, beside it), in an environment that is made once for a build.
python_env() {
  local list=${1:-python_requirements.txt}
  local env=$BUILD/tests/${list%_requirements.txt} wanted log
  log=$env.log
  wanted=$(cksum <"$ROOT/tests/integration/$list")
  python=$env/bin/python
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || skip "the packages of this test want Python 3.11"
  mkdir -p "$BUILD/tests"
  exec 9>"$env.lock"
  flock 9 # tests run beside each other
  if [ "$(cat "$env/installed" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$env"
    if ! { python3 -m venv "$env" &&
      "$env/bin/pip" install --disable-pip-version-check --no-compile -r "$ROOT/tests/integration/$list"; } >"$log" 2>&1; then
      tail -5 "$log"
      [ "${CI:-}" != true ] || fail "the Python packages cannot be had, and CI=true asks for them"
      skip "the Python packages cannot be had on this machine"
    fi
    echo "$wanted" >"$env/installed"
  fi
  exec 9>&-
}
