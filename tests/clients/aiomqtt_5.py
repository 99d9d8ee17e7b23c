"""Drives aiomqtt (PyPI) with MQTT 5.0 for the interoperability tests."""

import asyncio
import sys

import aiomqtt
from paho.mqtt.packettypes import PacketTypes

from paho_properties import from_word, of_publish, of_subscribe, to_word
from protocol import from_hex, say, to_hex, topic_of


class Driver:
    """One client and the task that reads its messages."""

    def __init__(self):
        self.client = None
        self.reader = None
        self.wishes = "-"

    async def wish(self, word):
        """wish PROPERTIES: what the next CONNECT asks for."""
        self.wishes = word

    async def connect(self, host, port, client_id, clean, keep_alive, *will):
        """connect HOST PORT ID clean|keep KEEP_ALIVE [TOPIC QOS RETAIN PAYLOAD]"""
        wishes = from_word(PacketTypes.CONNECT, self.wishes)
        if clean == "keep":
            wishes.SessionExpiryInterval = 600
        if will:
            topic, qos, retain, payload = will
            will = aiomqtt.Will(topic, from_hex(payload), int(qos), retain == "1")
        self.client = aiomqtt.Client(
            host,
            int(port),
            identifier=client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=clean == "clean",
            keepalive=int(keep_alive),
            will=will or None,
            properties=wishes,
        )
        # The library does not tell whether a session was there; CONNACK does.
        present = []
        inner = self.client._client  # pylint: disable=protected-access
        on_connect = inner.on_connect

        def note(client, data, flags, reason, properties=None):
            present.append(int(flags.session_present))
            on_connect(client, data, flags, reason, properties)

        inner.on_connect = note
        await self.client.__aenter__()
        say("connected", present[0])
        self.reader = asyncio.create_task(self.read())

    async def read(self):
        """Tells every message."""
        async for message in self.client.messages:
            flags = (message.qos, int(message.retain), 0)
            word = to_word(message.properties)
            say("message", message.topic, *flags, to_hex(message.payload), word)

    async def subscribe(self, topic, qos, word="-"):
        """subscribe FILTER QOS [OPTIONS]"""
        options, properties = of_subscribe(int(qos), word)
        granted = await self.client.subscribe(topic, options=options, properties=properties)
        say("subscribed", granted[0].value)

    async def unsubscribe(self, topic):
        """unsubscribe FILTER"""
        await self.client.unsubscribe(topic)
        say("unsubscribed")

    async def publish(self, topic, qos, retain, payload, word="-"):
        """publish TOPIC QOS RETAIN PAYLOAD [PROPERTIES]"""
        topic, payload, properties = topic_of(topic), from_hex(payload), of_publish(word)
        await self.client.publish(topic, payload, int(qos), retain == "1", properties)
        say("published")

    async def disconnect(self):
        """disconnect"""
        self.reader.cancel()
        await self.client.__aexit__(None, None, None)
        say("disconnected")


async def main():
    """Carries out standard input until it ends."""
    driver = Driver()
    lines = asyncio.StreamReader(limit=1 << 20)
    protocol = asyncio.StreamReaderProtocol(lines)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await lines.readline():
        name, *words = line.decode().rstrip("\n").split(" ")
        try:
            await getattr(driver, name)(*words)
        except Exception as error:  # pylint: disable=broad-except
            say("failed", f"{name}: {type(error).__name__}: {error}".replace("\n", " "))


asyncio.run(main())
