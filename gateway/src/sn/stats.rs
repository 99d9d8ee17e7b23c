//! Counters of the MQTT-SN side.

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnStats {
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Octets of these.
    pub bytes_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Octets of these.
    pub bytes_sent: u64,
    /// Datagrams that could not even wait to be sent: too many did already.
    pub datagrams_dropped: u64,
    /// Datagrams that are no MQTT-SN message.
    pub malformed: u64,
    /// Messages that a gateway never receives, or that fit to nothing.
    pub ignored: u64,
    /// Requests from senders without a session.
    pub unknown_sender: u64,
    /// DISCONNECTs that these were answered with.
    pub unknown_answered: u64,
    /// Encapsulated messages from somebody who is no forwarder of ours, or one node too many.
    pub forwarder_refused: u64,
    /// SEARCHGW received.
    pub searches: u64,
    /// GWINFO sent.
    pub searches_answered: u64,
    /// ADVERTISE sent, one per port.
    pub advertised: u64,
    /// QoS −1 messages published.
    pub unconnected_published: u64,
    /// QoS −1 messages dropped: unknown topic, switched off, or too many.
    pub unconnected_dropped: u64,
    /// Publications that were received again and only acknowledged again.
    pub duplicates: u64,
    /// Messages that were sent again because no answer came.
    pub retransmissions: u64,
    /// Messages given up although the client is there: it does not answer this one.
    pub given_up: u64,
    /// REGISTER sent.
    pub registers_sent: u64,
    /// Handshakes that were not finished in time.
    pub handshakes_expired: u64,
    /// Handshakes refused because too many wait.
    pub handshakes_refused: u64,
    /// CONNECTs refused because the owner of the client id answered, or sessions moved too often.
    pub takeovers_refused: u64,
    /// Visits of sleeping clients.
    pub visits: u64,
    /// Visits that ended because the client fell silent.
    pub visits_broken: u64,
    /// Sleeping sessions that moved to another address.
    pub rebinds: u64,
}

/// How many clients are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnUsage {
    /// Connected and awake all the time.
    pub active: usize,
    /// Asleep.
    pub asleep: usize,
    /// Collecting their messages.
    pub awake: usize,
    /// Without a link: disconnected or lost, with a session that waits for them.
    pub gone: usize,
    /// Handshakes that are not finished.
    pub handshakes: usize,
    /// The most topic ids that any one client has been given.
    pub topic_ids_max: usize,
    /// An estimate of the memory held, in octets.
    pub memory_bytes: usize,
}
