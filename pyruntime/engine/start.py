"""The start operation (runtime.md#start): the program of a created container is executed."""

import os

from pyruntime.engine import messages
from pyruntime.errors import Error
from pyruntime.store import container as containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.spec.types import StateFile
    from pyruntime.store.container import Container

_CLAUSE = "runtime.md#start"


def start(root: str, container_id: str) -> None:
    """Let the process of the created container execute its program, then run the poststart hooks.

    Raises Error when the container is not `created`, has no process, or the program cannot be executed.
    """
    with containers.open_container(root, container_id) as container:
        container.hold()
        state = container.read()
        connection = -1
        if state is not None and container.status(state) == "created":
            if not state["process"]:
                raise Error(
                    f"cannot start container {container_id!r}", "it has no process", pointer="/process", clause=_CLAUSE
                )
            connection = container.connect()
        if connection < 0 or state is None:
            status = container.status(state)
            raise Error(f"cannot start container {container_id!r}", f"it is {status}, not created", clause=_CLAUSE)
        _let_go(container_id, connection)
        _poststart(container, state)


def _let_go(container_id: str, connection: int) -> None:
    """Give init the word and read its end of the connection: closed by exec, or the reason why there is none."""
    try:
        messages.send(connection, messages.GO)
        heard = b""
        while chunk := messages.read(connection):
            heard += chunk
    finally:
        os.close(connection)
    if heard == messages.EXECUTES:
        return
    failure = heard.removeprefix(messages.EXECUTES)
    if failure[:1] == messages.FAILED:
        raise messages.decode_error(failure)
    raise Error(f"cannot start container {container_id!r}", "its process was killed", clause=_CLAUSE)


def _poststart(container: "Container", state: "StateFile") -> None:
    if not state["hooks"].get("poststart"):
        return
    from pyruntime.engine import hooks
    from pyruntime.engine.state import spec_state
    from pyruntime.plan import hooks as hook_plan

    steps = list(hook_plan.hooks({"hooks": state["hooks"]}, "poststart"))
    try:
        hooks.run(steps, spec_state(state, "running"))
    except Error:
        # runtime.md#lifecycle, step 9: stop the container, continue at step 12.
        from pyruntime.engine.delete import destroy

        destroy(container, state)
        raise
