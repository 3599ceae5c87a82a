#!/usr/bin/env bash
# install.sh PYTHON LOCK MARKER: make .venv with PYTHON and install LOCK into it, with uv for speed where it can be had.
set -euo pipefail
python=$1 lock=$2 marker=$3

if [ -z "$python" ]; then
    echo "ss-tools needs Python 3.11, 3.12 or 3.13. On Debian or Ubuntu: sudo apt install python3 python3-venv make" >&2
    echo "Another one can be named: make PYTHON=/path/to/python3.11 …" >&2
    exit 1
fi
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    rm -rf .venv
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        echo "$python cannot make a virtual environment. On Debian or Ubuntu: sudo apt install python3-venv" >&2
        exit 1
    fi
fi
echo "Installing $lock …"
started=$SECONDS
# uv inside the environment: nothing of the machine is touched, and Debian's externally managed Python has no say.
if .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.5,<1" 2>/dev/null \
    && UV_PYTHON_DOWNLOADS=never .venv/bin/python -m uv pip install --quiet --python .venv/bin/python --require-hashes -r "$lock"; then
    :
else
    echo "Without uv, with pip (slower) …"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
fi
touch "$marker"
echo "Installed in $((SECONDS - started)) s."
