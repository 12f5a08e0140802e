"""The query of every list: how many, and from where on."""

from typing import Annotated

from fastapi import Query

Limit = Annotated[int, Query(ge=1, le=200, description="how many at most")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before")]
