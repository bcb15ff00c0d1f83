"""Whoever floods is ignored for a while, and nobody else; frames of the past are not new again."""

from deploy.policy_server.admission import ALLOWANCE, CLIENTS, PENALTY_S, Admission

A, B = b"a", b"b"


def heard(admission: Admission, client: bytes, messages: int) -> list[str]:
    return [admission.hear(client) for _ in range(messages)]


def test_as_many_messages_as_a_stall_leaves_are_heard_and_one_more_is_a_flood():
    admission = Admission()
    admission.begin(1.0)
    assert heard(admission, A, ALLOWANCE) == ["admitted"] * ALLOWANCE
    assert heard(admission, B, 1) == ["admitted"]
    assert heard(admission, A, 2) == ["flooding", "ignored"]
    assert heard(admission, B, 1) == ["admitted"]


def test_a_client_that_waits_for_its_answers_is_never_ignored_however_fast_it_asks():
    admission = Admission()
    for turn in range(10 * ALLOWANCE):
        admission.begin(turn * 1e-6)
        assert heard(admission, A, 1) == ["admitted"]


def test_a_flooding_client_is_heard_again_after_its_penalty():
    admission = Admission()
    admission.begin(1.0)
    heard(admission, A, ALLOWANCE + 1)
    admission.begin(1.0 + PENALTY_S - 0.001)
    assert heard(admission, A, 1) == ["ignored"]
    admission.begin(1.0 + PENALTY_S + 0.001)
    assert heard(admission, A, 1) == ["admitted"]


def test_only_a_client_that_sends_on_while_it_is_ignored_presses():
    admission = Admission()
    admission.begin(1.0)
    heard(admission, A, ALLOWANCE + 1)
    assert not admission.pressed
    heard(admission, A, 1)
    assert admission.pressed
    admission.begin(1.01)
    assert not admission.pressed
    heard(admission, A, 1)
    heard(admission, B, ALLOWANCE)
    assert not admission.pressed


def test_a_frame_is_new_once_and_hello_begins_anew():
    admission = Admission()
    assert [admission.advance(A, seq) for seq in (0, 5, 5, 4, 0, 6)] == [True, True, False, False, False, True]
    assert admission.advance(B, 0)
    admission.greet(A)
    assert admission.advance(A, 0)
    assert not admission.advance(B, 0)


def test_who_was_silent_longest_is_forgotten_so_that_memory_does_not_grow():
    admission = Admission()
    admission.begin(1.0)
    for number in range(CLIENTS + 10):
        admission.hear(b"%d" % number)
        admission.hear(A)
    assert len(admission.clients) == CLIENTS
    assert A in admission.clients
    assert b"%d" % (CLIENTS + 9) in admission.clients
    admission.forget(A)
    assert A not in admission.clients
