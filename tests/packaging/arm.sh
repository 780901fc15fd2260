#!/usr/bin/env bash
# The wire's tests, golden bytes included, on emulated aarch64: `make test-arm`.
#
# Nothing of the machine changes but one Debian package, qemu-user-static. Debian's own arm64 Python
# is unpacked into a folder, and aarch64 wheels are installed beside it. ONNX Runtime crashes under
# this emulator, so only the contract (`saccade`) is tested, which does not need it. Tests that
# start a Python process of their own are left out: the kernel here runs no arm64 program by itself;
# so is the one that makes ONNX files.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/.venv-arm
root=$work/root
site=$work/site
packages="python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libc6 libgcc-s1 libstdc++6
  zlib1g libssl3 libffi8 libbz2-1.0 liblzma5 libexpat1 libsqlite3-0 libuuid1 libncursesw6 libtinfo6
  libreadline8 libcrypt1 libnsl2 libtirpc3 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libcom-err2
  libkrb5support0 libkeyutils1 libdb5.3 tzdata media-types"

command -v qemu-aarch64-static >/dev/null || {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends qemu-user-static >/dev/null
}

# A package database of its own, so that this machine's architectures stay as they are.
if [ ! -e "$root/ready" ]; then
    rm -rf "$root" && mkdir -p "$root" "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
    : > "$work/apt/status"
    options=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64
        -o Dir::State::status="$work/apt/status" -o Dir::State::Lists="$work/apt/lists"
        -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update
    (cd "$work/apt" && apt-get "${options[@]}" download $packages)
    for package in "$work"/apt/*.deb; do dpkg-deb -x "$package" "$root"; done
    touch "$root/ready"
fi

python3 -m pip install --quiet --disable-pip-version-check --upgrade --target "$site" \
    --python-version 3.11 --implementation cp --only-binary=:all: \
    --platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64 \
    --platform manylinux_2_28_aarch64 \
    numpy grpcio protobuf zstandard google-crc32c pytest pytest-timeout hypothesis
# This checkout, as it is installed: its commands are found by the distribution's entry points.
python3 -m pip install --quiet --disable-pip-version-check --upgrade --no-deps --target "$site" .

export PYTHONPATH="$site:$PWD/tests" PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
exec qemu-aarch64-static -L "$root" "$root/usr/bin/python3.11" -m pytest tests/wire \
    -c /dev/null --rootdir . --import-mode=importlib -p no:cacheprovider -o timeout=600 \
    --ignore=tests/wire/test_borders.py --ignore=tests/wire/test_cli.py \
    --ignore=tests/wire/test_bundle_packing.py \
    --deselect tests/wire/test_frozen.py::test_the_command_fails_on_a_change_and_does_not_write \
    --deselect tests/wire/test_selection.py::test_threads_and_processors_change_nothing \
    --deselect tests/wire/test_redaction.py::test_a_command_that_fails_says_no_secret "$@"
