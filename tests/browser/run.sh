#!/bin/sh
# Runs the tests, and the page's own with them, in Node.js on Dawn (npm's package `webgpu`), and then in Chromium, both on its software
# driver SwiftShader. Installs what they need: Debian's Chromium, where there is no Chrome with its driver, and by cargo the runner of
# wasm-bindgen.
set -eu
cd "$(dirname "$0")"
tools=$(realpath -m "${MIADAM_TOOLS:-../../target/tools}")

if ! command -v chromedriver >/dev/null; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get update -qq
    $as_root apt-get install -y -qq chromium chromium-driver
fi
rustup target add wasm32-unknown-unknown
version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/version = "\(.*\)"/\1/p}' ../../web/Cargo.lock)
[ "$("$tools/bin/wasm-bindgen" --version 2>/dev/null)" = "wasm-bindgen $version" ] ||
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 cargo install --quiet wasm-bindgen-cli --version "$version" --root "$tools"
[ -d "$tools/node_modules/webgpu" ] || npm install --silent --no-fund --no-audit --prefix "$tools" webgpu@0.6.2

# Chromium and Chrome bring SwiftShader along.
for folder in /usr/lib/chromium /opt/google/chrome; do
    [ ! -f $folder/vk_swiftshader_icd.json ] || swiftshader=$folder/vk_swiftshader_icd.json
done

export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER="$tools/bin/wasm-bindgen-test-runner"
test="cargo test --locked --target wasm32-unknown-unknown"

MIADAM_NODE_MODULES="$tools/node_modules" VK_DRIVER_FILES="$swiftshader" \
    NODE_OPTIONS="--import $PWD/dawn.mjs" $test --workspace
# `webdriver.json` has Chromium's flags. The runner's own limit is 20 seconds for all tests, which a slow processor exceeds.
WASM_BINDGEN_TEST_TIMEOUT=300 WASM_BINDGEN_USE_BROWSER=1 CHROMEDRIVER=$(command -v chromedriver) $test
