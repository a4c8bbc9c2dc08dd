#!/bin/sh
# Installs what the tests need and runs them all. On Debian and Ubuntu that is a software Vulkan driver, so that
# no GPU is needed; elsewhere the tests use the GPU that is there.
set -eu
cd "$(dirname "$0")/.."

packages="mesa-vulkan-drivers libvulkan1"
if command -v apt-get >/dev/null && ! dpkg -s $packages >/dev/null 2>&1; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get update -qq
    $as_root apt-get install -y -qq $packages
fi

cargo test --release --locked --workspace
