// Drives MQTT.js (npm) for the interoperability tests; the commands are those of protocol.py.
// Arguments: `5` for MQTT 5.0, `websocket` for that way.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The package lies in a folder of its own, named by NODE_PATH, which only `require` looks at.
const mqtt = createRequire(import.meta.url)("mqtt");

const say = (...words) => console.log(words.join(" "));
const toHex = (payload) => Buffer.from(payload).toString("hex") || "-";
const fromHex = (word) => Buffer.from(word === "-" ? "" : word, "hex");

const is5 = process.argv.includes("5");
const transport = process.argv.includes("websocket") ? { protocol: "ws", path: "/mqtt" } : {};

let client;
let wishes = {};

// Properties as words: `name=value,name=value`, as in paho_properties.py.
const numbers = {
  expiry: "messageExpiryInterval",
  id: "subscriptionIdentifier",
  alias: "topicAlias",
  session_expiry: "sessionExpiryInterval",
  receive_maximum: "receiveMaximum",
  packet_max: "maximumPacketSize",
  alias_max: "topicAliasMaximum",
};

function fromWord(word = "-") {
  const properties = {};
  for (const part of word === "-" ? [] : word.split(",")) {
    const at = part.indexOf("=");
    const [name, value] = [part.slice(0, at), part.slice(at + 1)];
    if (name === "user") {
      const [key, text] = value.split(":");
      properties.userProperties ??= {};
      (properties.userProperties[key] ??= []).push(text);
    } else if (name === "format") properties.payloadFormatIndicator = value === "1";
    else if (name === "content") properties.contentType = value;
    else if (name === "response") properties.responseTopic = value;
    else if (name === "correlation") properties.correlationData = Buffer.from(value, "hex");
    else properties[numbers[name] ?? name] = Number(value);
  }
  return properties;
}

function toWord(properties = {}) {
  const parts = [];
  const tell = (name, value) => value !== undefined && parts.push(`${name}=${value}`);
  const { payloadFormatIndicator: format } = properties;
  tell("format", format === undefined ? undefined : Number(format));
  tell("expiry", properties.messageExpiryInterval);
  tell("content", properties.contentType);
  tell("response", properties.responseTopic);
  tell("correlation", properties.correlationData?.toString("hex"));
  for (const [key, values] of Object.entries(properties.userProperties ?? {}))
    for (const value of [values].flat()) tell("user", `${key}:${value}`);
  for (const id of [properties.subscriptionIdentifier ?? []].flat()) tell("id", id);
  tell("alias", properties.topicAlias);
  return parts.join(",") || "-";
}

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
    protocolVersion: is5 ? 5 : 4,
    reconnectPeriod: 0,
  };
  if (is5) {
    const kept = clean === "keep" ? { sessionExpiryInterval: 600 } : {};
    options.properties = { ...wishes, ...kept };
  }
  if (will.length > 0) {
    const [topic, qos, retain, payload] = will;
    options.will = { topic, qos: Number(qos), retain: retain === "1", payload: fromHex(payload) };
  }
  client = mqtt.connect(options);
  client.on("connect", (connack) => say("connected", Number(connack.sessionPresent)));
  client.on("error", (error) => say("failed", `connection: ${error.message}`));
  client.on("close", () => say("disconnected"));
  client.on("message", (topic, payload, { qos, retain, dup, properties }) => {
    const flags = [qos, Number(retain), Number(dup)];
    say("message", topic, ...flags, toHex(payload), toWord(properties));
  });
}

const commands = {
  wish: (word) => (wishes = fromWord(word)),
  connect,
  // The library's own list of grants keeps the QoS that was asked for: read it from SUBACK.
  subscribe: (topic, qos, word) => {
    const { no_local, as_published, handling, ...properties } = fromWord(word);
    const options = { qos: Number(qos) };
    if (is5) Object.assign(options, { nl: !!no_local, rap: !!as_published, rh: handling ?? 0 });
    if (Object.keys(properties).length > 0) options.properties = properties;
    const granted = (_grants, suback) => ["subscribed", suback.granted[0]];
    client.subscribe(topic, options, report("subscribe", granted));
  },
  unsubscribe: (topic) => client.unsubscribe(topic, report("unsubscribe", () => ["unsubscribed"])),
  publish: (topic, qos, retain, payload, word) => {
    const options = { qos: Number(qos), retain: retain === "1" };
    if (is5) options.properties = fromWord(word);
    client.publish(topic === "-" ? "" : topic, fromHex(payload), options, (error) => {
      if (error?.code >= 0x80) say("refused", error.code);
      else report("publish", () => ["published"])(error);
    });
  },
  disconnect: () => client.end(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...words] = line.split(" ");
  commands[name](...words);
}
