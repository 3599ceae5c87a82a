#!/usr/bin/env bash
# make-secrets.sh [FOLDER]: the secrets that compose.yaml reads, made once, in secrets/. What is there already stays.
set -euo pipefail
folder=${1:-$(dirname "$0")/../secrets}
# The folder is closed and the files are readable: compose mounts each file with its owner and mode as they are here,
# and in the container another account reads it.
mkdir -p -m 0700 "$folder"
umask 022

random() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }
keep() { # keep NAME: from stdin, unless there is one
    if [ -s "$folder/$1" ]; then cat >/dev/null; else cat >"$folder/$1"; echo "made $1"; fi
}

random 32 | keep database_password
printf 'postgresql://sstools:%s@database:5432/sstools' "$(cat "$folder/database_password")" | keep database_url
random 40 | keep secret_key
head -c 32 /dev/urandom | base64 -w 0 | tr '+/' '-_' | keep field_keys
random 12 | keep admin_password
echo "The secrets are in $(cd "$folder" && pwd). Keep a copy of field_keys: without it, stored credentials are lost."
