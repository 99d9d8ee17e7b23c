//! MQTT clients over TCP.

use system_tests::foreign::driver::Library;
use system_tests::gateway::Gateway;
use system_tests::scenario::{self, Scenario};

fn check(library: Library, scenario: Scenario) {
    scenario(library, Gateway::start().mqtt());
}

macro_rules! scenarios {
    ($($module:ident: $library:expr,)*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn publishes_at_every_qos() {
                check($library, scenario::publish);
            }

            #[test]
            fn subscribes_at_every_qos() {
                check($library, scenario::subscribe);
            }

            #[test]
            fn keeps_and_clears_retained_messages() {
                check($library, scenario::retained);
            }

            #[test]
            fn leaves_a_will_only_if_it_vanishes() {
                check($library, scenario::will);
            }

            #[test]
            fn finds_its_session_again() {
                check($library, scenario::kept_session);
            }
        }
    )*};
}

scenarios! {
    paho_mqtt: Library::PahoMqtt,
    mqtt_js: Library::MqttJs,
}

#[test]
fn the_mosquitto_tools_publish_subscribe_and_leave_a_will() {
    scenario::mosquitto_tools(Gateway::start().mqtt());
}
