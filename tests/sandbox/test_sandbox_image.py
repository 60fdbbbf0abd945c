"""Images in an OCI layout: layers, whiteouts, and what a hostile layer cannot do."""

import fcntl
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile

import pytest

from pyruntime import Sandbox, SandboxError
from pyruntime.sandbox import image as images
from pyruntime.sandbox import layers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    monkeypatch.setattr(images, "_cache", lambda: cache)
    return cache


def layer(*entries):
    """Return a layer: (name, content) files, (name, None) directories, or TarInfo."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
                continue
            name, content = entry
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def layout(tmp_path):
    """layout(*layers): write an OCI layout, and return its image."""
    folder = tmp_path / "layout"

    def blob(data):
        value = hashlib.sha256(data).hexdigest()
        (folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (folder / "blobs/sha256" / value).write_bytes(data)
        return {"digest": f"sha256:{value}", "size": len(data)}

    def make(*layers, env=(), how=("+gzip", gzip.compress)):
        config = blob(json.dumps({"config": {"Env": list(env)}}).encode())
        entries = [
            {"mediaType": f"application/vnd.oci.image.layer.v1.tar{how[0]}", **blob(how[1](data))} for data in layers
        ]
        manifest = blob(json.dumps({"config": config, "layers": entries}).encode())
        name = {"org.opencontainers.image.ref.name": "tag"}
        index = {
            "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "annotations": name, **manifest}]
        }
        (folder / "index.json").write_text(json.dumps(index))
        return f"oci:{folder}:tag"

    return make


def test_layers_lie_over_each_other_and_whiteouts_hide(layout):
    first = layer(("a/one", b"1"), ("a/two", b"2"), ("b/x", b"x"), ("b/inner/y", b"y"), ("c", b"file"))
    second = layer(("a/.wh.two", b""), ("b/new", b"n"), ("b/.wh..wh..opq", b""), ("c", None), ("c/d", b"d"))
    root, _ = images.unpacked(layout(first, second))
    found = sorted(
        os.path.relpath(os.path.join(place, name), root) for place, _, names in os.walk(root) for name in names
    )
    assert found == ["a/one", "b/new", "c/d"]


def zstd(data):
    return subprocess.run(["zstd", "-q"], input=data, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize("how", [("", bytes), ("+gzip", gzip.compress), ("+zstd", zstd)], ids=["tar", "gzip", "zstd"])
def test_layers_of_each_compression(layout, how):
    files = [(f"file{number}", os.urandom(1 << 20)) for number in range(3)]
    root, _ = images.unpacked(layout(layer(*files), how=how))
    assert [open(f"{root}/{name}", "rb").read() for name, _ in files] == [data for _, data in files]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (("+zstd", bytes), "cannot unpack"),
        (("+zstd", lambda data: zstd(data)[:-100]), "cannot unpack"),
        (("+gzip", bytes), "gzip"),
        (("+encrypted", bytes), "type"),
        (("+zstd", lambda data: zstd(data) + b"more"), "zstd"),
    ],
)
def test_a_layer_that_is_not_what_its_type_says_is_refused(layout, own_cache, how, words):
    with pytest.raises(SandboxError, match=f"^image: .*{words}"):
        images.unpacked(layout(layer(("file", os.urandom(1 << 20))), how=how))
    assert os.listdir(own_cache) == []


def test_what_is_compressed_with_zstd_says_what_is_missing(layout, monkeypatch):
    monkeypatch.setattr(layers.shutil, "which", lambda _: None)
    with pytest.raises(SandboxError, match="install the program zstd"):
        images.unpacked(layout(layer(("file", b"")), how=("+zstd", bytes)))


def test_a_whiteout_hides_nothing_of_its_own_layer(layout):
    first = layer(("a/old", b"1"), ("b/old", b"2"), ("c/d/old", b"3"))
    # In either order.
    second = layer(("a/new", b""), (".wh.a", b""), ("b", None), ("b/x", b""), (".wh.b", b""), ("c/d/new", b""))
    third = layer(("c/d/newer", b""), ("c/.wh..wh..opq", b""), ("f", b""), (".wh.f", b""))
    root, _ = images.unpacked(layout(first, second, third))
    found = sorted(os.path.relpath(os.path.join(at, name), root) for at, _, names in os.walk(root) for name in names)
    assert found == ["a/new", "b/x", "c/d/newer", "f"]


def test_a_hard_link_leads_to_a_lower_layer_and_a_new_file_leaves_the_other_alone(layout):
    first = layer(("one", b"old"), ("gone", b"x"))
    device = tarfile.TarInfo("gone")
    device.type = tarfile.CHRTYPE
    root, _ = images.unpacked(layout(first, layer(link("two", "one", tarfile.LNKTYPE)), layer(("one", b"new"), device)))
    assert (open(f"{root}/one").read(), open(f"{root}/two").read()) == ("new", "old")
    assert not os.path.lexists(f"{root}/gone")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_as_large_as_memory_is_refused(layout, kind):
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, 1 << 30
    header = info.tobuf(tarfile.USTAR_FORMAT)
    # Refused by its size alone: what would follow is not there.
    with pytest.raises(SandboxError, match="a header of 1073741824 bytes"):
        images.unpacked(layout(header + bytes(1 << 16)))


def _header(name, kind, content):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


def _record(keyword, value):
    """Return a record of a pax header; its length counts itself."""
    rest = f" {keyword}={value}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def _negative():
    info = tarfile.TarInfo("negative")
    info.type, info.size = tarfile.XHDTYPE, -512
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "archive",
    [
        _header("deep", tarfile.GNUTYPE_LONGNAME, b"x\0") * 2000,
        _negative(),
        _header("nul", tarfile.XHDTYPE, _record("linkpath", "a\0b")) + layer(link("nul", "x")),
        _header("map", tarfile.XHDTYPE, _record("GNU.sparse.map", "a")) + layer(("map", b"x")),
        b"".join(_header("all", tarfile.XGLTYPE, _record(f"word{number}", "x")) for number in range(1001))
        + layer(("file", b"x")),
    ],
    ids=["deep", "negative", "nul", "map", "global"],
)
def test_an_archive_made_by_hand_is_refused(layout, own_cache, archive):
    with pytest.raises(SandboxError, match=r"^image: "):
        images.unpacked(layout(archive + bytes(1024)))
    assert os.listdir(own_cache) == []


def test_a_sparse_file_and_long_names_are_unpacked(layout):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("d/" + "n" * 200)
        info.size, info.pax_headers = 3 << 20, {"comment": "x" * 1000}
        archive.addfile(info, io.BytesIO(b"a" * info.size))
        info = tarfile.TarInfo("sparse")
        info.size, info.pax_headers = 2, {"GNU.sparse.size": "10", "GNU.sparse.map": "0,1,9,1"}
        archive.addfile(info, io.BytesIO(b"be"))
    root, _ = images.unpacked(layout(data.getvalue()))
    assert os.stat(f"{root}/d/{'n' * 200}").st_size == 3 << 20
    assert open(f"{root}/sparse", "rb").read() == b"b" + bytes(8) + b"e"


def test_an_image_is_unpacked_once_and_its_environment_holds(layout, no_leaks, rootfs, own_cache):
    files = [(f"bin/{name}", (rootfs / "bin/busybox").read_bytes()) for name in ("busybox",)]
    image = layout(layer(("bin", None), *files, link("bin/sh", "busybox")), env=["PATH=/bin", "OWN=of the image"])
    for _ in range(2):
        box = Sandbox(image=image, env={"MORE": "x"})
        result = box.run(["sh", "-c", "echo $OWN $MORE; /bin/busybox ls /"]).check()
        assert result.stdout.splitlines()[0] == b"of the image x"
    assert len(os.listdir(own_cache)) == 1


@pytest.mark.parametrize(
    "entries",
    [
        [("../escaped", b"x")],
        [("a/../../escaped", b"x")],
        [(".wh...", b"")],
        [link("hard", "../../etc/passwd", tarfile.LNKTYPE)],
        [("f", b""), ("f/below", b"x")],
    ],
)
def test_a_path_that_leads_out_is_refused(layout, tmp_path, own_cache, entries):
    with pytest.raises(SandboxError, match=r"^image: "):
        images.unpacked(layout(layer(*entries)))
    assert not (tmp_path / "escaped").exists() and not (tmp_path.parent / "escaped").exists()
    assert os.listdir(own_cache) == []


def test_a_link_leads_inside_of_the_image(layout, tmp_path):
    (tmp_path / "outside").mkdir()
    first = layer(link("out", str(tmp_path / "outside")), link("up", "../../.."), (str(tmp_path / "outside")[1:], None))
    second = layer(("out/file", b"x"), ("up/top", b"t"), ("/absolute", b"a"))
    root, _ = images.unpacked(layout(first, second))
    assert list((tmp_path / "outside").iterdir()) == []
    assert open(root + str(tmp_path / "outside/file")).read() == "x"
    assert open(root + "/top").read() == "t" and open(root + "/absolute").read() == "a"


def test_a_hard_link_through_a_link_stays_inside(layout):
    root, _ = images.unpacked(
        layout(layer(("etc/passwd", b"of the image"), link("e", "/etc"), link("hard", "e/passwd", tarfile.LNKTYPE)))
    )
    assert open(f"{root}/hard").read() == "of the image"


def test_set_user_id_and_devices_do_not_come_along(layout):
    setuid, device, fifo = tarfile.TarInfo("setuid"), tarfile.TarInfo("device"), tarfile.TarInfo("fifo")
    setuid.mode = 0o6755
    device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 3
    fifo.type = tarfile.FIFOTYPE
    root, _ = images.unpacked(layout(layer(setuid, device, fifo)))
    assert sorted(os.listdir(root)) == ["setuid"] and os.stat(f"{root}/setuid").st_mode & 0o7777 == 0o755


def test_what_a_killed_process_has_left_is_removed_unless_another_one_unpacks(layout, own_cache):
    left = own_cache / "unpacking-left"
    (left / "closed").mkdir(parents=True)
    (left / "closed/file").write_text("x")
    (left / "closed").chmod(0o500)
    other = os.open(own_cache, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_SH)
    images.unpacked(layout(layer(("one", b""))))
    assert left.is_dir()
    os.close(other)
    images.unpacked(layout(layer(("two", b""))))
    assert not left.exists() and len(os.listdir(own_cache)) == 2


def test_content_that_is_not_what_its_digest_says_is_refused(layout, tmp_path, own_cache):
    image = layout(layer(("file", b"x" * 1000)))
    for path in (tmp_path / "layout/blobs/sha256").iterdir():
        if path.read_bytes()[:2] == b"\x1f\x8b":
            path.write_bytes(gzip.compress(layer(("file", b"y" * 1000))))
    with pytest.raises(SandboxError, match="digest"):
        images.unpacked(image)
    assert os.listdir(own_cache) == []


def test_a_tag_that_is_not_there_is_a_wrong_argument(layout):
    image = layout(layer(("a", b"")))
    with pytest.raises(ValueError, match=r"^image: .*no tag"):
        images.unpacked(image.replace(":tag", ":other"))


@pytest.mark.skipif(not shutil.which("umoci"), reason="umoci is not installed")
def test_what_umoci_makes_is_read(no_leaks, tmp_path, rootfs):
    folder = tmp_path / "umoci"
    subprocess.run(["umoci", "init", "--layout", folder], check=True, capture_output=True)
    subprocess.run(["umoci", "new", "--image", f"{folder}:made"], check=True, capture_output=True)
    subprocess.run(
        ["umoci", "insert", "--image", f"{folder}:made", rootfs / "bin", "/bin"], check=True, capture_output=True
    )
    assert Sandbox(image=f"oci:{folder}:made").run(["/bin/sh", "-c", "echo here"]).stdout == b"here\n"


def deep_tree(step, count):
    """Return a layer with `step` * `count` directories one in the other, which only links can name."""
    entries, way = [], ""
    for number in range(count):
        name = way + "/".join(["d"] * step)
        entries += [(f"{name}/file", b""), link(f"link{number}", name)]
        way = f"link{number}/"
    return layer(*entries)


def sparse(entries):
    """Return an archive of one sparse file of GNU tar's old format, whose map has so many entries."""
    number = b"%011o\0" % 1
    head = bytearray(tarfile.TarInfo("file").tobuf())
    head[156:157], head[257:265], head[482], head[386:482] = b"S", b"ustar  \0", 1, number * 8
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + (number * 42 + b"\1" + bytes(7)) * (entries // 21)


def extended(count):
    """Return so many extended headers for one entry."""
    info = tarfile.TarInfo("file")
    info.pax_headers = {"comment": "x" * 1000}
    return info.tobuf(tarfile.PAX_FORMAT)[:-512] * count + info.tobuf()


def for_all(count):
    """Return an archive of so many files, each behind a header of 1 MB that holds for all that follow."""
    head = [tarfile.TarInfo.create_pax_global_header({f"key{number}": "x" * 1_000_000}) for number in range(count)]
    return b"".join(one + tarfile.TarInfo("file").tobuf() for one in head)


# What a layer does -> the layer, and the words of the error.
TOO_MUCH = {
    "a deep path": (lambda: layer(("d/" * 1500 + "file", b"")), "path of more than 200 names"),
    "a deep tree": (lambda: deep_tree(100, 30), "more than 200 directories"),
    "a large map of a sparse file": (lambda: sparse(300_000), "headers of more than 4194304 bytes for one entry"),
    "large headers for all": (lambda: for_all(10), "global headers of more than 4194304 bytes"),
    "headers of headers": (lambda: extended(5000), "cannot unpack|headers of more than"),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_a_layer_that_takes_too_much_is_refused_and_leaves_nothing(layout, own_cache, what):
    make, words = TOO_MUCH[what]
    with pytest.raises(SandboxError, match=words):
        images.unpacked(layout(make()))
    assert os.listdir(own_cache) == []
    assert images.unpacked(layout(layer(("file", b""))))


def test_what_follows_an_archive_is_read_up_to_a_limit(layout, own_cache, monkeypatch):
    monkeypatch.setattr(layers, "_MOST_TRAILING", 2)
    data = layer(("file", b"")) + bytes(8 << 20)
    with pytest.raises(SandboxError, match="goes on after the end"):
        images.unpacked(layout(data, how=("+zstd", zstd)))
    assert os.listdir(own_cache) == []


def test_paths_that_many_entries_name_are_counted(layout, own_cache, monkeypatch):
    monkeypatch.setattr(layers, "_MOST_FILES", 200)
    names = ["/".join([f"{number}", *["d"] * 100, "file"]) for number in range(3)]
    with pytest.raises(SandboxError, match="more than 200 files"):
        images.unpacked(layout(layer(*((name, b"") for name in names))))
    assert os.listdir(own_cache) == []


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"[]", b"{", b" " * (5 << 20)])
def test_an_index_that_is_none_is_an_error(layout, content):
    image = layout(layer(("file", b"")))
    with open(f"{image[4:-4]}/index.json", "wb") as file:
        file.write(content)
    with pytest.raises(SandboxError, match=r"index\.json (is not|has more)"):
        images.unpacked(image)


def test_a_layer_that_is_a_fifo_is_not_waited_for(layout):
    image = layout(layer(("file", b"")))
    with open(f"{image[4:-4]}/index.json") as file:
        digest = json.load(file)["manifests"][0]["digest"]
    blobs = f"{image[4:-4]}/blobs/sha256"
    with open(f"{blobs}/{digest[7:]}") as file:
        path = f"{blobs}/{json.load(file)['layers'][0]['digest'][7:]}"
    os.unlink(path)
    os.mkfifo(path)
    with pytest.raises(SandboxError, match="regular file"):
        images.unpacked(image)
