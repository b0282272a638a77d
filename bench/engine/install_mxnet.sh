#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the version of MXNet that dependencies.txt names into build/mxnet-venv: only its library is wanted, so
# nothing that its Python half needs comes along. An environment of its own: it wants an older Python's packages.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
venv=$root/build/mxnet-venv
wheel=$(awk '$1 == "peer" && $2 == "mxnet" { print $2 "==" $3 }' "$root/dependencies.txt")
stamp=$venv/.wheels
if [ -f "$stamp" ] && [ "$wheel" = "$(cat "$stamp")" ]; then exit 0; fi

printf 'engine: installing %s into build/mxnet-venv: 49 MB to download, 218 MB on disk\n' "$wheel" >&2
rm -rf "$venv"
/usr/bin/python3 -m venv "$venv"
"$venv/bin/python" -m pip --quiet --no-input --disable-pip-version-check install \
  --no-deps --only-binary :all: "$wheel" >&2 </dev/null
printf '%s\n' "$wheel" >"$stamp"
