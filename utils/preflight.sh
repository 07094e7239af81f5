#!/usr/bin/env bash
# Say in one line what the machine lacks, and the command that mends it. Called by `make setup`.
set -euo pipefail
python=${1:-python3}
# torch with its CUDA libraries takes 5.5 GB, the rest 1 GB; pip unpacks beside what it has downloaded.
needed_mb=${DLCV_NEEDED_MB:-9000}

fail() { echo "setup: $1" >&2; exit 2; }

command -v "$python" >/dev/null 2>&1 ||
  fail "no $python found; install Python 3.11 or newer (Debian: apt-get install python3 python3-venv) or name one: make setup PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$("$python" --version) is too old; install Python 3.11 or newer, then: make setup PYTHON=python3.11"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
  fail "$python has no venv module; Debian: apt-get install python3-venv"

if [ ! -e .venv/.ready ]; then
  free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
  [ "$free_mb" -ge "$needed_mb" ] ||
    fail "$free_mb MB free here, about $needed_mb MB needed; make room, for example: pip cache purge"
fi

command -v bwrap >/dev/null 2>&1 ||
  echo "setup: no bubblewrap found; instructors need it to grade safely (Debian: apt-get install bubblewrap), students do not" >&2
