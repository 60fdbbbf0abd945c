"""Changes the limits of existing groups: all of them, or none."""

import pyruntime
from pyruntime.base.errors import Error
from pyruntime.cgroup.cgroup import Cgroup
from pyruntime.cgroup.files import read_file, write_file
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Files with a line for each device -> the value of a device without a line. Other files have one value.
_PER_DEVICE = {
    "blkio.throttle.read_bps_device": "0",
    "blkio.throttle.write_bps_device": "0",
    "blkio.throttle.read_iops_device": "0",
    "blkio.throttle.write_iops_device": "0",
    "blkio.bfq.weight_device": "default",
    "blkio.weight_device": "default",
    "blkio.leaf_weight_device": "default",
    "io.weight": "default",
    "io.bfq.weight": "default",
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "rdma.max": "hca_handle=max hca_object=max",
    "net_prio.ifpriomap": "0",
}


class Former:
    """The content of a plan's files before the plan is carried out."""

    def __init__(self, cgroup: Cgroup) -> None:
        self._cgroup = cgroup
        self._values: list[tuple[Step, str, str, str]] = []  # step, file, new value, former content
        assert cgroup.plan is not None
        for step in cgroup.plan.steps:
            if step.op == "write_cgroup":
                for file, value in ((step.args["file"], step.args["value"]), *step.args.get("instead", ())):
                    former = self._read(step, file, value)
                    if former is not None:
                        self._values.append((step, file, value, former))

    def _path(self, step: Step, file: str) -> str:
        paths: dict[str, Any] = self._cgroup.paths
        return f"{paths.get(step.args['controller']) or self._cgroup.unified}/{file}"

    def _read(self, step: Step, file: str, value: str) -> str | None:
        try:
            return former_value(file, read_file(self._path(step, file)), value)
        except OSError:
            return None  # missing or write-only: carrying out the step will report it

    def restore(self) -> list[str]:
        """Write back the changed values; return a line for each file for which this failed."""
        pending = [entry for entry in reversed(self._values) if self._read(*entry[:3]) != entry[3]]
        while pending:
            # The order can matter: the memory limit must not exceed that of memory and swap.
            refused = [entry for entry in pending if not self._write(*entry)]
            if len(refused) == len(pending):
                break
            pending = refused
        left = [f"{self._path(step, file)} holds {self._read(step, file, value)}" for step, file, value, _ in pending]
        try:
            self._tell_systemd()
        except Error as error:
            left.append(f"systemd holds the new limits: {error}")
        return left

    def _write(self, step: Step, file: str, value: str, former: str) -> bool:
        try:
            write_file(self._path(step, file), former)
        except OSError:
            return False
        return True

    def _tell_systemd(self) -> None:
        plan = self._cgroup.plan
        if self._cgroup.unit is None or plan is None:
            return
        plan.steps = [
            Step(step.op, step.pointer, step.clause, controller=step.args["controller"], file=file, value=former)
            for step, file, _, former in self._values
        ]
        pyruntime.cgroup.systemd.tell(self._cgroup)


def former_value(file: str, text: str, value: str) -> str:
    """Return what has to be written to `file`, which holds `text`, to undo the writing of `value`."""
    device, space, _ = value.partition(" ")
    if file in _PER_DEVICE and space and device != "default":
        lines = [line for line in text.splitlines() if line.partition(" ")[0] == device]
        return lines[0] if lines else f"{device} {_PER_DEVICE[file]}"
    if file == "memory.oom_control":
        return text.split()[1]  # "oom_kill_disable 0", and more lines that cannot be written
    # In files of weights the first line is for all devices without a line of their own.
    return text.partition("\n")[0].strip() if text.strip() else "\n"


def change(cgroup: Cgroup) -> Former:
    """Carry out the plan of `cgroup` as a whole; return the former values.

    Raises Error if the kernel refuses a part: then all values are as before, or the error says which are not.
    """
    former = Former(cgroup)
    try:
        cgroup.apply()
    except Error as error:
        undo(former, error)
        raise
    return former


def undo(former: Former, error: Error) -> None:
    """Undo the changes because of `error`; add to it what could not be undone."""
    left = former.restore()
    told = "the limits are as they were before" if not left else f"not taken back: {'; '.join(left)}"
    error.advice = f"{error.advice}; {told}" if error.advice else told
