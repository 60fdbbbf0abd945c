"""`explain`: a clause, a section and a property, and what is near to what is none."""

import pytest

from pyruntime import SPEC_VERSION
from pyruntime.cli.main import main
from pyruntime.spec.clauses import FILES, catalogue, properties


@pytest.fixture
def explain(capfd):
    """explain(word) returns the exit status, and what is printed on stdout and on stderr."""

    def run(word):
        status = main(["explain", word])
        out, err = capfd.readouterr()
        return status, out, err

    return run


def test_a_clause_is_printed_with_all_that_is_known_of_it(explain):
    status, out, _ = explain("config.md#posix-process/rlimit-type-once")
    assert status == 0
    assert "MUST: binds the runtime" in out
    assert catalogue()["config.md#posix-process/rlimit-type-once"]["says"] in out
    assert "/process/rlimits/*/type" in out
    assert "pyruntime/spec/rules/rlimits.py::rlimits" in out
    assert "conformance/test_config_process.py::test_a_limit_listed_twice_is_an_error" in out
    assert out.rstrip().endswith("blob/v1.3.0/config.md#posix-process")


def test_a_clause_that_no_test_shows_says_why_and_does_not_promise_more(explain):
    out = explain("config.md#root/path-conventional")[1]
    assert "no test" in out
    assert "refuses" not in out
    assert "the runtime refuses what breaks it" in explain("config.md#root/path-required")[1]


def test_twins_are_named(explain):
    out = explain("config.md#posix-platform-hooks/poststop-path")[1]
    assert "said also in  config.md#poststop" in out


def test_a_section_lists_its_clauses_and_properties(explain):
    status, out, _ = explain("config.md#root")
    assert status == 0
    for name in catalogue():
        assert (name in out) == name.startswith("config.md#root/")
    assert "/root/readonly" in out
    assert "On Windows, the path must be that of a volume. (binds runtimes of other platforms)" in " ".join(out.split())


def test_a_section_without_clauses_is_known_too(explain):
    status, out, _ = explain("config-linux.md#sysctl")
    assert status == 0
    assert "no MUST" in out
    assert "/linux/sysctl" in out


@pytest.mark.parametrize(
    ("pointer", "words"),
    [
        ("/mounts/3/options", ["array of strings", "config.md#mounts", "plan/mounts.py", "idmap-without-mappings"]),
        ("/mounts/3", ["element of /mounts", "listed-order"]),
        ("/linux/resources/memory/limit", ["int64", "config-linux.md#memory", "plan/cgroup/memory.py"]),
        ("/linux/sysctl/net.ipv4.ip_forward", ["element of /linux/sysctl", "type          string"]),
        ("/linux/sysctl", ["map of strings"]),
        ("/process/cwd", ["none: it is required", "string, an absolute path"]),
        ("/process/user", ["No clause of its own", "Those of /process:", "uid, gid, umask, additionalGids"]),
        ("/process/capabilities/ambient", ["Those of /process/capabilities:", "capability-warning", "empty"]),
        ("/linux/devices/1", ["type          object", "type, path, major, minor, fileMode"]),
        ("/hooks/poststop/0/timeout", ["config.md#posix-platform-hooks/timeout-positive", "default", "none"]),
        ("/root/readonly", ["boolean", "false", "config.md#root/readonly"]),
        ("/linux/resources/rdma/mlx5_1/hcaHandles", ["config-linux.md#rdma"]),
    ],
)
def test_a_property_is_explained_at_its_place(explain, pointer, words):
    status, out, _ = explain(pointer)
    assert status == 0
    assert out.startswith(pointer)
    assert not [word for word in words if word not in out]


def test_what_binds_the_specification_itself_is_of_no_interest_at_a_property(explain):
    assert "reserved-for-later" not in explain("/annotations")[1]
    assert "binds the specification itself" in explain("config.md#annotations/reserved-for-later")[1]


def test_the_address_of_a_section_is_its_anchor_on_the_web(explain):
    assert explain("runtime-linux.md#dev-symbolic-links")[1].endswith("runtime-linux.md#-dev-symbolic-links\n")


def test_options_of_mounts_are_listed_by_their_words(explain):
    out = explain("/mounts/0/options")[1]
    assert "config.md#linux-mount-options/option-..." in out
    assert "rnoexec" in out and "unbindable" in out
    assert len(out.splitlines()) < 70


def test_every_clause_and_property_can_be_explained(explain, subtests):
    for name in [*catalogue(), *properties(), *{known["clause"] for known in properties().values()}]:
        with subtests.test(name):
            status, out, _ = explain(name)
            assert status == 0
            assert out.startswith(name)
            assert max(map(len, out.splitlines())) <= 200


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("config.md#mounts/list-order", "config.md#mounts/listed-order"),
        ("config.md#moounts", "config.md#mounts"),
        ("/mounts/0/optoins", "/mounts/*/options"),
        ("/linux/sysctls", "/linux/sysctl"),
    ],
)
def test_what_is_none_is_an_error_that_names_the_nearest(explain, word, near):
    status, out, err = explain(word)
    assert (status, out) == (1, "")
    assert word in err
    assert f"did you mean {near}" in err or f"or {near}" in err


@pytest.mark.parametrize("word", ["", "/", "zzzz", "/root/path/further"])
def test_what_is_like_nothing_is_an_error(explain, word):
    status, out, _ = explain(word)
    assert (status, out) == (1, "")


@pytest.mark.parametrize(
    ("word", "there"),
    [
        ("seccomp", ["/linux/seccomp", "config-linux.md#seccomp"]),
        ("memory", ["/linux/resources/memory/limit", "config-linux.md#memory/check-before-update"]),
        ("mounts", ["/mounts", "config.md#mounts/listed-order"]),
        ("nosuid", ["config.md#linux-mount-options/option-nosuid"]),
        ("CAP_NET_ADMIN", ["capability 12", "/process/capabilities/bounding", "linux-process/capability-warning"]),
        ("net_admin", ["CAP_NET_ADMIN", "capability 12"]),
        ("SCMP_ACT_ERRNO", ["/linux/seccomp/defaultAction"]),
        ("expected an absolute path", ["/process/cwd", "config.md#mounts/destination-absolute"]),
    ],
)
def test_a_word_is_found_where_it_belongs(explain, word, there):
    status, out, _ = explain(word)
    assert status == 0
    assert not [name for name in there if name not in out]


@pytest.fixture
def specification(tmp_path):
    """A directory that looks like a clone of the specification, with one clause in it."""
    (tmp_path / "specs-go").mkdir()
    for name in FILES:
        (tmp_path / f"{name}.md").write_text("")
    (tmp_path / "config.md").write_text(
        "# Root\n\n* one is REQUIRED\n* MUST NOT\n* REQUIRED three\n    1. The fourth, REQUIRED.\n"
        "## Example\n```\n# MUST\n```\n"
    )
    write_version(tmp_path, SPEC_VERSION, "")
    return tmp_path


def write_version(folder, version, development):
    numbers = zip(("Major", "Minor", "Patch"), version.split("."), strict=True)
    lines = [f"\tVersion{name} = {number}" for name, number in numbers]
    (folder / "specs-go/version.go").write_text("\n".join([*lines, f'\tVersionDev = "{development}"']))


def test_the_specification_itself_is_quoted_from_the_readers_clone(explain, specification, monkeypatch):
    assert "> " not in explain("config.md#root/path-required")[1]
    monkeypatch.setenv("PYRUNTIME_SPEC", str(specification))
    assert "\n  > The fourth, REQUIRED.\n" in explain("config.md#root/path-required")[1]
    assert "\n  > REQUIRED three\n" in explain("config.md#root/required")[1]
    assert main(["explain", "--spec", str(specification), "config.md#root/required"]) == 0


def test_only_the_version_that_is_followed_is_quoted(explain, specification, monkeypatch):
    monkeypatch.setenv("PYRUNTIME_SPEC", str(specification))
    write_version(specification, SPEC_VERSION, "+dev")
    status, out, err = explain("config.md#root/path-required")
    assert (status, out) == (1, "")
    assert f"version {SPEC_VERSION}+dev" in err and f"checkout v{SPEC_VERSION}" in err


@pytest.mark.parametrize("missing", ["specs-go/version.go", "config.md"])
def test_a_directory_without_a_specification_is_an_error(explain, specification, monkeypatch, missing):
    monkeypatch.setenv("PYRUNTIME_SPEC", str(specification))
    (specification / missing).unlink()
    status, out, err = explain("config.md#root/path-required")
    assert (status, out) == (1, "")
    assert f"{specification} has no runtime-spec" in err


def test_a_specification_with_fewer_keywords_is_an_error(explain, specification, monkeypatch):
    monkeypatch.setenv("PYRUNTIME_SPEC", str(specification))
    (specification / "config.md").write_text("# Root\n\n* REQUIRED\n")
    assert "config.md#root has 1 keywords" in explain("config.md#root/path-required")[2]
