#!/bin/sh
# Makes a Debian package of what `make all` has built for the Python of this release; needs root, for dpkg-dev.
#   deb.sh SUFFIX    SUFFIX comes behind the version: deb12u1
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -q --no-install-recommends dpkg-dev >/dev/null

tree=$PWD/.cache/deb
version=$(sed -n 's/^version = //p' setup.cfg)-1~$1
python=$(/usr/bin/python3 -c 'import sys; print(*sys.version_info[:2], sep=".")')
next=3.$((${python#3.} + 1))
rm -rf "$tree"
mkdir -p "$tree/DEBIAN" dist

# The program finds the package, and what it needs, where Debian's packages are.
.venv/bin/pip install --quiet --no-deps --no-index --no-compile --ignore-installed --no-warn-script-location \
    --prefix "$tree/usr" .cache/wheel/*.whl
mkdir "$tree/usr/lib/python3"
mv "$tree/usr/lib/python$python/site-packages" "$tree/usr/lib/python3/dist-packages"
rmdir "$tree/usr/lib/python$python"
rm -rf "$tree"/usr/lib/python3/dist-packages/pyruntime-*.dist-info/RECORD
.venv/bin/python generate/share.py "$tree/usr/share"
mv "$tree/usr/share/zsh/site-functions" "$tree/usr/share/zsh/vendor-completions"
gzip -9n "$tree"/usr/share/man/man8/*
doc=$tree/usr/share/doc/pyruntime
mkdir -p "$doc"
cp README.md "$doc"

# The program is linked statically: a fault in one of these source packages may be a fault in it.
linked_in=$(dpkg-query -W -f '${source:Package} (= ${source:Version})\n' libc6-dev libexpat1-dev libffi-dev \
    "$(dpkg -S "$(gcc -print-libgcc-file-name)" | cut -d: -f1)" "libpython$python-dev" libseccomp-dev zlib1g-dev |
    sort -u | paste -s -d, | sed 's/,/, /g')
{
    cat LICENSE
    printf '\nThe program /usr/bin/pyruntime contains parts of these source packages of Debian, under their licenses:\n%s\n' \
        "$linked_in"
} >"$doc/copyright"

# Of the libraries dpkg knows which versions are needed.
mkdir -p .cache/shlibdeps/debian
touch .cache/shlibdeps/debian/control
libraries=$(cd .cache/shlibdeps && dpkg-shlibdeps -O "$tree/usr/bin/pyruntime" \
    $(find "$tree" -name '*.so' -printf '-e%p ') 2>/dev/null | sed 's/^shlibs:Depends=//')
cat >"$tree/DEBIAN/control" <<CONTROL
Package: pyruntime
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: The authors of pyruntime <pyruntime@localhost>
Section: admin
Priority: optional
Installed-Size: $(du -sk "$tree" | cut -f1)
Depends: $libraries, python3 (>= $python), python3 (<< $next), python3-cffi-backend, python3-jeepney,
 python3-jsonschema, python3-psutil, python3-pyroute2, procps
Suggests: criu
Static-Built-Using: $linked_in
Provides: oci-runtime
Description: OCI container runtime that compiles config.json into a plan
 A drop-in for runc, called by containerd, Docker, Podman and others.
 Its plan can be read, and an error names the step, the element of
 config.json and the clause of the runtime-spec.
CONTROL
cat >"$tree/DEBIAN/postinst" <<'SCRIPT'
#!/bin/sh
set -e
test "$1" != configure || py3compile -p pyruntime
SCRIPT
cat >"$tree/DEBIAN/prerm" <<'SCRIPT'
#!/bin/sh
set -e
py3clean -p pyruntime
SCRIPT
chmod 755 "$tree/DEBIAN/postinst" "$tree/DEBIAN/prerm"
(cd "$tree" && find usr -type f -printf '%p\0' | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
dpkg-deb --root-owner-group --build "$tree" dist
