"""JSON Schemas that stand alone: a part of a multipart body has no place for definitions beside it."""

from typing import Any

from pydantic import BaseModel


def inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """`schema` with every reference to `definitions` replaced by what it stands for."""
    if isinstance(schema, list):
        return [inline(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return inline(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    return {name: inline(part, definitions) for name, part in schema.items() if name != "discriminator"}


def json_body_schema(spec: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI of a request whose body is a specification, with everything that it refers to in its place."""
    schema = spec.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs", {})
    content = {"application/json": {"schema": inline(schema, definitions), "example": example}}
    return {"requestBody": {"required": True, "content": content}}
