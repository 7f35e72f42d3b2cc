#!/bin/sh
# get-vm.sh [DIR]: a virtual machine for make stress-vm, as files (default .local/vm): qemu, Debian's kernel, and the tree of
# get-hosts.sh with that kernel's modules and AppArmor as the image of a disk. qemu emulates the processor, so it needs no KVM; the
# machine is slow.
#
#   qemu/ vmlinuz initrd   what boots it
#   disk                   its disk; a test starts from a copy
#   id id.pub known_hosts  the key with which isucon and root log in at 10.77.0.21, and what the machine's sshd shows
#
# Packages come from the mirror that this machine's apt uses, and are unpacked here; nothing is installed. It needs root or sudo, an
# amd64 machine, and 1.5 GB on disk.
set -eu

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
dir=${1:-$root/.local/vm} name=get-vm
# shellcheck source-path=SCRIPTDIR source=fetch.sh
. "$root/scripts/fetch.sh"
tree=$root/.local/hosts
address=10.77.0.21

# unpack unpacks packages of apt's into a directory.
unpack() {
	to=$1
	shift
	mkdir -p "$to" "$dir.new/debs"
	rm -f "$dir.new"/debs/*
	(cd "$dir.new/debs" && apt-get download "$@") >>"$dir.log" 2>&1 ||
		fail "these packages could not be fetched: $*" "what went wrong is in $dir.log; apt-get update, and run this again"
	for deb in "$dir.new"/debs/*.deb; do dpkg-deb -x "$deb" "$to"; done
	for old in bin sbin lib; do # packages from before these were links into usr
		[ ! -d "$to/$old" ] || { mkdir -p "$to/usr/$old" && cp -a "$to/$old/." "$to/usr/$old/" && rm -r "${to:?}/$old"; }
	done
}

# missing prints the packages that installing $1 would add to this machine; it has the others.
missing() { apt-get install --simulate --no-install-recommends "$1" 2>/dev/null | sed -n 's/^Inst \([^ ]*\).*/\1/p'; }

sh "$root/scripts/get-hosts.sh"
version="1 $(cat "$tree/etc/isukit-tree")"
ready() { [ "$(cat "$dir/version" 2>/dev/null)" = "$version" ]; }
if ready; then
	exit 0
fi
[ "$(uname -m)" = x86_64 ] || fail 'the virtual machine is an amd64 one' 'run this on such a machine'
command -v mke2fs >/dev/null || fail 'mke2fs is missing' 'apt-get install e2fsprogs'
kernel=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: //p')
[ -n "$kernel" ] || fail 'apt on this machine has no kernel for virtual machines' 'use Debian, and apt-get update'

once
new=$work
mkdir -p "$new"
: >"$dir.log"

say "a virtual machine with $kernel in $dir (a minute, 1.5 GB)"
# shellcheck disable=SC2046 # a word for each package
command -v qemu-system-x86_64 >/dev/null || unpack "$new/qemu" $(missing qemu-system-x86)
unpack "$new/kernel" "$kernel"
unpack "$new/busybox" busybox-static
cp "$new"/kernel/boot/vmlinuz-* "$new/vmlinuz"

# The kernel's own ext4 reads the disk, but the drivers that lead to it are modules.
mkdir -p "$new/ram/root"
cp "$new/busybox/usr/bin/busybox" "$new/ram/"
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
	find "$new/kernel/usr/lib/modules" -name "$module.ko" -exec cp {} "$new/ram/" \;
done
cat >"$new/ram/init" <<'END'
#!/busybox sh
b=/busybox
$b mkdir -p /proc /dev
$b mount -t proc none /proc
$b mount -t devtmpfs none /dev
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do $b insmod /$module.ko; done
until [ -b /dev/vda ]; do $b sleep 1; done
$b mount -t ext4 /dev/vda /root
$b umount /proc
exec $b switch_root /root /sbin/init
END
chmod 755 "$new/ram/init"
(cd "$new/ram" && find . | ./busybox cpio -o -H newc) 2>>"$dir.log" | gzip -1 >"$new/initrd"

ssh-keygen -q -t ed25519 -N '' -f "$new/id"
ssh-keygen -q -t ed25519 -N '' -f "$new/hostkey"
echo "$address $(cat "$new/hostkey.pub")" >"$new/known_hosts"

as_root cp -a "$tree" "$new/tree"
unpack "$new/more" apparmor udev
# shellcheck disable=SC2016 # that shell's variables
as_root sh -eu -c '
cd "$1/tree"
cp -a ../kernel/usr/lib/modules usr/lib/
cp -a ../more/etc/. etc/
cp -a ../more/usr/. usr/
chroot . depmod "$(ls usr/lib/modules)"
chroot . systemctl --quiet enable apparmor systemd-networkd
for unit in getty@tty1 serial-getty@ttyS0 apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap fstrim.timer; do
	chroot . systemctl --quiet mask "$unit"
done
rm -f etc/apparmor.d/lsb_release etc/apparmor.d/nvidia_modprobe # translating each takes an emulated processor seconds
echo vm >etc/hostname
echo "127.0.0.1 localhost vm" >etc/hosts
echo "/dev/vda / ext4 defaults 0 1" >etc/fstab
printf "[Match]\nName=en* eth*\n[Network]\nAddress=$2/24\nGateway=10.77.0.1\n" >etc/systemd/network/10-isukit.network
for home in root home/isucon; do
	mkdir -p -m 700 $home/.ssh
	cp ../id.pub $home/.ssh/authorized_keys
	chown -R --reference=$home $home/.ssh
done
install -m 600 ../hostkey etc/ssh/ssh_host_ed25519_key
cp ../hostkey.pub etc/ssh/ssh_host_ed25519_key.pub
mke2fs -q -t ext4 -d . ../disk 2560M
' sh "$new" "$address" >>"$dir.log" 2>&1 ||
	fail "the disk in $new could not be made; what went wrong is in $dir.log" 'fix that and run this again'
as_root rm -rf --one-file-system "$new/tree" "$new/kernel" "$new/busybox" "$new/ram" "$new/debs" "$new/more" "$new/hostkey" "$new/hostkey.pub"
echo "$version" >"$new/version"
[ ! -e "$dir" ] || as_root rm -rf --one-file-system "$dir"
mv "$new" "$dir"
rm -f "$dir.log"
say "$kernel in $dir"
