"""What a daemon may say: the shape of its messages."""

# what a daemon's messages must have, by op: path of a field and its type
_REQ = (int, float, str)
_OF_HANDOVER = (("id", str), ("epoch", int))
FIELDS = {
    "welcome": (("node", str), ("child", str), ("instance", int), ("epoch", int), ("role", str)),
    "ping": (("req", _REQ),),
    "pong": (),
    "role": (("role", str), ("epoch", int)),
    "found": (("re", int), ("child", str), ("instances", list)),
    "changed": (("child", str), ("instances", list)),
    "stop": (("grace_ms", int),),
    "error": (("code", str),),
    "handover_ask": _OF_HANDOVER + (("target.node", str),),
    "handover_start": _OF_HANDOVER + (("startup.node", str), ("timeout_ms", int)),
    "next_round": _OF_HANDOVER + (("round", int),),
    "freeze": _OF_HANDOVER + (("deadline_ms", int),),
    "resume": _OF_HANDOVER,
    "committed": _OF_HANDOVER + (("new.node", str), ("retention_ms", int)),
    "conflict": _OF_HANDOVER + (("winner.node", str), ("winner.epoch", int)),
    "handover": _OF_HANDOVER + (("from", str), ("format", str), ("version", int),
                                ("max_bytes", int)),
    "state_end": (("id", str), ("bytes", int)),
    "activate": (("epoch", int),),
    "abort": (),
}


def check(message):
    """ValueError with a sentence unless it is a message of a daemon; False if its op is unknown."""
    if not isinstance(message, dict) or not isinstance(message.get("op"), str):
        raise ValueError("expected a JSON object with op")
    fields = FIELDS.get(message["op"])
    for path, kind in fields or ():
        value = message
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{message['op']}: {path}: expected {getattr(kind, '__name__', 'number or text')}")
    return fields is not None
