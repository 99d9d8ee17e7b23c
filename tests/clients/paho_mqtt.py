"""Drives paho-mqtt (PyPI) for the interoperability tests. With the argument `websocket` over
WebSocket.
"""

import sys

import paho.mqtt.client as mqtt

from protocol import from_hex, obey_all, say, to_hex

CLIENT = None
TRANSPORT = "websockets" if sys.argv[1:] == ["websocket"] else "tcp"


def connect(host, port, client_id, clean, keep_alive, *will):
    """connect HOST PORT ID clean|keep KEEP_ALIVE [TOPIC QOS RETAIN PAYLOAD]"""
    global CLIENT  # pylint: disable=global-statement
    CLIENT = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=clean == "clean",
        protocol=mqtt.MQTTv311,
        transport=TRANSPORT,
    )
    if will:
        topic, qos, retain, payload = will
        CLIENT.will_set(topic, from_hex(payload), int(qos), retain == "1")
    CLIENT.on_connect = on_connect
    CLIENT.on_message = on_message
    CLIENT.on_subscribe = on_subscribe
    CLIENT.on_unsubscribe = lambda *_: say("unsubscribed")
    CLIENT.on_publish = lambda *_: say("published")
    CLIENT.on_disconnect = lambda *_: say("disconnected")
    CLIENT.connect(host, int(port), keepalive=int(keep_alive))
    CLIENT.loop_start()


def on_connect(_client, _data, flags, reason, _properties):
    """CONNACK came."""
    if reason.is_failure:
        say("failed", f"connect: {reason}")
    else:
        say("connected", int(flags.session_present))


def on_subscribe(_client, _data, _message_id, reasons, _properties):
    """SUBACK came, for one filter."""
    say("subscribed", reasons[0].value)


def on_message(_client, _data, message):
    """PUBLISH came; the library acknowledges it."""
    payload = to_hex(message.payload)
    say("message", message.topic, message.qos, int(message.retain), int(message.dup), payload)


obey_all({
    "connect": connect,
    "subscribe": lambda topic, qos: CLIENT.subscribe(topic, int(qos)),
    "unsubscribe": lambda topic: CLIENT.unsubscribe(topic),
    "publish": lambda topic, qos, retain, payload: CLIENT.publish(
        topic, from_hex(payload), int(qos), retain == "1"
    ),
    "disconnect": lambda: CLIENT.disconnect(),
})
