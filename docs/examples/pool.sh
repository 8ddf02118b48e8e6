#!/bin/sh
# A pool, an image from a folder, ten clones of it, each mounted and written to, and all of it taken
# down again. Run it as root:  sh pool.sh FOLDER-OF-THE-IMAGE
set -eu

content=$1
work=$(mktemp -d)
export THINPOOL_FOLDER="$work/pool" THINPOOL_SOCKET="$work/thinpool.sock"

stop() {
  kill "$daemon" 2>/dev/null || true
  wait "$daemon" || true
}
trap 'stop; echo "failed; what is left is in $work" >&2' EXIT

thinpool pool create --data-size 1GiB --metadata-size 16MiB
thinpool serve --mount-root "$work/mounts" --teardown 2>"$work/thinpoold.log" &
daemon=$!
tries=0
until thinpool pool status >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || { cat "$work/thinpoold.log" >&2; exit 1; }
  sleep 0.2
done

thinpool image create base --from-folder "$content" --size 64MiB
for n in 1 2 3 4 5 6 7 8 9 10; do
  place=$(thinpool device clone base "job-$n" --ephemeral)
  echo "$n" >"$place/number"
  ls "$place"
done
thinpool device tree
thinpool pool status

for n in 1 2 3 4 5 6 7 8 9 10; do thinpool umount "job-$n"; done
thinpool image remove base
stop
thinpool pool destroy --yes
trap - EXIT
rm -r "$work"
