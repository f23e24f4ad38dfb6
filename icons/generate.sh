#!/bin/sh
# Renders every icon file that the bundles and the window need from passalong.svg.
# Needs only the project's npm packages. Run it after changing the drawing; the
# results are committed, so that building the app never depends on it.
set -eu
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
npx --no-install tauri icon icons/passalong.svg --output "$out" >/dev/null
for file in 32x32.png 64x64.png 128x128.png 128x128@2x.png icon.png icon.ico icon.icns; do
    cp "$out/$file" icons/
done
npx --no-install tauri icon icons/passalong.svg --output "$out" --png 16,24,48 >/dev/null
for size in 16 24 48; do
    cp "$out/${size}x${size}.png" icons/
done
