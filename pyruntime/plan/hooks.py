"""Hooks, each kind at its point of the lifecycle (config.md#posix-platform-hooks)."""

from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config, Hook

# Kind -> clause. The order is that of the lifecycle (runtime.md#lifecycle).
KINDS = {
    "prestart": "config.md#prestart",
    "createRuntime": "config.md#createruntime-hooks",
    "createContainer": "config.md#createcontainer-hooks",
    "startContainer": "config.md#startcontainer-hooks",
    "poststart": "config.md#poststart",
    "poststop": "config.md#poststop",
}

# These are executed in the container's namespaces, the others in the runtime's.
IN_CONTAINER = frozenset(["createContainer", "startContainer"])


def hooks(config: "Config", kind: str) -> "Iterator[Step]":
    """Yield a "hook" step for each hook of `kind`, in the listed order.

    A hook without `env` gets, as with runc, the environment of who runs it (None): the runtime's own, and that of the
    container's process in startContainer, which has HOME already. In createContainer it is that of the configuration.

    Upholds config.md#posix-platform-hooks/listed-order.
    """
    inherited = (config.get("process") or {}).get("env") or [] if kind == "createContainer" else None
    configured: dict[str, list[Hook]] = config.get("hooks") or {}  # type: ignore[assignment]  # `kind` is a variable
    for index, hook in enumerate(configured.get(kind) or ()):
        yield Step(
            "hook",
            f"/hooks/{kind}/{index}",
            KINDS[kind],
            kind=kind,
            path=hook["path"],
            argv=hook.get("args") or [hook["path"]],
            env=hook["env"] if hook.get("env") is not None else inherited,
            timeout=hook.get("timeout"),
        )
