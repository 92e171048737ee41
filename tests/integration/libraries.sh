#!/usr/bin/env bash
# What the scorer's library needs from the system: no BLAS, no Kafka, no store.  The program starts on the OpenBLAS
# kernels of this processor by itself, and leaves a user's choice alone.
. "$(dirname "$0")/lib.sh"
needs=$(ldd "$BUILD/scorer/libundine.so")
echo "$needs"
if grep -Ei 'blas|lapack|rdkafka|rocksdb' <<<"$needs"; then
  fail "libundine needs what only training needs"
fi
if nm -D --undefined-only "$BUILD/scorer/libundine.so" | grep -i cblas; then
  fail "libundine calls a BLAS"
fi
[ -x "$UNDINE" ] || exit 0
kernels() {
  env "$@" "$UNDINE" bench learner --batch 1 --history 0 --seconds 0.01 | sed 's/.*"kernels":"\([^"]*\)".*/\1/'
}
chosen=$(kernels -u OPENBLAS_CORETYPE)
echo "by itself: $chosen"
case $chosen in
*"+ OpenBLAS "*) ;;
*) fail "training goes without OpenBLAS: $chosen" ;;
esac
by_user=$(kernels OPENBLAS_CORETYPE=Nehalem)
echo "OPENBLAS_CORETYPE=Nehalem: $by_user"
case $chosen in
avx*) [ "$by_user" = "${chosen%% *}" ] || fail "a core of an older class is used, or the user's choice was not kept" ;;
esac
