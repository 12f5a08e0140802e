"""/v1/attack-kinds: the threat models, with equation, settings and schema."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from multav.attacks.catalogue import ATTACKS, describe
from service.problems import problems

router = APIRouter(prefix="/v1/attack-kinds", tags=["attack kinds"])


class AttackKind(BaseModel):
    """One kind of attack. `defaults` are the paper's settings; `schema` is the JSON Schema of its parameters."""

    kind: str
    meaning: str
    equation: str
    source: str
    rule: str
    ball: str
    region: str
    defaults: dict[str, Any]
    parameters: dict[str, Any] = Field(alias="schema")


class AttackKindList(BaseModel):
    """Every kind."""

    items: list[AttackKind]
    next_cursor: str | None


@router.get("", operation_id="listAttackKinds", summary="List attack kinds")
def list_kinds() -> AttackKindList:
    """Every threat model that can be asked for."""
    return AttackKindList(items=[AttackKind(**describe(kind)) for kind in ATTACKS], next_cursor=None)


@router.get("/{kind}", operation_id="getAttackKind", summary="An attack kind", responses=problems(404))
def get_kind(kind: str) -> AttackKind:
    """One threat model."""
    return AttackKind(**describe(kind))
