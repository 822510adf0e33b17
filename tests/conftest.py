"""What every test needs."""

from __future__ import annotations

import signal

from hypothesis import settings

# A shell that starts the tests in the background has them ignore Ctrl-C, and nohup the end of the terminal; so would
# the programs that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long one example takes says more about the machine than about the factory.
settings.register_profile("here", deadline=None)
settings.load_profile("here")
