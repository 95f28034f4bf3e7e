"""How an agent makes keys of pairs, in its configuration."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from keyweave.agent.pairs.keys.discussion import Terms
from keyweave.agent.pairs.keys.secrecy import Promise


class PairKeySettings(BaseModel):
    """`pair_keys` of an agent; both ends of a link should have the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Sifted bits in the key basis that make a block: longer ones lose less, and come less often.
    block_bits: Annotated[int, Field(ge=512, le=1_000_000)] = 4096
    # What makes a block after this time in any case, if any of it is secret.
    block_seconds: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    # How often an end measures in the key basis Z; else in X. 0.7: five bits of key for one to compare,
    # which gives most or nearly so (`secrecy.expected_bits`) for 1,500 to 12,000 pairs and 0.3 to 3 % errors.
    key_basis_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.7
    # The most, as a probability, that a block's key may not be secret.
    secrecy: Annotated[float, Field(ge=1e-30, le=1e-3)] = 1e-10

    @property
    def terms(self) -> Terms:
        """As the discussion has it."""
        return Terms(
            block_bits=self.block_bits,
            block_seconds=self.block_seconds,
            promise=Promise(secrecy=self.secrecy),
        )
