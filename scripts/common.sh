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

# Starts Xvfb, a window manager and, where there is none, a session bus; sets
# DISPLAY. All of it ends with this shell.
virtual_display() {
    virtual_dir=$(mktemp -d)
    virtual_pids=()
    trap end_virtual_display EXIT
    virtual_start display Xvfb -displayfd 1 -screen 0 1920x1080x24 -nolisten tcp -noreset
    DISPLAY=:$(cat "$virtual_dir/display")
    export DISPLAY GDK_BACKEND=x11
    if [ -z "${DBUS_SESSION_BUS_ADDRESS:-}" ]; then
        virtual_start bus dbus-daemon --session --nofork --print-address=1
        DBUS_SESSION_BUS_ADDRESS=$(cat "$virtual_dir/bus")
        export DBUS_SESSION_BUS_ADDRESS
    fi
    openbox >/dev/null 2>&1 &
    virtual_pids+=($!)
}

# Starts a program in the background and waits for its first line, kept in $1.
virtual_start() {
    local says=$virtual_dir/$1
    "${@:2}" >"$says" 2>"$says.log" &
    virtual_pids+=($!)
    until [ -s "$says" ]; do
        kill -0 $! 2>/dev/null || die "$2 did not start: $(cat "$says.log")"
        sleep 0.1
    done
}

end_virtual_display() {
    kill "${virtual_pids[@]}" 2>/dev/null || true
    rm -rf "$virtual_dir"
}
