"""A virtual machine with Debian's kernel, and a shell in it.

The kernel is downloaded once into ${HEKA_CACHE:-${XDG_CACHE_HOME:-~/.cache}}/heka-insights-agent/kernel. The machine boots from an
initramfs with busybox, the programs that it is given with their libraries, and the kernel modules that it is given. It has no
network and, unless it is given the root of another system to go on with, no disk. It runs without hardware support for virtualization, so that it runs everywhere: about 10 s for a boot.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time

RETRY = pathlib.Path(__file__).resolve().parents[2] / ".ci/retry"
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/programs:/bin HOME=/root
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs run /run; mount -t tmpfs tmp /tmp
mkdir -p /sys/fs/cgroup; mount -t cgroup2 cgroup /sys/fs/cgroup
echo /bin/modprobe > /proc/sys/kernel/modprobe
modprobe virtio_pci; modprobe virtio_console; modprobe configfs
mount -t configfs config /sys/kernel/config
ip link set lo up
tries=0
until [ -c /dev/vport0p1 ] || [ $tries -gt 100 ]; do usleep 50000; tries=$((tries + 1)); done
exec 3<>/dev/vport0p1
sh <&3 >&3 2>&1
poweroff -f
"""
# A root of its own goes on in place of the shell; a unit of it has the shell then.
SWITCH = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for each in virtio_pci virtio_console virtio_blk crc32c_generic ext4; do modprobe $each; done
tries=0
until mount -t ext4 /dev/vda /mnt || [ $tries -gt 100 ]; do usleep 50000; tries=$((tries + 1)); done
umount /proc /sys /dev
exec switch_root /mnt /lib/systemd/systemd
"""
SHELL = """[Unit]
Description=The shell of the test
[Service]
ExecStart=/bin/sh -c 'exec 3<>/dev/vport0p1; exec sh <&3 >&3 2>&1'
[Install]
WantedBy=multi-user.target
"""
END = b"\x1e"


class Failure(Exception):
    """A command in the machine failed, or the machine did not answer in time."""


def cache():
    base = os.environ.get("HEKA_CACHE") or os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "heka-insights-agent"


def output(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, **options)
    if done.returncode:
        raise SystemExit(f"guest: failed: {' '.join(map(str, command))}")
    return done.stdout


def kernel():
    """The directory of an unpacked kernel package of Debian."""
    directory = cache() / "kernel"
    if (directory / "ready").exists():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as work:
        os.chmod(work, 0o755)
        output(RETRY, "apt-get", "-qq", "update")
        depends = output("apt-cache", "depends", "linux-image-amd64")
        package = re.search(r"Depends: (linux-image-[0-9]\S*)", depends)[1]
        output(RETRY, "apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package, cwd=work)
        unpacked = pathlib.Path(work) / "kernel"
        subprocess.run(["dpkg-deb", "-x", *pathlib.Path(work).glob("*.deb"), unpacked], check=True)
        release = next((unpacked / "lib/modules").iterdir()).name
        subprocess.run(["depmod", "-b", unpacked, release], check=True)
        (unpacked / "ready").touch()
        shutil.rmtree(directory, ignore_errors=True)
        unpacked.rename(directory)
    return directory


def copy_program(program, root, name=None):
    """A program and the libraries that it needs."""
    target = root / "programs" / (name or pathlib.Path(program).name)
    shutil.copy(program, target)
    listed = subprocess.run(["ldd", program], capture_output=True, text=True)  # fails for a static program
    for library in re.findall(r"(/\S+) \(0x", listed.stdout):
        place = root / library.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)


def copy_modules(names, source, root):
    release = next((source / "lib/modules").iterdir()).name
    wanted = pathlib.Path("lib/modules") / release
    for name in names:
        depends = output("modprobe", "-d", source, "-S", release, "--show-depends", name)
        for path in re.findall(r"^insmod (\S+)", depends, re.MULTILINE):
            place = root / wanted / path.split(f"/modules/{release}/")[1]
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    for each in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(source / wanted / each, root / wanted)
    subprocess.run(["depmod", "-b", root, release], check=True)


class Machine:
    """Use as a context: leaving it ends the machine."""

    def __init__(self, programs, modules, cpus=4, memory=1024, system=None):
        """`system` is the root of a system with systemd, which is copied to a disk with the programs and booted."""
        self.work = tempfile.TemporaryDirectory()
        source = kernel()
        root = pathlib.Path(self.work.name) / "root"
        for each in ("bin", "programs", "proc", "sys", "dev", "etc", "tmp", "run", "root", "mnt"):
            (root / each).mkdir(parents=True)
        shutil.copy("/bin/busybox", root / "bin")
        disk = system and self.disk(system, programs)
        for name, program in ({} if system else programs).items():
            copy_program(program, root, name)
        copy_modules(["virtio_pci", "virtio_console", *(["virtio_blk", "crc32c_generic", "ext4"] if system else ["configfs"]), *modules], source, root)
        (root / "init").write_text(SWITCH if system else INIT)
        (root / "init").chmod(0o755)
        (root / "etc/hostname").write_text("guest\n")
        initramfs = pathlib.Path(self.work.name) / "initramfs.gz"
        pack = "find . | cpio -o -H newc --quiet | gzip -1"
        with initramfs.open("wb") as file:
            subprocess.run(pack, shell=True, check=True, cwd=root, stdout=file)
        self.console = pathlib.Path(self.work.name) / "console"
        image = next((source / "boot").glob("vmlinuz-*"))
        self.qemu = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(memory), "-smp", str(cpus),
             "-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot", "-serial", f"file:{self.console}",
             "-device", "virtio-serial-pci", "-chardev", "stdio,id=port", "-device", "virtserialport,chardev=port",
             "-kernel", image, "-initrd", initramfs, "-append", "console=ttyS0 quiet loglevel=4 panic=-1 no_timer_check"]
            + (["-drive", f"file={disk},format=raw,if=virtio"] if system else []),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        # The shell prefers busybox's applets to programs of the same name.
        for name in {} if system else programs:
            self.qemu.stdin.write(f'{name}() {{ /programs/{name} "$@"; }}\n'.encode())
        # Whether a command did not end. What arrives from then on may be of that one, so this machine is of no more use.
        self.lost = False
        self.received = bytearray()
        self.arrived = threading.Condition()
        threading.Thread(target=self._receive, daemon=True).start()

    def disk(self, system, programs):
        """A disk with a file system of this root, the programs in /usr/bin and a unit with the shell."""
        root, image = pathlib.Path(self.work.name) / "system", pathlib.Path(self.work.name) / "disk"
        subprocess.run(["cp", "-a", system, root], check=True)
        for name, program in programs.items():
            shutil.copy(program, root / "usr/bin" / name)
        units = root / "etc/systemd/system"
        (units / "shell.service").write_text(SHELL)
        (units / "multi-user.target.wants").mkdir(exist_ok=True)
        (units / "multi-user.target.wants/shell.service").symlink_to("../shell.service")
        bytes_used = int(output("du", "-s", "--block-size=1", root).split()[0])
        with image.open("wb") as file:
            file.truncate(bytes_used * 5 // 4 + (256 << 20))
        output("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", root, image)
        shutil.rmtree(root)
        return image

    def _receive(self):
        while chunk := os.read(self.qemu.stdout.fileno(), 65536):
            with self.arrived:
                self.received += chunk
                self.arrived.notify()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        self.qemu.kill()
        self.qemu.wait()
        self.work.cleanup()

    def run(self, script, timeout=60):
        """Runs a script in a shell of its own and returns its output, standard error included."""
        try:
            self.qemu.stdin.write(f"(\n{script}\n) </dev/null 2>&1; printf '\\036%d\\036' $?\n".encode())
            self.qemu.stdin.flush()
        except BrokenPipeError:
            self.lost = True
            raise Failure(f"the machine has ended: {self.console.read_text(errors='replace')[-1000:]}") from None
        with self.arrived:
            if not self.arrived.wait_for(lambda: self.received.count(END) == 2, timeout):
                self.lost = True
                raise Failure(f"no end within {timeout} s: {script}\n{self.received.decode(errors='replace')}\n"
                              f"{self.console.read_text(errors='replace')[-1000:]}")
            output, status, _ = bytes(self.received).split(END)
            self.received.clear()
        output = output.decode(errors="replace").replace("\r\n", "\n")
        if status != b"0":
            raise Failure(f"status {status.decode()}: {script}\n{output}")
        return output

    def wait(self, condition, timeout=30):
        """Until a shell condition holds; one that never does is a failure."""
        deadline = time.monotonic() + timeout
        while not self.run(f"if {condition}; then echo holds; fi").endswith("holds\n"):
            if time.monotonic() > deadline:
                raise Failure(f"not within {timeout} s: {condition}")
            time.sleep(0.05)

    def uptime(self):
        """Seconds since the boot."""
        return float(self.run("cat /proc/uptime").split()[0])
