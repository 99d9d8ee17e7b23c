//! Users come, go and change their passwords while others are connected.

use system_tests::client::mqtt::{MqttClient, Options, Version};
use system_tests::foreign::driver::mosquitto_pub_ends;
use system_tests::gateway::{Builder, Gateway};

fn with_users(users: &[(&str, &str)]) -> Builder {
    let tables = users.iter().map(|(name, password)| {
        format!("[[user]]\nname = \"{name}\"\npassword = \"{password}\"\n")
    });
    Gateway::builder()
        .listener("mqtt", "127.0.0.1:0", "allow_anonymous = false")
        .listener("mqtt", "127.0.0.1:0", "allow_anonymous = true")
        .text(&tables.collect::<String>())
}

fn user(client_id: &str, name: &str, password: &str) -> Options {
    MqttClient::options(client_id).user(name, Some(password))
}

/// A foreign client is the witness.
#[test]
fn a_new_password_counts_from_the_next_connect_on() {
    let mut gateway = with_users(&[("a", "old"), ("b", "same")]).start();
    let publish = |gateway: &Gateway, password: &str| {
        let args = ["-u", "a", "-P", password, "-q", "1", "-t", "t", "-m", password];
        mosquitto_pub_ends(gateway.mqtt(), &args)
    };
    let mut reader = user("reader", "a", "old").connect(gateway.mqtt());
    reader.subscribe("t", 1);
    let mut other = user("other", "b", "same").connect(gateway.mqtt());
    if publish(&gateway, "old").is_none() {
        return;
    }
    reader.expect_message("t", "old", 1);
    let log = gateway.reload(with_users(&[("a", "new"), ("b", "same")]));
    assert!(log.contains("user.password of \"a\": a password → another password"), "{log}");
    assert!(!log.contains("old") && !log.contains("new"), "secrets are not told:\n{log}");
    let refused = publish(&gateway, "old").expect("it was there").expect_err("another one counts");
    assert!(refused.contains("Connection Refused"), "{refused}");
    publish(&gateway, "new").expect("it was there").expect("it counts by now");
    // Who is connected stays.
    reader.expect_message("t", "new", 1);
    reader.publish("t", "self", 1);
    reader.expect_message("t", "self", 1);
    other.ping();
    user("other2", "b", "same").connect(gateway.mqtt()).disconnect();
}

/// 0x87 for a client that can be told.
#[test]
fn a_user_that_is_gone_is_disconnected_and_the_others_are_not() {
    let mut gateway = with_users(&[("a", "p"), ("b", "p")]).start();
    let mut five = user("five", "a", "p").version(Version::V5).connect(gateway.mqtt());
    let mut three = user("three", "a", "p").connect(gateway.mqtt());
    let mut stays = user("stays", "b", "p").version(Version::V5).connect(gateway.mqtt());
    let mut nameless = MqttClient::connect(gateway.endpoints("mqtt")[1], "nameless");
    gateway.reload(with_users(&[("b", "p")]));
    five.expect("E0 ?? 87 ...");
    five.expect_closed();
    three.expect_closed();
    stays.ping();
    nameless.ping();
    let mut again = MqttClient::open(gateway.mqtt());
    again.send_connect(&user("three", "a", "p"));
    again.expect("20 02 00 04");
    // A new user needs no restart either.
    gateway.reload(with_users(&[("b", "p"), ("c", "q")]));
    user("new", "c", "q").connect(gateway.mqtt()).disconnect();
    stays.ping();
}

#[test]
fn who_names_nobody_goes_where_a_name_is_needed_by_now() {
    let open = |allowed: bool| {
        Gateway::builder()
            .listener("mqtt", "127.0.0.1:0", &format!("allow_anonymous = {allowed}"))
            .text("[[user]]\nname = \"a\"\npassword = \"p\"")
    };
    let mut gateway = open(true).start();
    let mut nameless = MqttClient::connect(gateway.mqtt(), "nameless");
    let mut waiting = MqttClient::open(gateway.mqtt());
    let mut named = user("named", "a", "p").connect(gateway.mqtt());
    let log = gateway.reload(open(false));
    assert!(log.contains("listener.allow_anonymous of mqtt 127.0.0.1:0: true → false"), "{log}");
    nameless.expect_closed();
    named.ping();
    // It was accepted before, and says who it is only now.
    waiting.send_connect(&MqttClient::options("waiting"));
    waiting.expect("20 02 00 05");
    gateway.reload(open(true));
    MqttClient::connect(gateway.mqtt(), "nameless").ping();
    named.ping();
}

/// While nobody has to say who it is names are not looked at: such a client is nobody in
/// particular, and stays as long as those may.
#[test]
fn the_first_user_sends_nobody_away() {
    let builder = |text: &str| Gateway::builder().listener("mqtt", "127.0.0.1:0", "").text(text);
    let mut gateway = builder("").start();
    let mut early = user("early", "z", "whatever").connect(gateway.mqtt());
    gateway.reload(builder("[[user]]\nname = \"a\"\npassword = \"p\""));
    early.ping();
    let mut late = MqttClient::open(gateway.mqtt());
    late.send_connect(&user("late", "z", "whatever"));
    late.expect("20 02 00 04");
}
