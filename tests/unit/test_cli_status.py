"""When a network counts as ready, and how errors become exit codes and lines."""

import grpc
import pytest

from keyweave.cli.exits import ExitCode, UnreachableError, is_ours, report
from keyweave.cli.troubles import shortcomings
from keyweave.common.errors import InvalidInputError, NotFoundError, Violation
from keyweave.v1 import admin_pb2, agent_pb2, types_pb2

NEW = agent_pb2.PolicyVersion(epoch=2, version=7, digest=b"n" * 32)
OLD = agent_pb2.PolicyVersion(epoch=1, version=9, digest=b"o" * 32)


def ready() -> admin_pb2.GetStatusResponse:
    """Everything as it should be: the policy that the agent has need only be the same, not the same age."""
    applied = agent_pb2.PolicyVersion(epoch=1, version=3, digest=NEW.digest)
    return admin_pb2.GetStatusResponse(
        nodes=[
            admin_pb2.NodeStatus(
                node=types_pb2.Node(name="a"), connected=True, desired_policy=NEW, applied_policy=applied
            )
        ],
        streams=[
            admin_pb2.StreamStatus(
                stream=types_pb2.Stream(name="s"), protection=types_pb2.PROTECTION_PQC, buffered_keys=1
            )
        ],
    )


def test_nothing_is_lacking_where_policy_is_applied_and_streams_can_serve() -> None:
    assert list(shortcomings(ready())) == []


def test_each_thing_that_is_lacking_is_named() -> None:
    away = ready()
    away.nodes[0].connected = False
    assert list(shortcomings(away)) == ["node 'a': its agent is not connected"]

    behind = ready()
    behind.nodes[0].applied_policy.CopyFrom(OLD)
    assert list(shortcomings(behind)) == ["node 'a': its agent has not applied its policy yet"]

    unknown = ready()
    unknown.nodes[0].ClearField("desired_policy")
    unknown.nodes[0].ClearField("applied_policy")
    assert list(shortcomings(unknown)) == ["node 'a': its agent has not applied its policy yet"]

    refusing = ready()
    refusing.nodes[0].nacked_rules.add(rule_id="stream/s")
    assert list(shortcomings(refusing)) == ["node 'a': its agent refuses its policy"]

    withholding = ready()
    for number in range(4):
        withholding.nodes[0].withheld_rules.add(rule_id=f"relay/s/{number}")
    assert list(shortcomings(withholding)) == [
        "node 'a': its guard now forbids relay/s/0, relay/s/1, relay/s/2, ..."
    ]

    read_only = ready()
    read_only.read_only = True
    assert [line.partition(":")[0] for line in shortcomings(read_only)] == ["controller"]
    assert list(shortcomings(admin_pb2.GetStatusResponse())) == ["controller: knows no nodes yet"]


@pytest.mark.parametrize(
    ("protection", "buffered", "serves"),
    [
        (types_pb2.PROTECTION_UNSPECIFIED, 0, False),
        (types_pb2.PROTECTION_NONE, 0, False),
        (types_pb2.PROTECTION_NONE, 5, True),
        (types_pb2.PROTECTION_QKD, 0, True),
        (types_pb2.PROTECTION_HYBRID, 0, True),
        (types_pb2.PROTECTION_PQC, 0, True),
    ],
)
def test_a_stream_serves_from_its_buffer_or_as_long_as_something_protects_it(
    protection: types_pb2.Protection, buffered: int, serves: bool
) -> None:
    status = ready()
    status.streams[0].protection = protection
    status.streams[0].buffered_keys = buffered
    assert (list(shortcomings(status)) == []) == serves


def test_each_wrong_field_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    code = report(InvalidInputError([Violation("stream.k", "is wrong,\n  very"), Violation("", "and more")]))
    assert code is ExitCode.ERROR
    assert capsys.readouterr().err == "error: stream.k: is wrong, very\nerror: and more\n"


def rpc_error(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="because", debug_error_string=""
    )


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UnreachableError("no network"), ExitCode.UNREACHABLE, "error: no network"),
        (NotFoundError("no link 'x'"), ExitCode.ERROR, "error: no link 'x'"),
        (
            rpc_error(grpc.StatusCode.UNAVAILABLE),
            ExitCode.UNREACHABLE,
            "error: nobody could be reached: because",
        ),
        (
            rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED),
            ExitCode.TIMED_OUT,
            "error: deadline exceeded: because",
        ),
        (
            rpc_error(grpc.StatusCode.PERMISSION_DENIED),
            ExitCode.ERROR,
            "error: permission denied: because",
        ),
    ],
)
def test_an_error_is_one_line_and_a_code(
    error: NotFoundError | UnreachableError | grpc.aio.AioRpcError,
    code: ExitCode,
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report(error) is code
    assert capsys.readouterr().err.splitlines() == [line]


def test_errors_of_several_tasks_are_told_together_and_defects_are_not_told_as_errors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours = ExceptionGroup("tasks", [NotFoundError("a"), ExceptionGroup("more", [NotFoundError("b")])])
    assert is_ours(ours)
    assert report(ours) is ExitCode.ERROR
    assert capsys.readouterr().err == "error: a\nerror: b\n"
    assert not is_ours(ExceptionGroup("tasks", [NotFoundError("a"), ZeroDivisionError()]))
