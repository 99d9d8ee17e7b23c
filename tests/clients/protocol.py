"""The line protocol between a Rust test and a foreign client.

The test writes one command a line to standard input, the client writes one event a line to
standard output. Words are separated by one space; topics have no spaces; a payload is hex, or
`-` if it is empty. docs/testing.md lists commands and events.
"""

import sys


def say(*words):
    """Tells the test that something happened."""
    print(*words, flush=True)


def to_hex(payload):
    """A payload as a word."""
    return bytes(payload).hex() or "-"


def from_hex(word):
    """The payload of a word."""
    return b"" if word == "-" else bytes.fromhex(word)


def topic_of(word):
    """The topic of a word; an alias stands for the one that is left out."""
    return "" if word == "-" else word


def obey(commands, line):
    """Carries out one line; a failure is an event and not the end."""
    name, *words = line.split(" ")
    try:
        commands[name](*words)
    except Exception as error:  # pylint: disable=broad-except
        say("failed", f"{name}: {type(error).__name__}: {error}".replace("\n", " "))


def obey_all(commands):
    """Carries out standard input until it ends."""
    for line in sys.stdin:
        obey(commands, line.rstrip("\n"))
