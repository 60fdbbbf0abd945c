"""Docker Engine with --userns-remap: its containers have the ids of an ordinary user."""


def test_root_inside_is_nobody_outside(remapped_docker, ordinary):
    first, count = next(
        line.split(":")[1:] for line in open("/etc/subuid").read().splitlines() if line.startswith(f"{ordinary.name}:")
    )
    script = "id -u; touch /made; stat -c %u /made /etc/passwd; cat /proc/self/uid_map"
    done = remapped_docker("run", "--rm", "box", "sh", "-c", script)
    assert done.stdout.split() == ["0", "0", "0", "0", first, count]


def test_what_the_flags_ask_for(remapped_docker):
    flags = ["--memory", "20m", "--pids-limit", "10", "--read-only", "--tmpfs", "/scratch", "--device", "/dev/zero"]
    script = "touch /scratch/made /made; head -c 3 /dev/zero | wc -c; grep Seccomp: /proc/self/status; id -u"
    hardened = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "1000", "--init"]
    done = remapped_docker("run", "--rm", *flags, *hardened, "box", "sh", "-c", script)
    assert "/made: Read-only file system" in done.stderr
    assert done.stdout.split() == ["3", "Seccomp:", "2", "1000"]


def test_a_volume_belongs_to_the_containers_root(remapped_docker):
    docker = remapped_docker
    docker("run", "--rm", "--volume", "kept:/kept", "box", "sh", "-c", "echo text > /kept/made")
    assert docker("run", "--rm", "--volume", "kept:/kept", "box", "cat", "/kept/made").stdout == "text\n"
    docker("volume", "rm", "kept")


def test_exec_and_terminals(remapped_docker):
    docker = remapped_docker
    docker("run", "--detach", "--name", "busy", "box", "sleep", "1000")
    assert docker("exec", "--user", "5", "busy", "id", "-u").stdout == "5\n"
    script = "tty; stat -c 'owner %u' $(tty)"
    done = docker("exec", "-it", "--user", "5", "busy", "sh", "-c", script, terminal=True)
    assert "/dev/pts/0" in done.stdout
    assert "owner 5" in done.stdout


def test_a_container_without_the_mapping(remapped_docker):
    done = remapped_docker("run", "--rm", "--userns", "host", "box", "cat", "/proc/self/uid_map")
    assert done.stdout == open("/proc/self/uid_map").read()
