# Sourced by the scripts of this folder and of lab/: where things are, and how to say things.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${PROVISION_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/provision}
export root cache

# say TEXT...: progress, for the person who started the script.
say() {
    printf '==> %s\n' "$*" >&2
}

# fail TEXT...: what is wrong and what to do about it; ends the script with status 1.
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# digest_of FILE...: one sha256 (hexadecimal) over the contents of the files, in the order given.
digest_of() {
    sha256sum -- "$@" | cut -d' ' -f1 | sha256sum | cut -d' ' -f1
}
