"""Reads messages as a receiver would, with the e-mail package of Python's standard library.

Each line of standard input is a message in base64; each line of output is what was read, in JSON.
"""

import base64
import email
import email.policy
import json
import sys


def text(value):
    """A header's value; octets that are no ASCII are UTF-8 (RFC 6532)."""
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8")


def shape(part):
    if part.is_multipart():
        return part.get_content_subtype() + "(" + " ".join(shape(p) for p in part.iter_parts()) + ")"
    return part.get_content_type()


def leaf(part):
    content = part.get_content()
    found = {
        "type": part.get_content_type(),
        "disposition": part.get_content_disposition() or "",
        "name": part.get_filename() or "",
        "id": part.get("Content-ID", "").strip(),
    }
    if isinstance(content, bytes):
        found["data"] = base64.b64encode(content).decode()
    else:
        found["text"] = content
        found["charset"] = part.get_content_charset()
    return found


def defects(part):
    found = [repr(d) for d in part.defects]
    for _, value in part.items():
        # The one thing that RFC 6532 allows and this parser notes.
        found += [repr(d) for d in getattr(value, "defects", []) if "NonASCII" not in repr(d) and "Undecodable" not in repr(d)]
    for p in part.iter_parts() if part.is_multipart() else []:
        found += defects(p)
    return found


for line in sys.stdin:
    message = email.message_from_bytes(base64.b64decode(line), policy=email.policy.SMTPUTF8)
    addresses = {}
    for name in ("From", "To", "Reply-To"):
        if name in message:
            addresses[name] = [[a.display_name, text(a.addr_spec)] for a in message[name].addresses]
    print(json.dumps({
        "headers": [[name, text(value)] for name, value in message.items()],
        "addresses": addresses,
        "shape": shape(message),
        "parts": [leaf(p) for p in message.walk() if not p.is_multipart()],
        "defects": defects(message),
    }), flush=True)
