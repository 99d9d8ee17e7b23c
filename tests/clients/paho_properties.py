"""The properties of MQTT 5.0 as words, for the libraries that are made of paho-mqtt.

A word is `name=value,name=value`, or `-` if there is none. User properties are `user=KEY:VALUE`,
correlation data is hex.
"""

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

NAMES = {
    "format": "PayloadFormatIndicator",
    "expiry": "MessageExpiryInterval",
    "content": "ContentType",
    "response": "ResponseTopic",
    "correlation": "CorrelationData",
    "user": "UserProperty",
    "id": "SubscriptionIdentifier",
    "alias": "TopicAlias",
    "session_expiry": "SessionExpiryInterval",
    "receive_maximum": "ReceiveMaximum",
    "packet_max": "MaximumPacketSize",
    "alias_max": "TopicAliasMaximum",
    "will_delay": "WillDelayInterval",
}
OPTIONS = {"no_local": "noLocal", "as_published": "retainAsPublished", "handling": "retainHandling"}
TEXTS = ("content", "response")


def pairs(word):
    """Name and value of everything in a word."""
    return [] if word == "-" else [part.split("=", 1) for part in word.split(",")]


def from_word(packet_type, word):
    """The properties of a word."""
    properties = Properties(packet_type)
    for name, value in pairs(word):
        if name == "user":
            value = tuple(value.split(":", 1))
        elif name == "correlation":
            value = bytes.fromhex(value)
        elif name not in TEXTS:
            value = int(value)
        setattr(properties, NAMES[name], value)
    return properties


def of_publish(word):
    """The properties of a publication."""
    return from_word(PacketTypes.PUBLISH, word)


def of_subscribe(qos, word):
    """Options and properties of a subscription."""
    named = dict(pairs(word))
    options = {OPTIONS[name]: int(named.pop(name)) for name in OPTIONS if name in named}
    rest = ",".join(f"{name}={value}" for name, value in named.items()) or "-"
    return SubscribeOptions(qos=qos, **options), from_word(PacketTypes.SUBSCRIBE, rest)


def to_word(properties):
    """The properties of a message as a word, in the order of `NAMES`."""
    parts = []
    for name, attribute in NAMES.items():
        value = getattr(properties, attribute, None)
        if value is None:
            continue
        for one in value if isinstance(value, list) else [value]:
            if name == "user":
                one = ":".join(one)
            elif name == "correlation":
                one = bytes(one).hex()
            parts.append(f"{name}={one}")
    return ",".join(parts) or "-"
