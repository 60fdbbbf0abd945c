#!/bin/sh
# Runs a command in a machine of its own on this kernel: with another root filesystem, and with processes, mounts, host
# name, IPC and cgroups that nobody else has. The network is the host's, from which packages come.
#   enter.sh NAME ROOT SHOWN COMMAND...    SHOWN: lines "SOURCE TARGET", what of the host is shown in the machine
set -eu

# ---- Outside: a group in each hierarchy of cgroups, and the command's process in it ----

if [ "$1" != --inside ]; then
    groups=
    unified=/dev/null
    for mount in $(awk '$3 ~ /^cgroup2?$/ {print $2}' /proc/mounts); do
        group=$mount/$1
        mkdir -p "$group"
        groups="$groups $group"
        # A group of version 1 may begin without processors, and begins without real time to give to those below it.
        if [ -e "$group/cpuset.cpus" ] && [ -e "$group/cgroup.clone_children" ]; then
            for file in cpuset.cpus cpuset.mems; do
                [ -n "$(cat "$group/$file")" ] || cat "$mount/$file" >"$group/$file"
            done
            echo 1 >"$group/cgroup.clone_children"
        fi
        if [ -e "$group/cpu.rt_runtime_us" ]; then
            echo $(($(cat "$mount/cpu.rt_runtime_us") / 10)) >"$group/cpu.rt_runtime_us"
        fi
        if [ -e "$mount/cgroup.controllers" ]; then
            for controller in $(cat "$mount/cgroup.controllers"); do
                echo "+$controller" >"$mount/cgroup.subtree_control"
            done
            mkdir "$group/machine"
            unified=$group/machine
        fi
    done
    # The roots of what it sees are these groups. In version 2 its processes are below, where they are not in the way of
    # controllers that the root hands down.
    status=0
    GROUPS_OF_IT=$groups UNIFIED=$unified sh -euc '
        for group in $GROUPS_OF_IT; do echo $$ >"$group/cgroup.procs"; done
        exec unshare --cgroup sh -euc '\''
            [ "$UNIFIED" = /dev/null ] || echo $$ >"$UNIFIED/cgroup.procs"
            exec unshare --mount --pid --fork --uts --ipc --kill-child "$@"
        '\'' sh "$@"
    ' sh sh "$0" --inside "$@" || status=$?
    for group in $groups; do
        find "$group" -depth -type d -exec rmdir {} ';'
    done
    exit "$status"
fi

# ---- Inside: the root filesystem, and what the kernel shows ----

name=$2
root=$3
shown=$4
shift 4
hostname "$name"
mount --make-rprivate /
# Elsewhere, because the root filesystem may be the host's own.
mount --bind "$root" /mnt
root=/mnt
cd "$root"
groups=$(awk '$3 ~ /^cgroup2?$/ {print $2, $3, $4}' /proc/mounts)
devices=$(cd /dev && find fuse full kmsg loop-control net/tun null random tty urandom zero -type c \
    -exec stat -c '%n %a %Hr %Lr' {} + 2>/dev/null)
echo "$shown" | while read -r source target; do
    [ -z "$target" ] || { mkdir -p "$root$target"; mount --bind "$source" "$root$target"; }
done
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/lock run/user
mount -t tmpfs -o mode=755 tmpfs dev
mkdir -p dev/pts dev/shm dev/mqueue dev/net
echo "$devices" | while read -r file mode major minor; do
    mknod -m "$mode" "dev/$file" c "$major" "$minor"
done
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t mqueue mqueue dev/mqueue
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for number in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${number%:*}" "dev/${number#*:}"; done
# The same hierarchies as the host's; of each the machine's group is the root.
case $groups in
    "/sys/fs/cgroup cgroup2 "*) ;;
    *) mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup ;;
esac
echo "$groups" | while read -r mount type options; do
    mkdir -p "$root$mount"
    [ "$type" = cgroup2 ] && of= || of=,$(echo "$options" | tr , '\n' | grep -vxE 'r[wo]|relatime|no(suid|dev|exec)' | paste -sd,)
    mount -t "$type" -o "nosuid,nodev,noexec$of" cgroup "$root$mount"
done
pivot_root . .
umount -l .
cd /
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"
