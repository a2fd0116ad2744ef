#!/usr/bin/env bash
# Makes the checkout ready: scripts/setup.sh demo | test
#
# Installs the system tools that are missing (as root on Debian or Ubuntu; otherwise it says what to install)
# and builds .venv from constraints.txt. Does nothing, quickly, when everything is there already.
#   demo  C compilers for this machine and the Cortex-M4, QEMU, and the package with the pip-only Cortex-M4 route
#   test  every compiler and emulator that the tests use, and the package with its test tools
# Environment: PYTHON (default python3) makes the .venv; CI=true turns a missing system tool into a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1:-}
case $mode in
    demo) extras=emulate ;;
    test) extras=test ;;
    *) echo "usage: scripts/setup.sh demo|test" >&2; exit 2 ;;
esac
python=${PYTHON:-python3}
venv=.venv

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1"; }

# --- system tools: each line is a Debian package and a probe that succeeds when it is there ---

probe_dir=$(mktemp -d)
trap 'rm -rf "$probe_dir"' EXIT
printf '#include <stdint.h>\nint main(void) { return (int)sizeof(int32_t) - 4; }\n' >"$probe_dir/plain.c"
printf '#include <avr/pgmspace.h>\nint main(void) { return 0; }\n' >"$probe_dir/avr.c"
printf '#include <string.h>\nint main(void) { return 0; }\n' >"$probe_dir/arm.c"

builds() { "$1" "${@:3}" "$probe_dir/$2.c" -o "$probe_dir/out"; }
need() { "${@:2}" >/dev/null 2>&1 || missing+=("$1"); }

find_missing() {
    missing=()
    need gcc have gcc
    need libc6-dev builds gcc plain
    need python3-venv "$python" -c 'import ensurepip, venv'
    need gcc-arm-none-eabi have arm-none-eabi-gcc
    need libnewlib-arm-none-eabi builds arm-none-eabi-gcc arm -mcpu=cortex-m4 -c
    need qemu-system-arm have qemu-system-arm
    [ "$mode" = test ] || return 0
    need g++ have g++
    need clang have clang
    need libclang-rt-dev builds clang plain -fsanitize=address,undefined
    need gcc-avr have avr-gcc
    need avr-libc builds avr-gcc avr -mmcu=atmega328p -c
    need simavr have simavr
    need libsimavr-dev test -e /usr/include/simavr/sim_avr.h
    need libelf-dev test -e /usr/include/libelf.h
    need arduino-builder have arduino-builder
    need arduino-core-avr test -d /usr/share/arduino/hardware/arduino/avr
    need cmake have cmake
    need chromium have chromium
}

apt_install() {
    local log="$probe_dir/apt.log" package known=()
    say "installing ${missing[*]}"
    apt-get update -qq >"$log" 2>&1 || say "apt-get update failed; going on with the lists at hand"
    for package in "${missing[@]}"; do # older releases know some of these by another name, inside clang itself
        if apt-cache show "$package" >/dev/null 2>&1; then known+=("$package"); fi
    done
    [ ${#known[@]} -gt 0 ] || return 0
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${known[@]}" \
        >>"$log" 2>&1 || tail -n 20 "$log" >&2
}

install_tools() {
    find_missing
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" = 0 ] && have apt-get >/dev/null; then
        apt_install
        find_missing
        [ ${#missing[@]} -gt 0 ] || return 0
    fi
    say "these are missing; on Debian or Ubuntu: sudo apt-get install ${missing[*]}"
    if [ "$mode" = test ] && [ "${CI:-}" = true ]; then die "in CI every tool must be there"; fi
    say "going on without them; what needs them is skipped or says so"
}

# --- Python ---

pip_install() {
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input -c constraints.txt "$@" ||
        die "pip could not install: $*"
}

check_python() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        die "Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3.11"
}

fingerprint() { # of everything that decides what is inside .venv; a moved checkout counts too
    { echo "$mode" "$PWD"; "$python" -VV; cat setup.cfg pyproject.toml constraints.txt scripts/setup.sh; } |
        sha256sum | cut -d' ' -f1
}

install_python() {
    local stamp="$venv/.ready-$mode" now
    now=$(fingerprint)
    if [ -x "$venv/bin/lnnc" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$now" ]; then return 0; fi
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv"
    say "installing lnnc[$extras] into $venv; the first time takes a few minutes"
    # torch by its exact pin before anything asks for a range of it: a range may bring gigabytes of CUDA packages.
    pip_install "$(grep '^torch==' constraints.txt)" "$(grep '^setuptools==' constraints.txt)"
    pip_install --no-build-isolation -e ".[$extras]"
    echo "$now" >"$stamp"
}

check_python
install_tools
install_python
