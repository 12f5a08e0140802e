"""What an audit found out about itself: checks that doubt its numbers, and the verdict they allow. Torch-free."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

VerdictWord = Literal["robust", "not robust", "undecided", "cannot be trusted"]


class Check(BaseModel):
    """One doubt about an audit's numbers, and what was measured to settle it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description='a stable word for the check, such as "more steps"')
    question: str = Field(description="what was asked, as a sentence for a reader")
    passed: bool | None = Field(
        description="true: nothing speaks against the numbers; false: something does; null: could not be asked"
    )
    detail: str = Field(description="what was found, as a sentence with its numbers")
    numbers: dict[str, float | int | str | bool | None] = Field(
        default_factory=dict, description="what the answer rests on, by name"
    )


class Verdict(BaseModel):
    """What the audit says of one model, in one word, one sentence and its reasons."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: VerdictWord = Field(description="the word")
    sentence: str = Field(
        description='the whole claim with its bound, such as "robust to multav-linf@1.04 …"'
    )
    because: tuple[str, ...] = Field((), description="what the sentence rests on, strongest first")
