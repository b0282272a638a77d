#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks a model exhaustively, then checks that each of its broken variants fails.
# usage: check.sh MODEL.pml WORK_FOLDER [VARIANT...]
set -eu
model=$1
work=$2
shift 2
mkdir -p "$work"
cp "$model" "$work/model.pml"
cd "$work"

# verify [FLAG]: prints the verifier's count of errors.
verify() {
  rm -f pan model.pml.trail
  spin "$@" -a model.pml >spin.log 2>&1 || { cat spin.log >&2; exit 2; }
  cc -O2 -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=4096 -o pan pan.c
  ./pan -m1000000 >pan.log 2>&1
  if grep -q 'max search depth too small\|out of memory\|memory limit' pan.log; then
    echo "check.sh: the search was cut short" >&2
    exit 2
  fi
  sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.log
}

errors=$(verify)
states=$(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log)
if [ "$errors" != 0 ]; then
  cat pan.log >&2
  echo "check.sh: $model: $errors errors" >&2
  exit 1
fi
echo "$model: no error in $states states"
for variant in "$@"; do
  if [ "$(verify "-D$variant")" = 0 ]; then
    echo "check.sh: $model: the variant $variant should fail and does not" >&2
    exit 1
  fi
  echo "$model: $variant fails, as it must"
done
