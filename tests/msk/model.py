"""What botocore's model says of requests: examples that fit, and examples that each break one bound."""
import copy

# Values with a meaning; what is not here is made from the shape alone.
KNOWN = {
    "InstanceType": "kafka.m5.large", "TargetInstanceType": "kafka.m5.xlarge", "KafkaVersion": "3.9.x",
    "TargetKafkaVersion": "3.9.x", "NumberOfBrokerNodes": 2, "TargetNumberOfBrokerNodes": 4,
    "ClientSubnets": ["subnet-a", "subnet-b"], "ServerProperties": b"num.partitions=2\n", "KafkaBrokerNodeId": "All",
    "Policy": '{"Version": "2012-10-17", "Statement": []}', "BrokerIds": ["1"], "Authentication": "TLS", "Enabled": False,
    "PartitionCount": 1, "ReplicationFactor": 1,
}
# Where this service allows what the model's text does not: MSK's own limit for clusters with ZooKeeper.
LIMITS = {"numberOfBrokerNodes": 30, "targetNumberOfBrokerNodes": 30}


def wire_name(name, shape):
    return shape.serialization.get("name", name)


def example(shape, name="", known=KNOWN):
    """A value of that shape with its required members only."""
    if name in known:
        return copy.deepcopy(known[name])
    kind = shape.type_name
    if kind == "structure":
        return {member: example(shape.members[member], member, known) for member in shape.required_members}
    if kind == "list":
        return [example(shape.member, "", known)]
    if kind == "map":
        return {"key": example(shape.value, "", known)}
    if kind in ("integer", "long"):
        return shape.metadata.get("min", 1)
    if kind == "boolean":
        return False
    if kind == "blob":
        return b"x"
    return shape.enum[0] if shape.enum else "x" * max(1, shape.metadata.get("min", 1))


def spoilt(shape, name):
    """Values outside the bounds of this shape, and what is wrong with them."""
    bounds = shape.metadata
    if getattr(shape, "enum", None):
        yield "NONE_OF_THESE", "no value of the enumeration"
    if shape.type_name == "string" and not getattr(shape, "enum", None):
        if bounds.get("min", 0) > 0:
            yield "x" * (bounds["min"] - 1), f"under {bounds['min']} characters"
        if "max" in bounds:
            yield "x" * (bounds["max"] + 1), f"over {bounds['max']} characters"
        if "pattern" in bounds:
            yield "-not it", "not of the pattern"
    if shape.type_name in ("integer", "long"):
        if "min" in bounds:
            yield bounds["min"] - 1, f"under {bounds['min']}"
        if "max" in bounds:
            limit = LIMITS.get(wire_name(name, shape), bounds["max"])
            yield limit + 1, f"over {limit}"


def breaches(operation, known=KNOWN):
    """(what is wrong, wire name of the parameter, request) for each bound of an operation's input, one at a time."""
    out = []

    def walk(shape, path, seen):
        for name, member in shape.members.items():
            here = path + [name]
            shown = ".".join(map(str, here))
            wire, uri = wire_name(name, member), member.serialization.get("location") == "uri"
            if name in shape.required_members and not uri:
                out.append((f"{shown} is missing", wire, request(here, None)))
            for value, why in spoilt(member, name):
                if not uri:
                    out.append((f"{shown} is {why}", wire, request(here, value)))
            inner, step = member, []
            if member.type_name == "list":
                inner, step = member.member, [0]
                for value, why in spoilt(inner, name):
                    out.append((f"{shown}[] is {why}", wire, request(here + step, value)))
            if inner.type_name == "structure" and inner.name not in seen:
                walk(inner, here + step, seen | {inner.name})

    def request(path, value):
        made = example(operation.input_shape, "", known)
        at, shape = made, operation.input_shape
        for step in path[:-1]:
            if step == 0:
                shape = shape.member
            else:
                shape = shape.members[step]
                if not at.get(step):
                    at[step] = example(shape, step, known)
            at = at[step]
        if value is None:
            del at[path[-1]]
        elif path[-1] == 0:
            at[:] = [value]
        else:
            at[path[-1]] = value
        return made

    if operation.input_shape is not None:
        walk(operation.input_shape, [], {operation.input_shape.name})
    return out
