"""Reading config.json: what is no regular file of a sane size and no JSON document is one clear error, at once."""

import errno
import gc
import json
import os
import sys
import time

import pytest

from pyruntime import spec
from pyruntime.base.errors import MOST_PROBLEMS, Error, InvalidConfig
from pyruntime.spec import load, schema_errors

MINIMAL = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}}


def bundle(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content.encode() if isinstance(content, str) else content)
    return str(tmp_path)


def refusal(path, **options):
    with pytest.raises(Error) as caught:
        spec.load_config(str(path), **options)
    assert not isinstance(caught.value, InvalidConfig)
    return caught.value


def test_a_missing_file_is_named_with_its_errno(tmp_path):
    error = refusal(tmp_path)
    assert (error.errno, error.clause) == (errno.ENOENT, "bundle.md#container-format")
    assert f"{tmp_path}/config.json" in str(error)


def test_a_missing_bundle_is_named(tmp_path):
    assert f"{tmp_path}/nowhere/config.json" in str(refusal(tmp_path / "nowhere"))


def test_a_bundle_path_with_nul_is_an_error():
    error = refusal("/tmp/\0")
    assert "cannot read" in str(error) and "null" in str(error)
    assert error.clause == "bundle.md#container-format"


def test_a_file_that_cannot_be_read_is_named_with_its_errno(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.EIO, "not readable")

    monkeypatch.setattr(load.os, "read", fail)
    error = refusal(bundle(tmp_path, json.dumps(MINIMAL)))
    assert (error.errno, error.clause) == (errno.EIO, "bundle.md#container-format")
    assert f"cannot read {tmp_path}/config.json" in str(error)


def test_a_directory_is_refused(tmp_path):
    (tmp_path / "config.json").mkdir()
    assert "it is a directory" in str(refusal(tmp_path))


def test_a_fifo_without_writer_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    assert "it is a FIFO" in str(refusal(tmp_path))


def test_a_device_is_refused(tmp_path):
    (tmp_path / "config.json").symlink_to("/dev/zero")
    assert "it is a character device" in str(refusal(tmp_path))


def test_a_file_above_the_limit_is_refused_without_reading_it(tmp_path):
    with open(tmp_path / "config.json", "wb") as file:
        file.truncate(100 * 1024 * 1024)
    before = time.process_time()
    assert "larger than 16 MiB" in str(refusal(tmp_path))
    assert time.process_time() - before < 1


def test_a_file_that_does_not_tell_its_size_is_read_whole():
    assert os.stat("/proc/self/mountinfo").st_size == 0
    assert load.read("/proc/self/mountinfo").endswith(b"\n")
    assert b"\n" in load.read("/proc/self/mountinfo")[:-1]


def test_a_symlink_is_followed(tmp_path):
    (tmp_path / "other.json").write_text(json.dumps(MINIMAL))
    (tmp_path / "config.json").symlink_to("other.json")
    assert spec.load_config(str(tmp_path)) == MINIMAL


def test_with_a_descriptor_the_path_only_names_the_bundle(tmp_path):
    bundle(tmp_path, json.dumps(MINIMAL))
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        assert spec.load_config("/named", fd=fd) == MINIMAL
        (tmp_path / "config.json").write_text("{")
        assert "/named/config.json" in str(refusal("/named", fd=fd))
    finally:
        os.close(fd)


def test_no_descriptor_is_left_open(tmp_path):
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    spec.load_config(bundle(tmp_path, json.dumps(MINIMAL)))
    refusal(tmp_path / "nowhere")
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").mkdir()
    refusal(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("space", [" ", "\n", "\t\r\n"])
def test_white_space_around_the_document_is_allowed(tmp_path, space):
    assert spec.load_config(bundle(tmp_path, space + json.dumps(MINIMAL) + space)) == MINIMAL


@pytest.mark.parametrize("space", ["\v", "\u00a0", "\f"])
def test_other_white_space_is_not(tmp_path, space):
    refusal(bundle(tmp_path, json.dumps(MINIMAL) + space))
    refusal(bundle(tmp_path, space + json.dumps(MINIMAL)))


def test_a_bomb_of_nesting_is_refused_in_little_time(tmp_path):
    before = time.process_time()
    error = refusal(bundle(tmp_path, '{"a":' * 2_000_000))
    assert "line 1, column 1281: nested deeper than 256 levels" in str(error)
    assert time.process_time() - before < 20


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}"), ('[0, {"b": ', "}, 0]")])
def test_nesting_has_one_limit_on_every_interpreter(opened, closed):
    levels = opened.count("[") + opened.count("{")
    load.parse((opened * (256 // levels) + "0" + closed * (256 // levels)).encode(), "it")
    for inner in ("[]", "{}"):
        text = opened * (256 // levels) + inner + closed * (256 // levels)
        column = len(opened) * 256 // levels + 1
        with pytest.raises(Error, match=f"line 1, column {column}: nested deeper than 256 levels"):
            load.parse(text.encode(), "it")


def test_brackets_beside_each_other_and_in_strings_are_no_nesting():
    load.parse(b"[" + b"[{}]," * 2000 + b'"' + b"[{" * 2000 + b'"]', "it")
    with pytest.raises(Error, match="column 4: invalid control character"):
        load.parse(b'["a\x01' + b"[" * 2000 + b'"]', "it")


@pytest.mark.parametrize("text", ["{}, [", '[{"a": 1, "a": 2}, ', "[NaN, "])
def test_too_many_levels_are_named_where_another_error_is_found_too(text):
    """As far as an interpreter reads, which is not the same everywhere."""
    for levels in (600, 50_000):
        with pytest.raises(Error, match="nested deeper than 256 levels"):
            load.parse((text + "[" * levels + "]" * levels).encode(), "it")


def test_an_error_before_too_many_levels_is_named():
    for levels in (600, 50_000):
        with pytest.raises(Error, match="column 6: expected a colon"):
            load.parse(b'{"a" 1, "b": ' + b"[" * levels, "it")


def test_ten_thousand_mounts_are_loaded(tmp_path):
    mount = {"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "size=1m"]}
    config = {**MINIMAL, "mounts": [mount] * 10_000}
    assert len(spec.load_config(bundle(tmp_path, json.dumps(config)))["mounts"]) == 10_000


def test_a_seccomp_profile_of_five_megabytes_with_one_error_is_explained_in_little_time(tmp_path):
    call = {"names": ["read", "write"] * 20, "action": "SCMP_ACT_ALLOW"}
    calls = [call] * 10_000 + [{**call, "action": "ALLOW"}]
    config = {**MINIMAL, "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": calls}}}
    before = time.process_time()
    with pytest.raises(InvalidConfig) as caught:
        spec.load_config(bundle(tmp_path, json.dumps(config)))
    assert [problem.pointer for problem in caught.value.problems] == ["/linux/seccomp/syscalls/10000/action"]
    assert time.process_time() - before < 20


def test_of_very_many_errors_the_first_are_found_and_no_more_are_looked_for(monkeypatch):
    looked_at = []
    explained = schema_errors._explain
    monkeypatch.setattr(schema_errors, "_explain", lambda error, *more: looked_at.append(1) or explained(error, *more))
    for count in (MOST_PROBLEMS - 1, MOST_PROBLEMS, MOST_PROBLEMS + 1, 140_000):
        looked_at.clear()
        with pytest.raises(InvalidConfig) as caught:
            spec.check_process({"args": ["sh"], "cwd": "/", "env": [1] * count})
        found = min(count, MOST_PROBLEMS)
        assert [problem.pointer for problem in caught.value.problems] == [f"/env/{index}" for index in range(found)]
        few, many = f"{found} errors", f"more than {found} errors, of which these are the first {found}"
        assert caught.value.reason == (many if count > MOST_PROBLEMS else few)
        assert len(looked_at) <= MOST_PROBLEMS + 1


def test_of_very_many_findings_of_rules_the_first_are_listed():
    mappings = [{"containerID": 0, "hostID": 0, "size": 1}] * 5000
    config = {**MINIMAL, "linux": {"namespaces": [{"type": "user"}], "uidMappings": mappings, "gidMappings": mappings}}
    with pytest.raises(InvalidConfig, match=f"more than {MOST_PROBLEMS} errors") as caught:
        spec.check_config(config)
    assert len(caught.value.problems) == MOST_PROBLEMS


@pytest.mark.parametrize(
    ("text", "column"),
    [('{"a": 1,}', 8), ('{"a": 1 , }', 9), ("[1,]", 3), ("[[1, 2 ,\n ]]", 8), ('{"a": {"b": [],}}', 15), ("[1,}", 3)],
)
def test_a_comma_before_the_end_is_named_where_it_stands(text, column):
    with pytest.raises(Error, match=f"line 1, column {column}: a comma that nothing follows"):
        load.parse(text.encode(), "x")


@pytest.mark.parametrize("text", ["[,]", "{,}", "[1,,]", '{"a",}', "{", "[1,", '{"a":,}', ",}"])
def test_other_commas_are_not(text):
    with pytest.raises(Error) as caught:
        load.parse(text.encode(), "x")
    assert "nothing follows" not in str(caught.value)


def test_a_surrogate_pair_is_one_character(tmp_path):
    config = json.dumps({**MINIMAL, "annotations": {"com.example.face": "\U0001f600"}})
    assert "\\ud83d\\ude00" in config
    loaded = spec.load_config(bundle(tmp_path, config))
    assert loaded["annotations"]["com.example.face"] == "\U0001f600"


@pytest.mark.parametrize("half", ["\\ud800", "\\uD800", "\\uDfff"])
def test_half_of_a_surrogate_pair_is_refused_however_it_is_written(tmp_path, half):
    config = '{"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "annotations": {"a": "' + half + '"}}'
    assert "surrogate" in str(refusal(bundle(tmp_path, config)))


@pytest.mark.parametrize("version", ["1..0", "1.3.", ".3.0"])
def test_a_version_has_three_numbers(tmp_path, version):
    with pytest.raises(InvalidConfig) as caught:
        spec.load_config(bundle(tmp_path, json.dumps({**MINIMAL, "ociVersion": version})))
    assert [problem.pointer for problem in caught.value.problems] == ["/ociVersion"]


def test_a_key_of_unified_is_no_path(tmp_path):
    config = {**MINIMAL, "linux": {"resources": {"unified": {"memory/x.max": "1"}}}}
    with pytest.raises(InvalidConfig) as caught:
        spec.load_config(bundle(tmp_path, json.dumps(config)))
    assert [problem.pointer for problem in caught.value.problems] == ["/linux/resources/unified/memory~1x.max"]


@pytest.mark.parametrize("file", ["procs", "threads", "freeze", "kill", "type", "subtree_control"])
def test_a_key_of_unified_is_a_parameter(tmp_path, file):
    unified = {f"cgroup.{file}": "1", "cgroup.max.depth": "1", "cgroup.pressure": "1", "memory.high": "max"}
    with pytest.raises(InvalidConfig) as caught:
        spec.load_config(bundle(tmp_path, json.dumps({**MINIMAL, "linux": {"resources": {"unified": unified}}})))
    assert [problem.pointer for problem in caught.value.problems] == [f"/linux/resources/unified/cgroup.{file}"]


def test_an_escaped_backslash_before_what_looks_like_a_surrogate_is_text(tmp_path):
    config = '{"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "annotations": {"a": "\\\\ud800"}}'
    assert spec.load_config(bundle(tmp_path, config))["annotations"]["a"] == "\\ud800"


def test_a_duplicate_name_in_an_unknown_property_is_refused_too(tmp_path):
    error = refusal(bundle(tmp_path, '{"x": {"y": [1, {"z": 1, "z": 1}]}}'))
    assert error.pointer == "/x/y/1/z"
    assert "line 1, column 26" in error.reason


def test_a_huge_number_in_an_unknown_property_is_ignored(tmp_path):
    config = '{"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "x": [1e999, ' + "9" * 300 + "]}"
    assert spec.load_config(bundle(tmp_path, config))["root"] == {"path": "rootfs"}


def test_all_findings_are_in_one_error_with_what_was_found_and_what_expected(tmp_path):
    config = {"ociVersion": "1.3.0", "root": {"path": 5}, "process": {"cwd": "tmp", "args": ["sh"]}}
    with pytest.raises(InvalidConfig) as caught:
        spec.load_config(bundle(tmp_path, json.dumps(config)))
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/config.json is not valid: 2 errors",
        "  root.path is 5: expected a string without NUL, not empty (/root/path, config.md#root)",
        '  process.cwd is "tmp": expected an absolute path (/process/cwd, config.md#process)',
    ]


def test_a_long_or_deep_value_is_shortened_in_the_error(tmp_path):
    deep = []
    for _ in range(250):
        deep = [deep]
    config = {**MINIMAL, "hostname": deep, "domainname": {"x": "y" * 10_000}}
    with pytest.raises(InvalidConfig) as caught:
        spec.load_config(bundle(tmp_path, json.dumps(config)))
    assert len(str(caught.value)) < 500
    assert all(len(repr(problem.value)) < 1000 for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a FIFO"),
        (lambda path: path.mkdir(), "a directory"),
        (lambda path: path.symlink_to("/dev/null"), "a character device"),
    ],
)
def test_what_is_no_regular_file_is_told_by_its_kind(tmp_path, make, kind):
    make(tmp_path / "config.json")
    error = refusal(tmp_path)
    name = f"{tmp_path}/config.json"
    assert str(error) == f"cannot read {name}: it is {kind}, not a regular file (bundle.md#container-format)"


def test_a_file_of_just_the_limit_is_read_and_one_byte_more_is_too_much(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b" " * load.LIMIT)
    assert len(load.read(str(path))) == load.LIMIT
    with path.open("ab") as file:
        file.write(b" ")
    with pytest.raises(Error) as caught:
        load.read(str(path), name="it")
    assert str(caught.value) == "cannot read it: it is larger than 16 MiB (bundle.md#container-format)"


def test_an_integer_of_400_digits_is_the_longest():
    assert load.parse(b"9" * 400, "") == int("9" * 400)
    assert load.parse(b"-" + b"9" * 399, "") == -int("9" * 399)
    with pytest.raises(Error, match="an integer of 401 digits"):
        load.parse(b"9" * 401, "")


def test_a_syntax_error_is_told_as_well_where_nobody_has_loaded_the_decoder_of_the_library(monkeypatch):
    told = []
    for loaded in (True, False):
        if not loaded:
            for name in ("json", "json.decoder", "pyruntime.spec.json_syntax"):
                monkeypatch.delitem(sys.modules, name)
            monkeypatch.delattr(spec, "json_syntax")
        with pytest.raises(Error) as caught:
            load.parse(b' \n{"a" 1}', "it")
        told.append(str(caught.value))
    said = "it is not JSON: line 2, column 6: expected a colon after the name, found 1 (glossary.md#json)"
    assert told == [said] * 2


def test_a_descriptor_is_not_inherited_and_no_terminal_is_taken(tmp_path, monkeypatch):
    seen = []
    opened = os.open
    monkeypatch.setattr(load.os, "open", lambda path, flags, **more: seen.append(flags) or opened(path, flags, **more))
    (tmp_path / "x").write_bytes(b"{}")
    load.read(str(tmp_path / "x"))
    assert seen == [os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY]


def test_what_is_shown_of_a_value_has_a_bound_to_the_character():
    at_most = schema_errors._LONGEST_STRING
    assert schema_errors.shown("é" * at_most) == '"' + "é" * at_most + '"'
    assert schema_errors.shown("é" * (at_most + 1)) == '"' + "é" * (at_most - 1) + '…"'
    longest = schema_errors._LONGEST_VALUE
    assert schema_errors.shown(10 ** (longest - 1)) == "1" + "0" * (longest - 1)
    assert schema_errors.shown(10**longest) == "1" + "0" * (longest - 2) + "…"
    assert schema_errors._shortened("x" * longest) == "x" * longest
    assert schema_errors._shortened("x" * (longest + 1)) == "x" * (longest - 1) + "…"
    lists, objects = 1, 1
    for _ in range(schema_errors._DEEPEST_VALUE):
        assert schema_errors._shortened(lists) == lists and schema_errors._shortened(objects) == objects
        lists, objects = [lists], {"a": objects}
    lists, objects = [lists], {"a": objects}
    assert json.dumps(schema_errors._shortened(lists)).count("[") == schema_errors._DEEPEST_VALUE
    assert (
        json.dumps(schema_errors._shortened(objects), ensure_ascii=False).count('{"a"') == schema_errors._DEEPEST_VALUE
    )
    assert "…" in json.dumps(schema_errors._shortened(lists), ensure_ascii=False)
    place = "/" + "a" * (longest - 1)
    assert schema_errors._dotted(place) == "a" * (longest - 1)
    assert schema_errors._dotted("/" + "a" * longest) == "a" * longest
    assert schema_errors._dotted("/b" + "a" * longest) == "…" + "a" * (longest - 1)
