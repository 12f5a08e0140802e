"""JSON Schemas that stand alone: a part of a multipart body has no place for definitions beside it."""

from typing import Any


def inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """`schema` with every reference to `definitions` replaced by what it stands for."""
    if isinstance(schema, list):
        return [inline(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return inline(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    return {name: inline(part, definitions) for name, part in schema.items() if name != "discriminator"}
