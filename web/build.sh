#!/bin/sh
# Builds the page into `dist`, a folder of static files. Needs Rust and Node.js; installs the rest into `target/tools`.
set -eu
cd "$(dirname "$0")"
tools=$(realpath -m "${MIADAM_TOOLS:-../target/tools}")

rustup target add wasm32-unknown-unknown 2>/dev/null
version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
[ "$("$tools/bin/wasm-bindgen" --version 2>/dev/null)" = "wasm-bindgen $version" ] ||
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 cargo install --quiet wasm-bindgen-cli --version "$version" --root "$tools"
[ -d "$tools/node_modules/binaryen" ] || npm install --silent --no-fund --no-audit --prefix "$tools" binaryen@132.0.0

RUSTFLAGS="-C target-feature=+simd128" cargo build --locked --release --target wasm32-unknown-unknown
target=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

rm -rf dist
mkdir dist
cp page/* dist
"$tools/bin/wasm-bindgen" --target web --no-typescript --out-dir dist \
    "$target/wasm32-unknown-unknown/release/miadam_web.wasm"
# The features are those that rustc turns on by itself, and simd128. Relaxed SIMD is not among them. `-Oz` takes two minutes longer, and
# what it makes is larger once it is compressed.
"$tools/node_modules/.bin/wasm-opt" -O1 --mvp-features --enable-simd --enable-bulk-memory --enable-sign-ext \
    --enable-nontrapping-float-to-int --enable-mutable-globals --enable-reference-types --enable-multivalue \
    dist/miadam_web_bg.wasm -o dist/miadam_web_bg.wasm
node digits.mjs > dist/digits.bin
node sizes.mjs dist
