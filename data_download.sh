#!/usr/bin/env bash
# Fetch the course's datasets; see ./data_download.sh --help. Works from any folder, with the course's own Python if there is one.
set -u
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

for python in "$here/.venv/bin/python" "$here/.venv/Scripts/python.exe" python3 python ""; do
    [ -n "$python" ] && command -v "$python" >/dev/null 2>&1 && break
done
if [ -z "$python" ]; then
    echo "data_download: no Python found; the course needs Python 3.11 or newer" >&2
    exit 2
fi
# Notebooks look for ./data of the course they lie in, so that is where the data goes from wherever this is called.
if [ -e "$here/course.toml" ] || [ -e "$here/MANIFEST.sha256" ]; then
    export DLCVKIT_DATA="${DLCVKIT_DATA:-$here/data}"
fi
exec "$python" -c '
import sys
try:
    from dlcvkit.data.download import main
except ImportError as error:
    print(f"data_download: {sys.executable} cannot import dlcvkit ({error}); install the course first, see its README", file=sys.stderr)
    sys.exit(2)
sys.exit(main())
' "$@"
