// Drives MQTT.js (npm) for the interoperability tests; the commands are those of protocol.py.
// With the argument `websocket` over WebSocket.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The package lies in a folder of its own, named by NODE_PATH, which only `require` looks at.
const mqtt = createRequire(import.meta.url)("mqtt");

const say = (...words) => console.log(words.join(" "));
const toHex = (payload) => Buffer.from(payload).toString("hex") || "-";
const fromHex = (word) => Buffer.from(word === "-" ? "" : word, "hex");

const transport = process.argv[2] === "websocket" ? { protocol: "ws", path: "/mqtt" } : {};

let client;

function report(what, event) {
  return (error, ...values) =>
    error ? say("failed", `${what}: ${error.message}`) : say(...event(...values));
}

function connect(host, port, clientId, clean, keepAlive, ...will) {
  const options = {
    ...transport,
    host,
    port: Number(port),
    clientId,
    clean: clean === "clean",
    keepalive: Number(keepAlive),
    protocolVersion: 4,
    reconnectPeriod: 0,
  };
  if (will.length > 0) {
    const [topic, qos, retain, payload] = will;
    options.will = { topic, qos: Number(qos), retain: retain === "1", payload: fromHex(payload) };
  }
  client = mqtt.connect(options);
  client.on("connect", (connack) => say("connected", Number(connack.sessionPresent)));
  client.on("error", (error) => say("failed", `connection: ${error.message}`));
  client.on("close", () => say("disconnected"));
  client.on("message", (topic, payload, { qos, retain, dup }) =>
    say("message", topic, qos, Number(retain), Number(dup), toHex(payload)),
  );
}

const commands = {
  connect,
  // The library's own list of grants keeps the QoS that was asked for: read it from SUBACK.
  subscribe: (topic, qos) =>
    client.subscribe(
      topic,
      { qos: Number(qos) },
      report("subscribe", (_grants, suback) => ["subscribed", suback.granted[0]]),
    ),
  unsubscribe: (topic) => client.unsubscribe(topic, report("unsubscribe", () => ["unsubscribed"])),
  publish: (topic, qos, retain, payload) =>
    client.publish(
      topic,
      fromHex(payload),
      { qos: Number(qos), retain: retain === "1" },
      report("publish", () => ["published"]),
    ),
  disconnect: () => client.end(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...words] = line.split(" ");
  commands[name](...words);
}
