"""Whatever is to end a program ends it in good order."""

import os
import signal

import pytest

from deploy.signals import interruptible


@pytest.fixture(autouse=True)
def handlers():
    """As they were, whatever pytest was started by."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_ends_what_is_inside_and_means_afterwards_what_it_did_before(number):
    heard = []
    signal.signal(number, lambda *_: heard.append(number))
    with pytest.raises(KeyboardInterrupt), interruptible():
        os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)
    assert heard == [number]


def test_a_terminal_that_is_closed_is_heard_once_as_shell_and_kernel_both_tell_of_it():
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    log = []

    def drive() -> None:
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            log.append("closed")

    with pytest.raises(KeyboardInterrupt), interruptible():
        drive()
    assert log == ["closed"]


def test_under_nohup_a_closed_terminal_ends_nothing():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interruptible():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
