"""What the service answers, held against the model that every SDK is made of."""
import json
import re
from numbers import Real

ISO8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def faults(value, shape, path="$"):
    """Sentences about what in `value` is not of `shape`."""
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            return [f"{path} is no structure"]
        members = {m.serialization.get("name", name): m for name, m in shape.members.items()}
        required = {shape.members[name].serialization.get("name", name) for name in shape.required_members}
        out = [f"{path}.{key} is not in the model" for key in value if key not in members]
        out += [f"{path}.{key} is missing" for key in required if key not in value]
        for key, inner in value.items():
            if key in members:
                out += faults(inner, members[key], f"{path}.{key}")
        return out
    if kind == "list":
        if not isinstance(value, list):
            return [f"{path} is no list"]
        return [f for i, item in enumerate(value) for f in faults(item, shape.member, f"{path}[{i}]")]
    if kind == "map":
        if not isinstance(value, dict):
            return [f"{path} is no map"]
        return [f for key, item in value.items() for f in faults(item, shape.value, f"{path}.{key}")]
    good = {"string": isinstance(value, str), "blob": isinstance(value, str), "boolean": isinstance(value, bool),
            "integer": isinstance(value, int), "long": isinstance(value, int),
            "double": isinstance(value, Real) and not isinstance(value, bool),
            "timestamp": isinstance(value, str) and ISO8601.fullmatch(value) is not None}[kind]
    if good and kind == "string" and shape.enum and value not in shape.enum:
        return [f"{path} is {value!r}, none of {shape.enum}"]
    return [] if good else [f"{path} is {value!r}, no {kind}"]


def watch(client, found):
    """Every answer of this client is checked; faults go into the list `found`."""

    def check(operation_model, response_dict, **_):
        if response_dict["status_code"] >= 300:
            body = json.loads(response_dict["body"] or b"{}")
            if set(body) - {"message", "invalidParameter"} or not body.get("message"):
                found.append(f"{operation_model.name}: the error {body} is not as the model has it")
            return
        if operation_model.output_shape is None:
            return
        body = json.loads(response_dict["body"] or b"{}")
        found.extend(f"{operation_model.name}: {fault}" for fault in faults(body, operation_model.output_shape))

    client.meta.events.register("before-parse.kafka.*", check)
