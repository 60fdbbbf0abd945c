"""What a verb costs does not depend on how many other containers there are, nor on what the host has mounted."""

import fcntl
import os
import subprocess

import killing
import pytest

FEW, MANY = 3, 60
DOUBLINGS = 9  # 512 mounts
# A signal that comes early or late can cost a call more; the least of a few runs is what a verb needs.
RUNS = 3


def costs(containers, runtime, prefix=()):
    """Return verb -> how many system calls its process makes, for a life of a container.

    Without `pause`: the freezer of cgroup v1 has to be asked until it is done.
    """
    least = {}
    bundle = containers.bundle("exec sleep 1000")
    for _ in range(RUNS):
        # As long as any other: a byte more may be a call more, for memory.
        name = f"{runtime.id():_<60}"
        for verb, words in {
            "create": ("--bundle", bundle, name),
            "state": (name,),
            "start": (name,),
            "exec": ("--detach", name, "true"),
            "kill": (name, "KILL"),
            "delete": ("--force", name),
        }.items():
            stops, _ = killing.run([*prefix, *runtime.command(verb, *words)])
            assert stops > 0
            least[verb] = min(stops, least.get(verb, stops))
    return least


def test_no_verb_makes_more_system_calls_beside_many_containers(containers, runtime):
    for _ in range(FEW):
        containers.create()
    few = costs(containers, runtime)
    for _ in range(MANY - FEW):
        containers.create()
    assert costs(containers, runtime) == few


@pytest.fixture
def namespace(tmp_path):
    """A factory of mount namespaces: what leads a command into a new one, in which `commands` were run."""
    holders = []

    def make(commands):
        script = f"mount --make-rprivate / && {commands} && echo made && exec cat"
        holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        holders.append(holder)
        assert holder.stdout.readline() == "made\n"
        return "nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--"

    yield make
    for holder in holders:
        holder.communicate()


def test_no_verb_makes_more_system_calls_on_a_host_with_many_mounts(containers, runtime, namespace, tmp_path):
    place = tmp_path / "many"
    place.mkdir()
    doubling = f"mkdir {place}/$i && mount --rbind {place} {place}/$i || exit 1"
    many = f"mount -t tmpfs none {place} && for i in $(seq {DOUBLINGS}); do {doubling}; done"
    inside = namespace(many)
    assert len(subprocess.check_output([*inside, "cat", "/proc/self/mountinfo"]).splitlines()) > 2**DOUBLINGS
    assert costs(containers, runtime, inside) == costs(containers, runtime, namespace("true"))


def test_no_verb_waits_for_the_lock_of_another_container_or_of_the_root(containers, runtime):
    busy = containers.create()
    for place in (runtime.root, runtime.root / busy.id):
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            assert set(costs(containers, runtime)) >= {"create", "delete"}
            assert busy.id in runtime("list", "--quiet").stdout
        finally:
            os.close(directory)
