# What the scripts beside this file share: where things are, how they speak,
# when the page has to be built again, and a display where there is none.
# Sourced, never run; leaves the caller in the top folder of the sources.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
top=$PWD
export PATH="$HOME/.cargo/bin:$PATH"

say() { printf '%s\n' "passalong: $*" >&2; }
die() {
    say "$@"
    exit 1
}

# Builds the page unless ui/dist is newer than everything it is made from.
build_ui() {
    if [ -f ui/dist/index.html ] &&
        [ -z "$(find ui package-lock.json -path ui/dist -prune -o -newer ui/dist/index.html -type f -print -quit)" ]; then
        return
    fi
    npm run --silent ui:build
}

# Starts Xvfb and a window manager and sets DISPLAY; both end with this shell.
virtual_display() {
    virtual_dir=$(mktemp -d)
    Xvfb -displayfd 1 -screen 0 1920x1080x24 -nolisten tcp -noreset >"$virtual_dir/number" 2>"$virtual_dir/log" &
    virtual_pids=$!
    trap end_virtual_display EXIT
    until [ -s "$virtual_dir/number" ]; do
        kill -0 "$virtual_pids" 2>/dev/null || die "Xvfb did not start: $(cat "$virtual_dir/log")"
        sleep 0.1
    done
    DISPLAY=:$(cat "$virtual_dir/number")
    export DISPLAY GDK_BACKEND=x11
    openbox >/dev/null 2>&1 &
    virtual_pids="$! $virtual_pids"
}

end_virtual_display() {
    # shellcheck disable=SC2086 # a list of process ids
    kill $virtual_pids 2>/dev/null || true
    rm -rf "$virtual_dir"
}
