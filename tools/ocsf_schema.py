"""Write the JSON Schema of the OCSF events that Charter sends, from a checkout of github.com/ocsf/ocsf-schema.

    python tools/ocsf_schema.py PATH/TO/ocsf-schema COMMIT

The published schema is JSON of its own kind: classes and objects that extend others, include profiles, and take types
from a dictionary. This resolves them for the classes named below, with every attribute that they, and the objects in
`OBJECTS`, have; other objects are cut to `{"type": "object"}`. What Charter sends is then held to it by jsonschema:
an attribute that does not exist, a missing required one, a number that an enumeration does not have, all fail.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CLASSES = (
    "application/api_activity",
    "iam/authentication",
    "iam/entity_management",
    "findings/detection_finding",
)
OBJECTS = {
    "actor", "ai_agent", "ai_model", "api", "authorization", "enrichment", "evidences", "file", "finding_info",
    "fingerprint", "group", "managed_entity", "metadata", "network_endpoint", "object", "policy", "product",
    "request", "resource_details", "response", "rule", "service", "session", "unmapped", "user", "organization",
}  # fmt: skip
PROFILES = frozenset({"profiles/ai_operation.json", "profiles/security_control.json"})  # that Charter's events have
TARGET = Path(__file__).resolve().parent.parent / "tests" / "corpus" / "ocsf-1.9.0-dev.json"
SCALARS = {"boolean_t": "boolean", "float_t": "number", "integer_t": "integer", "long_t": "integer"}


class Schema:
    """A checkout, read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        dictionary = self._read("dictionary")
        self.attributes, self.types = dictionary["attributes"], dictionary["types"]["attributes"]
        self.categories = self._read("categories")["attributes"]
        self.events = {self._named(path): path for path in sorted((root / "events").rglob("*.json"))}
        self.objects = {self._named(path): path for path in sorted((root / "objects").rglob("*.json"))}

    def _read(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / f"{name}.json").read_text(encoding="utf-8"))
        return found

    def _named(self, path: Path) -> str:
        return str(json.loads(path.read_text(encoding="utf-8"))["name"])

    def resolved(self, path: Path, kind: dict[str, Path]) -> dict[str, Any]:
        """Return a class or object with what it extends and includes."""
        own = json.loads(path.read_text(encoding="utf-8"))
        base = self.resolved(kind[own["extends"]], kind) if "extends" in own else {"attributes": {}, "constraints": {}}
        attributes = {name: dict(each) for name, each in base["attributes"].items()}
        said = dict(own.get("attributes", {}))
        included = said.pop("$include", ())
        layers = [self._read(name.removesuffix(".json"))["attributes"] for name in included if name in PROFILES]
        for layer in (*layers, said):
            for name, each in layer.items():
                enum = {**attributes.get(name, {}).get("enum", {}), **each.get("enum", {})}
                attributes[name] = {**attributes.get(name, {}), **each} | ({"enum": enum} if enum else {})
        category = own.get("category", base.get("category"))
        constraints = {**base["constraints"], **own.get("constraints", {})}
        return {**own, "attributes": attributes, "category": category, "constraints": constraints}

    def of_attribute(self, name: str, said: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON Schema of one attribute."""
        known = {**self.attributes[name], **said}
        enum = {**self.attributes[name].get("enum", {}), **said.get("enum", {})}
        one = self._one(known["type"])
        if enum and one.get("type") == "integer":
            one = {"enum": sorted(int(number) for number in enum)}
        return {"type": "array", "items": one} if known.get("is_array") else one

    def _one(self, kind: str) -> dict[str, Any]:
        if kind == "json_t":
            return {}
        if kind not in self.types:
            return {"$ref": f"#/$defs/{kind}"} if kind in OBJECTS else {"type": "object"}
        said = self.types[kind]
        found: dict[str, Any] = {"type": SCALARS.get(said.get("type", kind), "string")}
        if "regex" in said:
            found["pattern"] = said["regex"]
        if "range" in said:
            found |= {"minimum": said["range"][0], "maximum": said["range"][1]}
        return found

    def of_whole(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON Schema of a class or object."""
        attributes = found["attributes"]
        shown: dict[str, Any] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: self.of_attribute(name, each) for name, each in sorted(attributes.items())},
            "required": sorted(name for name, each in attributes.items() if each.get("requirement") == "required"),
        }
        if "at_least_one" in found["constraints"]:
            shown["anyOf"] = [{"required": [name]} for name in found["constraints"]["at_least_one"]]
        return shown

    def of_class(self, path: str) -> tuple[int, dict[str, Any]]:
        """Return the number of a class and its JSON Schema."""
        found = self.resolved(self.root / "events" / f"{path}.json", self.events)
        shown = self.of_whole(found)
        category = self.categories.get(found["category"], {"uid": 0})["uid"]
        number = category * 1000 + found.get("uid", 0)
        activities = shown["properties"]["activity_id"]["enum"]
        shown["properties"] |= {
            "class_uid": {"const": number},
            "category_uid": {"const": category},
            "type_uid": {"enum": [number * 100 + each for each in activities]},
        }
        return number, shown


def main() -> None:
    """Write it."""
    schema, commit = Schema(Path(sys.argv[1])), sys.argv[2]
    version = schema._read("version")["version"]  # noqa: SLF001
    open_ended = {"object", "unmapped"}
    definitions = {
        name: {"type": "object"} if name in open_ended else schema.of_whole(schema.resolved(path, schema.objects))
        for name, path in schema.objects.items()
        if name in OBJECTS
    }
    classes = dict(schema.of_class(path) for path in CLASSES)
    document = {
        "$comment": f"From github.com/ocsf/ocsf-schema {commit} (Apache-2.0), by tools/ocsf_schema.py: do not edit.",
        "version": version,
        "$defs": definitions | {f"class_{number}": each for number, each in classes.items()},
        "allOf": [
            {
                "if": {"properties": {"class_uid": {"const": number}}, "required": ["class_uid"]},
                "then": {"$ref": f"#/$defs/class_{number}"},
            }
            for number in classes
        ],
        "properties": {"class_uid": {"enum": sorted(classes)}},
        "required": ["class_uid"],
    }
    TARGET.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
