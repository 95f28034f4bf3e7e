"""What a policy's digest is, bit for bit: controller and agent must agree without comparing rules.

A rule's digest is SHA-256 over its deterministic protobuf serialization (fields in order of their
numbers, so `rule_id` comes first; no unknown fields, no maps). A policy's digest is SHA-256 over the
rules' 32-byte digests, sorted as byte strings and concatenated. So the order of rules means nothing,
one changed rule changes the whole, and a policy without rules has the digest of the empty string,
which differs from the empty digest that stands for "no policy at all".
"""

import hashlib
from collections.abc import Iterable

from keyweave.v1 import agent_pb2


def rule_digest(rule: agent_pb2.Rule) -> bytes:
    """The 32-byte digest of one rule."""
    return serialized_rule_digest(rule.SerializeToString(deterministic=True))


def serialized_rule_digest(serialized: bytes) -> bytes:
    """The same, from the rule's deterministic serialization."""
    return hashlib.sha256(serialized).digest()


def combine(rule_digests: Iterable[bytes]) -> bytes:
    """The 32-byte digest of the policy that consists of the rules with these digests."""
    return combine_sorted(sorted(rule_digests))


def combine_sorted(rule_digests: Iterable[bytes]) -> bytes:
    """The same, from digests that are in order already."""
    return hashlib.sha256(b"".join(rule_digests)).digest()


def policy_digest(rules: Iterable[agent_pb2.Rule]) -> bytes:
    """The 32-byte digest of the policy that consists of these rules."""
    return combine(rule_digest(rule) for rule in rules)
