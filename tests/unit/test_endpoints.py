"""Which of several controllers an agent dials."""

from keyweave.agent.endpoints import Endpoints

A, B, C = "one:1", "two:2", "three:3"


def test_each_has_its_turn_and_a_round_counts_once() -> None:
    endpoints = Endpoints([A, B, C])
    seen = [(endpoints.current, endpoints.failed(lasted=False)) for _ in range(6)]
    assert seen == [(A, 1), (B, 1), (C, 1), (A, 2), (B, 2), (C, 2)]
    assert endpoints.failed(lasted=True) == 0


def test_who_is_said_to_lead_is_next_if_the_agent_knows_the_address() -> None:
    endpoints = Endpoints([A, B, C])
    endpoints.told(C)
    endpoints.failed(lasted=False)
    assert endpoints.current == C
    endpoints.told("stranger:9")
    endpoints.failed(lasted=False)
    assert endpoints.current == A, "whom an agent dials is its owner's to say"


def test_a_controller_that_names_itself_or_nobody_is_not_dialled_again_at_once() -> None:
    endpoints = Endpoints([A, B])
    for told in (A, "", None):
        at = endpoints.current
        endpoints.told(told if told != A else at)
        endpoints.failed(lasted=False)
        assert endpoints.current != at


def test_what_was_told_counts_for_the_next_dial_only() -> None:
    endpoints = Endpoints([A, B, C])
    endpoints.told(C)
    endpoints.failed(lasted=False)
    endpoints.failed(lasted=False)
    assert endpoints.current == A


def test_one_address_is_dialled_again_with_ever_longer_pauses() -> None:
    endpoints = Endpoints([A])
    assert [endpoints.failed(lasted=False) for _ in range(3)] == [1, 2, 3]
    assert endpoints.current == A
