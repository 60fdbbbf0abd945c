"""A stack of actions that undo, in reverse order, what a failed operation has made."""

from pyruntime.base import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Undo:
    """A stack of actions for the case of failure. Use as a context; `keep` what was done when all went well."""

    __slots__ = ("_actions",)

    def __init__(self) -> None:
        self._actions: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def push(self, action: "Callable[..., object]", *args: object) -> None:
        """Have `action(*args)` done if the operation fails."""
        self._actions.append((action, args))

    def keep(self) -> None:
        """The operation succeeded: forget the actions."""
        self._actions.clear()

    def __enter__(self) -> "Undo":
        return self

    def __exit__(self, kind: "type[BaseException] | None", *_: object) -> None:
        # Upholds runtime.md#lifecycle/environment-error, runtime.md#errors/no-trace.
        while self._actions:
            action, args = self._actions.pop()
            if kind is None:
                continue
            try:
                action(*args)
                if log.events is not None:
                    log.events.done(f"undo: {getattr(action, '__qualname__', action)}")
            except Exception as error:  # the first failure is the one to report; this one must not hide it
                log.warning(f"while undoing: {error}")
