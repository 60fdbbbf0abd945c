"""Runs each variation under each runtime, in a machine of its own, and prints what the probes saw as JSON.

`python measure.py NAME=PROGRAM... [-- VARIATION[;VARIATION...]]`, as root. Nothing of the host is changed: the mounts,
the names and the network are those of namespaces of this program, all files are in a filesystem of its own at /mnt, and
the containers have cgroups of their own names. In the environment, BESIDE_DRIVER=systemd has systemd make those, and
BESIDE_PROBE is a probe that is compiled already.
"""

import fnmatch
import json
import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import caller
import seen
from bundle import copy_program
from variations import VARIATIONS

HERE = Path(__file__).resolve().parent
# Outside of the namespace in which every process is the first.
SESSION = os.environ.setdefault("PYRUNTIME_SESSION", f"beside-{os.getpid()}")
WORK = Path("/mnt")
PROBE = WORK / "probe"
PATIENCE = int(os.environ.get("PYRUNTIME_PATIENCE") or 30)  # seconds for one call of a runtime
BY_SYSTEMD = os.environ.get("BESIDE_DRIVER") == "systemd"
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
DIRECTORIES = (
    "bin",
    "dev",
    "etc",
    "home/u",
    "home/closed",
    "opt/given",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "out",
    "var/lib",
)


def prepare_rootfs(rootfs):
    """Make the root filesystem that each container gets anew: the probe, and empty directories."""
    for name in DIRECTORIES:
        (rootfs / name).mkdir(parents=True)
    shutil.copy(PROBE, rootfs / "probe")  # no link: the bundle of an ordinary user changes its owner
    os.symlink("/probe", rootfs / "bin/linked")
    (rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n")
    (rootfs / "etc/group").write_text("root:x:0:\nu:x:1000:\nmore:x:2000:u\n")
    (rootfs / "opt/given/file").write_text("given\n")
    for name, owner in (("home/u", 1000), ("home/closed", 0)):
        os.chown(rootfs / name, owner, owner)
        (rootfs / name).chmod(0o700)
    os.symlink("/opt", rootfs / "link")
    os.symlink("../../..", rootfs / "out-link")
    for name in ("tmp", "out"):
        (rootfs / name).chmod(0o1777)


def left_in(rootfs):
    """Return what the runtime has made of the root filesystem: type, mode and owner of each file."""
    found = {}
    for folder, directories, files in os.walk(rootfs):
        for name in directories + files:
            path = Path(folder, name)
            status = path.lstat()
            inside = str(path.relative_to(rootfs))
            if not inside.startswith("out/"):
                found[f"/{inside}"] = f"{status.st_mode:06o} {status.st_uid}:{status.st_gid}"
    return found


def prepare_mounts(folder):
    """Make a read-only mount with another below it, as a source of bind mounts."""
    mount = ["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec", "mounted"]
    folder.mkdir()
    subprocess.run([*mount, folder], check=True)
    (folder / "below").mkdir()
    subprocess.run([*mount, folder / "below"], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro,noatime", folder], check=True)


class Place:
    """Where a worker runs its containers, one after the other: everything has the same name for each runtime."""

    def __init__(self, programs):
        self.folder = WORK / str(os.getpid())
        self.folder.mkdir()
        caller.LIBC.unshare(0x20000)  # CLONE_NEWNS
        own_devices(self.folder / "dev")
        self.programs = programs
        self.id = f"{SESSION}-{os.getpid()}"
        self.bundle = self.folder / "bundle"
        written = self.folder / "config"
        written.mkdir()
        subprocess.run([programs["pyruntime"], "spec", "-b", written], check=True)
        self.default = (written / "config.json").read_text()
        caller.LIBC.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what containers leave can be waited for
        groups = {line.split(":")[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}
        self.normal = {
            # KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING
            "keyring": caller.LIBC.syscall(caller.KEYCTL, 0, -3, 0),
            "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")},
            "names": {str(self.bundle): "BUNDLE", str(self.folder): "FOLDER", self.id: "ID"}
            | dict.fromkeys(groups - {"/"}, "/CALLER"),
        }

    def configuration(self, variation):
        """Return the text of the config.json of `variation`: the default's, changed."""
        config = json.loads(self.default)
        config["ociVersion"] = "1.0.2"
        config["process"].update(terminal=False, args=["/probe", "--to", "/out/process"])
        config["root"]["readonly"] = False
        config["linux"]["cgroupsPath"] = "system.slice:beside:ID" if BY_SYSTEMD else "/ID"
        # Which `spec` writes on some hosts.
        if {"type": "cgroup"} not in config["linux"]["namespaces"]:
            config["linux"]["namespaces"].append({"type": "cgroup"})
        for change in variation.changes:
            change(config)
        return self.named(json.dumps(config))

    def named(self, text):
        """Return `text` with the words that stand for names of this place."""
        return (
            text.replace("BUNDLE", str(self.bundle))
            .replace("/ID", f"/{self.id}")
            .replace('"ID"', f'"{self.id}"')
            .replace(":beside:ID", f":beside:{self.id}")
            .replace("WORKER", str(os.getpid()))
        )

    def run(self, variation):
        """Return what `variation` shows under each runtime: {runtime: {path: value}}."""
        return {name: self._under(name, variation) for name in self.programs}

    def _under(self, name, variation):
        state = self.folder / "state"
        program = self.programs[name]
        if variation.owner and name == "pyruntime":
            program = self._for_everybody(program)
        command = [program, "--root", str(state), *(["--systemd-cgroup"] if BY_SYSTEMD else [])]
        os.chown("/dev/null", 0, 0)
        self.bundle.mkdir()
        rootfs = self.bundle / "rootfs"
        prepare_rootfs(rootfs)
        text = self.configuration(variation)
        (self.bundle / "config.json").write_text(text)
        if "/given" in text:
            (self.bundle / "given/below").mkdir(parents=True)
            (self.bundle / "given/file").write_text("given\n")
            os.symlink("below", self.bundle / "given/link")
        if "/mounted" in text:
            prepare_mounts(self.bundle / "mounted")
        for file, content in variation.files.items():
            (self.bundle / file).write_text(self.named(json.dumps(content)))
        if variation.owner:
            state.mkdir()
            subprocess.run(["chown", "-hR", f"{variation.owner}:{variation.owner}", self.bundle, state], check=True)
        statuses = {}
        try:
            for number, call in enumerate(variation.calls, 1):
                words = [self.id if word == "ID" else self.named(word) for word in call]
                if words[0] == "wait":
                    caller.await_children(PATIENCE)
                    continue
                title = " ".join(word for word in call if word not in ("/probe", "--to"))
                who = {} if number <= variation.before else dict(variation.caller)
                if "cgroup" in who:
                    who["cgroup"] = self.named(who["cgroup"]).lstrip("/")
                statuses[f"status: {number}. {title}"] = self._call([*command, *words], who)
                statuses[f"says: {number}. {title}"] = self._said()
            left = left_in(rootfs)
            found = {f"{file.name}": file.read_bytes() for file in sorted((rootfs / "out").iterdir())}
        finally:
            if (state / self.id).exists():
                words = [*command, "delete", "--force", self.id]
                subprocess.run(words, capture_output=True, check=False, timeout=PATIENCE)
            caller.clean()
            caller.remove_cgroups(self.id)
            if "/mounted" in text:
                subprocess.run(["umount", "-R", self.bundle / "mounted"], check=True)
            subprocess.run(["rm", "-rf", "--one-file-system", self.bundle, state], check=True)
        result = statuses
        for file, text in found.items():
            try:
                document = json.loads(text)
            except ValueError:
                result[f"{file}: text"] = repr(text[:200])
                continue
            values = seen.normalised(document, self.normal)
            result[f"runs: {file}"] = "yes"
            result.update({f"{file}: {path}": value for path, value in values.items()})
        result.update({f"left: {path}": value for path, value in left.items()})
        return result

    def _for_everybody(self, program):
        """Return a copy of the program that an ordinary user can reach."""
        folder = self.folder / "program"
        if not folder.exists():
            copy_program(Path(program), folder)
        return str(folder / "bin/pyruntime")

    def _said(self):
        """Return the end of what the last call wrote to standard error, if that was a file."""
        path = self.folder / "stream2"
        return path.read_text(errors="replace")[-400:] if path.exists() else ""

    def _call(self, words, who):
        """Return the exit status of a call, or that it did not end."""
        with caller.called(self, words, who) as process:
            try:
                return process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return "does not end"


def own_devices(folder):
    """Mount a /dev of this process's own: some runtimes change the owner of the null device that they are given."""
    (folder / "pts").mkdir(parents=True)
    (folder / "shm").mkdir()
    for name, numbers in DEVICES.items():
        os.mknod(folder / name, 0o666 | stat.S_IFCHR, os.makedev(*numbers))
        (folder / name).chmod(0o666)
    for name, target in (("fd", "/proc/self/fd"), ("ptmx", "pts/ptmx")):
        os.symlink(target, folder / name)
    for words in (
        ["-t", "devpts", "-o", "newinstance,ptmxmode=666,mode=620,gid=5", "devpts", folder / "pts"],
        ["--rbind", folder, "/dev"],
    ):
        subprocess.run(["mount", *words], check=True)


def without_unified(cgroups):
    """Mount the hierarchies of version 1 alone, on a directory of this process's own.

    crun refuses a unified hierarchy with controllers beside them, and makes plain files where there is none.
    """
    subprocess.run(["umount", cgroups / "unified"], check=True)
    hierarchies = [path.name for path in cgroups.iterdir() if path.is_mount()]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "beside", WORK], check=True)
    for name in hierarchies:
        (WORK / name).mkdir()
        subprocess.run(["mount", "--bind", cgroups / name, WORK / name], check=True)
    subprocess.run(["mount", "--rbind", WORK, cgroups], check=True)
    subprocess.run(["umount", "-R", WORK], check=True)


_place = None


def _one(task):
    global _place
    name, programs = task
    _place = _place or Place(programs)
    return name, _place.run(next(one for one in VARIATIONS if one.name == name))


def main():
    """Run the variations two at a time, and print {variation: {runtime: {path: value}}}."""
    words, _, chosen = " ".join(sys.argv[1:]).partition("--")
    programs = dict(pair.split("=", 1) for pair in words.split())
    if os.environ.get("BESIDE") != "inside":
        inside = {**os.environ, "BESIDE": "inside"}
        spaces = ["--mount", "--uts", "--ipc", "--net"]
        if not BY_SYSTEMD:  # which is told numbers of processes
            spaces += ["--pid", "--fork", "--mount-proc", "--kill-child"]
        os.execvpe("unshare", ["unshare", *spaces, sys.executable, *sys.argv], inside)
    if Path("/sys/fs/cgroup/memory").is_dir() and Path("/sys/fs/cgroup/unified").is_dir():
        without_unified(Path("/sys/fs/cgroup"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "beside", WORK], check=True)
    if probe := os.environ.get("BESIDE_PROBE"):
        shutil.copy(probe, PROBE)
    else:
        flags = ["-static", "-O1", "-std=gnu11", "-Wall", "-Wextra", "-Werror"]
        subprocess.run(["gcc", *flags, HERE / "probe.c", "-o", PROBE], check=True)
    patterns = [one.strip() for one in (chosen.strip() or "*").split(";")]
    names = [one.name for one in VARIATIONS if any(fnmatch.fnmatch(one.name, pattern) for pattern in patterns)]
    with ProcessPoolExecutor(2) as pool:
        print(json.dumps(dict(pool.map(_one, [(name, programs) for name in names]))))


if __name__ == "__main__":
    main()
