"""System calls of the verbs that only look at a container or signal it.

The launcher has them built in; loading the stub and cffi for them takes a quarter of a whole `state`.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime._stub import lib

    connect, pidfd_open, pidfd_send_signal = lib.pyr_connect, lib.pyr_pidfd_open, lib.pyr_pidfd_send_signal
else:
    try:
        from _launcher import connect, pidfd_open, pidfd_send_signal
    except ImportError:
        from pyruntime._stub import lib

        connect, pidfd_open, pidfd_send_signal = lib.pyr_connect, lib.pyr_pidfd_open, lib.pyr_pidfd_send_signal

__all__ = ["connect", "pidfd_open", "pidfd_send_signal"]
