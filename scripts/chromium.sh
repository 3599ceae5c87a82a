#!/usr/bin/env bash
# chromium.sh: a Chromium for the browser tests, from the system's packages if there is none yet and we may install it.
# Without one these tests are skipped with the reason, and in CI (CI=true) they fail.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo -n"; else as_root=none; fi
if [ "$as_root" = none ] || ! command -v apt-get >/dev/null; then
    echo "No Chromium, and no right to install one. On Debian: sudo apt install chromium" >&2
    exit 0
fi
echo "Installing Chromium from the system's packages …"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq || echo "The lists of packages could not be updated." >&2
$as_root apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null \
    || echo "Chromium could not be installed." >&2
