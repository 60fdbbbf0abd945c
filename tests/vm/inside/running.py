"""What the tests in the machine share beside tests/support: its systemd, and its Python inside a container."""

import subprocess


def with_python(config):
    """Show the machine's /usr in the container, which then has Python; the bundle needs its own root filesystem."""
    options = ["bind", "ro"]
    for place in ("/usr", "/lib", "/lib64"):
        config["mounts"].append({"destination": place, "source": place, "options": options})
    config["root"]["readonly"] = False


def show(unit, *names, user=()):
    """Return the properties `names` of a systemd unit as `systemctl show` prints them."""
    words = ["systemctl", *user, "show", unit, *(f"--property={name}" for name in names)]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in text.splitlines())
