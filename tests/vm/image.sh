#!/bin/sh
# Turns a fresh Debian, in which this runs by chroot, into the machine of the tests: what debootstrap cannot be told.
#   image.sh OLDER PACKAGE...    OLDER is the Debian release whose kernel is the oldest that the tests run on
set -eu
export DEBIAN_FRONTEND=noninteractive
older=$1
shift

# Its archive, beside that of the release, and of it the kernel without anything else.
awk -v older="$older" 'NR == 1 {print $1, $2, older, "main"}' /etc/apt/sources.list >/etc/apt/sources.list.d/older.list
# Without this option it succeeds where an index could not be fetched.
tries=3
until apt-get update -q --error-on=any; do tries=$((tries - 1)); test $tries -gt 0; sleep 5; done
kernel=$(apt-cache search --names-only '^linux-image-5\.10\..*-cloud-amd64$' | cut -d' ' -f1 | sort -V | tail -n 1)
apt-get install -y -q --no-install-recommends "$kernel" "$@"
rm /etc/apt/sources.list.d/older.list
apt-get clean
rm -rf /var/lib/apt/lists/*

# The least that finds the root disk: to unpack all modules takes longer than the rest of the start.
printf '%s\n' MODULES=list BUSYBOX=n >/etc/initramfs-tools/conf.d/least
printf '%s\n' virtio_pci virtio_blk >>/etc/initramfs-tools/modules
update-initramfs -u -k all
for version in $(ls /lib/modules); do
    name=new; case $version in 5.10.*) name=old ;; esac
    ln -s "vmlinuz-$version" /boot/vmlinuz-$name
    ln -s "initrd.img-$version" /boot/initrd-$name
done

# Profiles of programs that are not there: to load them takes seconds. Those of runc and crun allow everything, but their
# names would be a difference to pyruntime in all that is seen beside them.
rm -f /etc/apparmor.d/lsb_release /etc/apparmor.d/nvidia_modprobe /etc/apparmor.d/runc /etc/apparmor.d/crun

# An ordinary user with ranges of subordinate ids.
useradd --create-home --uid 1000 --shell /bin/bash --key SUB_UID_COUNT=0 --key SUB_GID_COUNT=0 ordinary
echo ordinary:100000:65536 >/etc/subuid
echo ordinary:100000:65536 >/etc/subgid

# The second disk is an archive with the tests; what it brings at /vm/start is run, and then the machine is switched off.
cat >/etc/systemd/system/tests.service <<UNIT
[Unit]
Description=The tests
After=basic.target dbus.service systemd-logind.service systemd-user-sessions.service
SuccessAction=poweroff-immediate
FailureAction=poweroff-immediate
[Service]
Type=oneshot
ExecStart=/bin/sh -ec 'tar -x -C / -f /dev/vdb; exec sh /vm/start'
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
Environment=HOME=/root LANG=C.UTF-8
TasksMax=infinity
[Install]
WantedBy=multi-user.target
UNIT
systemctl enable -q tests.service
systemctl mask -q apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer serial-getty@ttyS0.service getty@tty1.service systemd-timesyncd.service
echo vm >/etc/hostname
python3 -m venv /opt/venv
