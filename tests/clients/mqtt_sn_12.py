"""Drives mqtt-sn-12 (PyPI), an MQTT-SN client that we did not write.

A topic is a name, `short:xy` or `predefined:5`. Three things that the library leaves to its user
are done here, each with the library's own calls, and nothing else is repaired:

* its loop looks for datagrams every 100 ms: here the socket says when there is one;
* it compares the QoS of a PUBLISH (1) with the flag for it (0x20) and so never sends PUBACK:
  `acknowledge yes` makes up for it, `acknowledge no` (the default) leaves the library as it is;
* it cannot put its client id into PINGREQ, which is how a sleeping client awakes.
"""

import os
import select
import sys

from mqttsn12.client.MqttSnClient import MqttSnClient, MqttSnListener
from mqttsn12.MqttSnConstants import MqttSnConstants as sn
from mqttsn12.packets import PingReqPacket, PublishPacket

from protocol import from_hex, obey, say, to_hex


class Client(MqttSnClient):
    """The library's client, which also tells what came."""

    acknowledges = False

    def receive_packet(self, blocking):
        packet = super().receive_packet(blocking)
        if packet is not None:
            kind = packet[3] if packet[0] == 1 else packet[1]
            if kind == sn.TYPE_PINGRESP:
                say("pingresp")
            if kind == sn.TYPE_PUBLISH and self.acknowledges:
                self.acknowledge(packet)
        return packet

    def acknowledge(self, packet):
        """PUBACK for a PUBLISH at QoS 1."""
        publish = PublishPacket()
        publish.decode(packet)
        if publish.get_qos() == 1:
            self.send_puback(publish, sn.ACCEPTED)


class Listener(MqttSnListener):
    """Tells the test about messages."""

    def message_arrived(self, msg):
        topic = msg.get_topic_name() or f"id:{msg.get_topic_id()}"
        payload = to_hex(msg.get_payload())
        say("message", topic, msg.get_qos(), int(msg.get_retain()), 0, payload)


CLIENT = Client()
LISTENER = Listener()


def kind_of(topic):
    """The kind of a topic, and what is behind the colon."""
    kind, colon, rest = topic.partition(":")
    return (kind, rest) if colon else ("name", topic)


def open_socket(host, port):
    """open HOST PORT: enough for QoS -1"""
    CLIENT.set_timeout(20)
    CLIENT.open(host, int(port))
    say("opened")


def connect(host, port, client_id, clean, keep_alive, *will):
    """connect HOST PORT ID clean|keep KEEP_ALIVE [TOPIC QOS RETAIN PAYLOAD]"""
    if not CLIENT.is_connected():
        CLIENT.set_timeout(20)
        CLIENT.open(host, int(port))
    CLIENT.set_client_id(client_id)
    CLIENT.set_clean_session(clean == "clean")
    CLIENT.set_keep_alive(int(keep_alive))
    if will:
        topic, qos, retain, payload = will
        CLIENT.set_will(topic, from_hex(payload).decode(), int(qos), retain == "1")
    CLIENT.send_connect()
    say("connected", 0)


def subscribe(topic, qos):
    """subscribe TOPIC QOS; the library does not tell the granted QoS"""
    kind, rest = kind_of(topic)
    if kind == "predefined":
        CLIENT.send_subscribe_predefined(int(rest), int(qos), LISTENER)
    else:
        CLIENT.send_subscribe(rest, int(qos), LISTENER)
    if kind == "short":
        # It finds the listener of a short name only if SUBACK held the id 0.
        CLIENT.add_mqtt_sn_callback(str(int.from_bytes(rest.encode(), "big")), LISTENER)
    say("subscribed", qos)


def unsubscribe(topic):
    """unsubscribe TOPIC"""
    kind, rest = kind_of(topic)
    if kind == "predefined":
        CLIENT.send_unsubscribe_predefined(int(rest))
    else:
        CLIENT.send_unsubscribe(rest)
    say("unsubscribed")


def publish(topic, qos, retain, payload):
    """publish TOPIC QOS RETAIN PAYLOAD"""
    kind, rest = kind_of(topic)
    arguments = (from_hex(payload), int(qos), retain == "1")
    if kind == "predefined":
        CLIENT.send_publish_predefined(int(rest), *arguments)
    else:
        CLIENT.send_publish(rest, *arguments)
    say("published")


def sleep(duration):
    """sleep SECONDS"""
    CLIENT.set_keep_alive(0)
    CLIENT.send_disconnect(int(duration))
    say("asleep")


def wake():
    """wake: PINGREQ with the client id; the event `pingresp` ends the visit"""
    request = PingReqPacket()
    request.client_id = CLIENT.client_id
    CLIENT.send_packet(request.encode())


def disconnect():
    """disconnect"""
    CLIENT.send_disconnect()
    say("disconnected")


def acknowledge(answer):
    """acknowledge yes|no"""
    CLIENT.acknowledges = answer == "yes"


COMMANDS = {
    "open": open_socket,
    "connect": connect,
    "subscribe": subscribe,
    "unsubscribe": unsubscribe,
    "publish": publish,
    "sleep": sleep,
    "wake": wake,
    "disconnect": disconnect,
    "acknowledge": acknowledge,
}


def serve():
    """Carries out standard input and takes what the gateway sends, whichever comes."""
    pending = b""
    while True:
        sources = [sys.stdin.fileno()]
        if CLIENT.is_connected():
            sources.append(CLIENT.datagram_socket.fileno())
        ready, _, _ = select.select(sources, [], [])
        if sys.stdin.fileno() in ready:
            octets = os.read(sys.stdin.fileno(), 65536)
            if not octets:
                return
            *lines, pending = (pending + octets).split(b"\n")
            for line in lines:
                obey(COMMANDS, line.decode())
        elif ready:
            CLIENT.polling()


serve()
