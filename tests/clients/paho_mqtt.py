"""Drives paho-mqtt (PyPI) for the interoperability tests. Arguments: `5` for MQTT 5.0, `websocket`
for that way.
"""

import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes

from paho_properties import from_word, of_publish, of_subscribe, to_word
from protocol import from_hex, obey_all, say, to_hex, topic_of

IS_5 = "5" in sys.argv[1:]
CLIENT = None
TRANSPORT = "websockets" if "websocket" in sys.argv[1:] else "tcp"
WISHES = "-"


def wish(word):
    """wish PROPERTIES: what the next CONNECT asks for."""
    global WISHES  # pylint: disable=global-statement
    WISHES = word


def connect(host, port, client_id, clean, keep_alive, *will):
    """connect HOST PORT ID clean|keep KEEP_ALIVE [TOPIC QOS RETAIN PAYLOAD]"""
    global CLIENT  # pylint: disable=global-statement
    arguments = {} if IS_5 else {"clean_session": clean == "clean"}
    CLIENT = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=mqtt.MQTTv5 if IS_5 else mqtt.MQTTv311,
        transport=TRANSPORT,
        **arguments,
    )
    if will:
        topic, qos, retain, payload = will
        CLIENT.will_set(topic, from_hex(payload), int(qos), retain == "1")
    CLIENT.on_connect = on_connect
    CLIENT.on_message = on_message
    CLIENT.on_subscribe = on_subscribe
    CLIENT.on_unsubscribe = lambda *_: say("unsubscribed")
    CLIENT.on_publish = on_publish
    CLIENT.on_disconnect = lambda *_: say("disconnected")
    arguments = {}
    if IS_5:
        wishes = from_word(PacketTypes.CONNECT, WISHES)
        if clean == "keep":
            wishes.SessionExpiryInterval = 600
        arguments = {"clean_start": clean == "clean", "properties": wishes}
    CLIENT.connect(host, int(port), keepalive=int(keep_alive), **arguments)
    CLIENT.loop_start()


def subscribe(topic, qos, word="-"):
    """subscribe FILTER QOS [OPTIONS]"""
    if IS_5:
        options, properties = of_subscribe(int(qos), word)
        CLIENT.subscribe(topic, options=options, properties=properties)
    else:
        CLIENT.subscribe(topic, int(qos))


def publish(topic, qos, retain, payload, word="-"):
    """publish TOPIC QOS RETAIN PAYLOAD [PROPERTIES]"""
    properties = of_publish(word) if IS_5 else None
    CLIENT.publish(topic_of(topic), from_hex(payload), int(qos), retain == "1", properties)


def on_connect(_client, _data, flags, reason, _properties):
    """CONNACK came."""
    if reason.is_failure:
        say("failed", f"connect: {reason}")
    else:
        say("connected", int(flags.session_present))


def on_subscribe(_client, _data, _message_id, reasons, _properties):
    """SUBACK came, for one filter."""
    say("subscribed", reasons[0].value)


def on_publish(_client, _data, _message_id, reason, _properties):
    """The handshake is over."""
    if reason.is_failure:
        say("refused", reason.value)
    else:
        say("published")


def on_message(_client, _data, message):
    """PUBLISH came; the library acknowledges it."""
    payload = to_hex(message.payload)
    flags = (message.qos, int(message.retain), int(message.dup))
    say("message", message.topic, *flags, payload, to_word(message.properties))


obey_all({
    "wish": wish,
    "connect": connect,
    "subscribe": subscribe,
    "unsubscribe": lambda topic: CLIENT.unsubscribe(topic),
    "publish": publish,
    "disconnect": lambda: CLIENT.disconnect(),
})
