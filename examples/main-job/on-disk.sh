#!/bin/sh
# The main job on a disk of the lab: a fresh ext4, mounted where thinpool keeps its pool.
set -eu
mkfs.ext4 -q -F -E nodiscard "$LAB_DISK_POOL"
mkdir -p /var/lib/thinpool
mount "$LAB_DISK_POOL" /var/lib/thinpool
cd "$(dirname "$0")"
status=0
DEMO_FOLDER=/var/lib/thinpool/demo node admin.ts || status=$?
cd /
umount /var/lib/thinpool
exit "$status"
