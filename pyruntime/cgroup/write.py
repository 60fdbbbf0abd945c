"""Carries out a plan's steps: one write for each limit; errors name the property, the file and the value."""

import errno

import pyruntime
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.cgroup.files import UNIFIED, in_user_namespace, read_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.step import Step


def carry_out(steps: "list[Step]", paths: dict[str, str], made: list[str]) -> None:
    """Carry out the steps of a CgroupPlan, described there, on the groups `paths` (controller -> directory).

    made  directories made for this container: for a step with `levels`, parents among them are written too
    Raises Error.
    """
    refused: list[tuple[Step, OSError]] = []  # refused for now: each is written again after the file for which it waits
    # Device rules are many writes to one file, which is opened once.
    held_path, held = "", -1
    try:
        for step in steps:
            action = _ACTIONS.get(step.op)
            if action is not None:
                action(step, paths)
                if log.events is not None:
                    log.events.done(step)
                continue
            args = step.args
            directory = _directory(args["controller"], paths)
            path = f"{directory}/{args['file']}"
            try:
                if "levels" in args:
                    for parent in made:
                        if directory.startswith(parent + "/"):
                            write_file(f"{parent}/{args['file']}", args["value"])
                if path != held_path:
                    if held >= 0:
                        os.close(held)
                        held_path, held = "", -1
                    held = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
                    held_path = path
                os.write(held, args["value"].encode())
                if "kept" in args:
                    _check_kept(step, path)
                if log.events is not None:
                    log.events.done(step)
            except OSError as error:
                if "again_after" in args and error.errno in (errno.EINVAL, errno.EBUSY):
                    refused.append((step, error))
                elif not _otherwise(step, directory, error):
                    raise _refused(step, path, error) from error
            if refused:
                refused = [pair for pair in refused if not _try_again(pair[0], args["file"], paths)]
        for step, reason in refused:  # the file for which they wait was never written
            raise _refused(step, f"{_directory(step.args['controller'], paths)}/{step.args['file']}", reason)
    finally:
        if held >= 0:
            os.close(held)


def check(steps: "list[Step]", paths: dict[str, str]) -> None:
    """Carry out only the steps that check whether a limit may be set now. Raises Error if not."""
    for step in steps:
        if step.op == "check_memory_usage":
            _check_memory_usage(step, paths)


def _directory(controller: str, paths: dict[str, str]) -> str:
    """Return the group with a controller's files: in its own hierarchy, or else in the unified one."""
    return paths.get(controller) or paths[UNIFIED]


def _try_again(step: "Step", written: str, paths: dict[str, str]) -> bool:
    """Write a step that waited for the file just written; return False if it waits for another file."""
    if step.args["again_after"] != written:
        return False
    path = f"{_directory(step.args['controller'], paths)}/{step.args['file']}"
    try:
        write_file(path, step.args["value"])
        if log.events is not None:
            log.events.done(step)
    except OSError as error:
        raise _refused(step, path, error) from error
    return True


def _otherwise(step: "Step", directory: str, error: OSError) -> bool:
    """Try the other files of a refused step; return whether one was written, or the step may be left out."""
    args = step.args
    if error.errno == errno.ENOENT:
        for file, value in args.get("instead", ()):
            path = f"{directory}/{file}"
            try:
                write_file(path, value)
            except FileNotFoundError:
                continue
            except OSError as other:
                raise _refused(step, path, other) from other
            return True
        # A removed directory does not mean that the kernel lacks the file.
        return bool(args.get("optional")) and os.access(directory, os.F_OK)
    # In a user namespace device rules cannot be changed; those of the parent group apply. runc and crun continue too.
    return args["controller"] == "devices" and error.errno == errno.EPERM and in_user_namespace()


def _refused(step: "Step", path: str, error: OSError) -> Error:
    value, advice = step.args["value"], ""
    if error.errno == errno.ENOENT and "needs" in step.args:
        advice = f"the kernel needs {step.args['needs']}"
    elif error.errno == errno.EBUSY and step.args["file"].startswith("memory."):
        advice = "more memory is in use already"
    elif step.args["file"] in ("cpuset.cpus", "cpuset.mems"):
        advice = _online(step.args["file"])
    return Error(
        f"cannot write {value!r} to {path}",
        pointer=step.pointer,
        clause=step.clause,
        step=step,
        errno=error.errno or 0,
        advice=advice,
    )


def _online(file: str) -> str:
    """Return advice for a set of CPUs or of memory nodes that the kernel refuses; `file` is where it was written."""
    what, path = {
        "cpuset.cpus": ("CPUs", "/sys/devices/system/cpu/online"),
        "cpuset.mems": ("memory nodes", "/sys/devices/system/node/online"),
    }[file]
    try:
        return f"the {what} of this host are {read_file(path).strip()}; a cgroup above may allow fewer"
    except OSError:
        return ""


def _check_kept(step: "Step", path: str) -> None:
    """Refuse a limit that the kernel has accepted but not applied: its file shows a higher one.

    Upholds runtime.md#lifecycle/environment-error.
    """
    found = read_file(path).strip()
    if int(found) > int(step.args["value"]):
        raise Error(
            f"cannot write {step.args['value']!r} to {path}",
            f"the kernel takes it and has no such limit any more: it shows {found}",
            pointer=step.pointer,
            clause=step.clause,
            step=step,
        )


def _check_memory_usage(step: "Step", paths: dict[str, str]) -> None:
    """Refuse a limit below what is in use, as the kernel itself does on v1 (memory.checkBeforeUpdate).

    Upholds config-linux.md#memory/check-before-update.
    """
    path = _directory("memory", paths) + "/memory.current"
    try:
        used = int(read_file(path))
    except FileNotFoundError:
        return
    if used >= step.args["limit"]:
        raise Error(
            "cannot set memory",
            f"{used} bytes are in use, the limit would be {step.args['limit']}",
            pointer=step.pointer,
            clause=step.clause,
            step=step,
            errno=errno.EBUSY,
        )


def _attach_device_filter(step: "Step", paths: dict[str, str]) -> None:
    directory = os.open(paths[UNIFIED], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        pyruntime.cgroup.devices_bpf.attach(directory, step.args["rules"])
    except OSError as error:
        if error.errno != errno.EPERM or not in_user_namespace():
            raise Error(
                "cannot attach the device filter",
                f"{error.filename} on {paths[UNIFIED]}",
                pointer=step.pointer,
                clause=step.clause,
                step=step.op,
                errno=error.errno or 0,
                advice="too many rules for one program" if error.errno == errno.E2BIG else "",
            ) from error
    except Error as error:
        error.pointer, error.clause, error.step = step.pointer, step.clause, step.op
        raise
    finally:
        os.close(directory)


def _chown_cgroup(step: "Step", paths: dict[str, str]) -> None:
    try:
        pyruntime.cgroup.v2.give_to(paths[UNIFIED], step.args["uid"])
    except OSError as error:
        raise Error(
            f"cannot give {paths[UNIFIED]} to user {step.args['uid']}",
            pointer=step.pointer,
            clause=step.clause,
            step=step,
            errno=error.errno or 0,
        ) from error


_ACTIONS = {
    "check_memory_usage": _check_memory_usage,
    "attach_device_filter": _attach_device_filter,
    "chown_cgroup": _chown_cgroup,
}
