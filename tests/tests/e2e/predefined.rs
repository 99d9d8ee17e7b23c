//! Predefined topics in the spellings that users own already.

use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::{SnClient, Topic};
use system_tests::gateway::Gateway;

/// The same topics in each of them: one for every client, and one that is another's at `node7`.
const SPELLINGS: [(&str, &str); 3] = [
    ("paho.conf", "*, plant/temperature, 1\n*, plant/hall, 2\nnode7, plant/hall7, 2\n"),
    ("triples.txt", "plant/temperature;1\nplant/hall;2\nnode7;plant/hall7;2\n"),
    (
        "bisquitt.yaml",
        "\"*\":\n  1: plant/temperature\n  2: plant/hall\nnode7:\n  2: plant/hall7\n",
    ),
];

/// SN-012, SN-068: each is usable both ways, for publishing and for subscribing.
#[test]
fn files_of_every_spelling_are_served() {
    for (name, text) in SPELLINGS {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join(name);
        std::fs::write(&file, text).expect("the folder is ours");
        let key = format!("predefined_file = \"{}\"", file.display());
        let gateway = Gateway::builder().mqtt_sn(&key).start();
        let mut mqtt = MqttClient::connect(gateway.mqtt(), "observer");
        mqtt.subscribe("plant/#", 1);
        for (client, hall) in [("node6", "plant/hall"), ("node7", "plant/hall7")] {
            let mut sn = SnClient::connect(gateway.mqtt_sn(), client);
            for (id, topic) in [(1, "plant/temperature"), (2, hall)] {
                sn.publish(Topic::Predefined(id), "up", 1);
                mqtt.expect_message(topic, "up", 1);
                sn.subscribe(Topic::Predefined(id), 1);
                mqtt.publish(topic, "down", 1);
                mqtt.expect_message(topic, "down", 1);
                let came = sn.next_message();
                assert_eq!(came.text(), "down", "{name}: {client}: {id}");
            }
            sn.disconnect();
        }
    }
}
