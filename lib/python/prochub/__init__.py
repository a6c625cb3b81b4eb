"""A worker's side of prochub: supervision, state handover, roles, lookups.

Subclass Worker, override what you need, and either call run() or put fileno(), timeout() and
dispatch() into a loop of your own (loop.add_reader(worker.fileno(), worker.dispatch), with
dispatch() called again after timeout() seconds). No dependencies, no threads, nothing blocks but
run(). The protocol is that of PROTOCOL.md, version 1.

Control is for other programs: children at run time, by the control socket.
"""

from .control import Control, ControlError
from .handover import Reject
from .worker import NotSupervised, Worker

__all__ = ["Control", "ControlError", "NotSupervised", "Reject", "Worker"]
