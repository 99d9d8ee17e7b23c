//! What kinds of sensors there are, and how a world draws its own.

use fastrand::Rng;

/// How a sensor says its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicForm {
    Name,
    Short,
    Predefined,
}

/// The filters that a sensor can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// `c/ID`.
    Own,
    /// `c/all`.
    All,
    /// `c/+`.
    Commands,
    /// `c/gN/#`, N being its group.
    Group,
    /// `r/#`, which is retained.
    Retained,
    /// A short name that MQTT clients publish to.
    Short,
    /// A predefined topic that MQTT clients publish to.
    Predefined,
}

const WISHES: [Wish; 7] = [
    Wish::Own,
    Wish::All,
    Wish::Commands,
    Wish::Group,
    Wish::Retained,
    Wish::Short,
    Wish::Predefined,
];

/// What sensors of one kind have in common.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// Of what it publishes; 3 stands for −1.
    pub(crate) qos: u8,
    pub(crate) topic: TopicForm,
    /// Every so many publications one is retained; 0: none.
    pub(crate) retain_every: u32,
    /// Publications to be made, and the time between two.
    pub(crate) goal: u32,
    pub(crate) interval_ms: u64,
    pub(crate) padding_max: usize,
    pub(crate) keep_alive_s: u16,
    /// Looks for its gateway before it connects, and again when it has lost it.
    pub(crate) searches: bool,
    pub(crate) clean: bool,
    /// QoS and retain flag.
    pub(crate) will: Option<(u8, bool)>,
    /// Changes or deletes its will now and then.
    pub(crate) changes_will: bool,
    /// Sleeps so long between two visits; 0: it does not sleep.
    pub(crate) sleep_s: u16,
    /// Stays awake so long after it has connected.
    pub(crate) awake_ms: u64,
    pub(crate) retry_ms: u64,
    pub(crate) retries: u8,
    /// Says now and then that it sleeps on, instead of a visit.
    pub(crate) sleeps_on: bool,
    /// Registers its topic again now and then.
    pub(crate) registers_again: bool,
    /// Connects without a will to keep the one that it has.
    pub(crate) keeps_will: bool,
    /// What it subscribes to, and the QoS.
    pub(crate) wishes: Vec<(Wish, u8)>,
    /// Gives its subscriptions up now and then and asks for them again.
    pub(crate) is_fickle: bool,
}

/// What a profile wants of its kinds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taste {
    /// Shares out of a hundred.
    pub(crate) sleepers: u32,
    pub(crate) listeners: u32,
    pub(crate) wills: u32,
    pub(crate) clean: u32,
    /// Only QoS 1, nothing else.
    pub(crate) is_plain: bool,
}

fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(..100) < percent
}

impl Kind {
    pub(crate) fn draw(rng: &mut Rng, taste: Taste, minutes: u32) -> Self {
        let run_ms = u64::from(minutes) * 60_000;
        let interval_ms = rng.u64(run_ms / 40..=run_ms / 4).max(2_000);
        let qos = if taste.is_plain { 1 } else { [0, 1, 1, 2, 2, 3][rng.usize(..6)] };
        let sleeps = qos < 3 && chance(rng, taste.sleepers);
        let listens = qos < 3 && chance(rng, taste.listeners);
        let topic = match rng.u32(..4) {
            0 => TopicForm::Short,
            1 => TopicForm::Predefined,
            _ if qos == 3 => TopicForm::Short,
            _ => TopicForm::Name,
        };
        let topic = if taste.is_plain { TopicForm::Name } else { topic };
        let is_own = topic == TopicForm::Name && qos > 0;
        let retry_ms = rng.u64(2_000..=12_000);
        let will = chance(rng, taste.wills).then(|| (rng.u8(0..3), rng.bool()));
        Self {
            qos,
            topic,
            retain_every: if is_own && chance(rng, 40) { rng.u32(1..4) } else { 0 },
            goal: u32::try_from(run_ms * 3 / 4 / interval_ms).unwrap_or(u32::MAX).max(1),
            interval_ms,
            padding_max: if chance(rng, 20) { rng.usize(0..300) } else { rng.usize(0..20) },
            keep_alive_s: if chance(rng, 10) { 0 } else { rng.u16(20..=120) },
            searches: qos < 3 && chance(rng, 30),
            clean: chance(rng, taste.clean),
            will,
            changes_will: will.is_some() && qos < 3 && chance(rng, 50),
            sleep_s: if sleeps { rng.u16(10..=90) } else { 0 },
            awake_ms: rng.u64(0..=10_000),
            retry_ms,
            retries: rng.u8(3..=5),
            sleeps_on: chance(rng, 30),
            registers_again: chance(rng, 30),
            keeps_will: will.is_some() && chance(rng, 40),
            wishes: if listens { draw_wishes(rng) } else { Vec::new() },
            is_fickle: listens && chance(rng, 20),
        }
    }

    /// One publication of QoS 1 now and then, and nothing else: what there are a million of.
    pub(crate) fn plain(interval_ms: u64, minutes: u32) -> Self {
        let run_ms = u64::from(minutes) * 60_000;
        Self {
            qos: 1,
            topic: TopicForm::Name,
            retain_every: 0,
            goal: u32::try_from(run_ms / interval_ms).unwrap_or(u32::MAX).max(2) - 1,
            interval_ms,
            padding_max: 8,
            keep_alive_s: 300,
            searches: false,
            clean: false,
            will: None,
            changes_will: false,
            sleep_s: 0,
            awake_ms: 0,
            retry_ms: 10_000,
            retries: 4,
            sleeps_on: false,
            registers_again: false,
            keeps_will: false,
            wishes: Vec::new(),
            is_fickle: false,
        }
    }

    pub(crate) const fn sleeps(&self) -> bool {
        self.sleep_s > 0
    }

    /// Publishes without ever connecting.
    pub(crate) const fn is_unconnected(&self) -> bool {
        self.qos == 3
    }
}

fn draw_wishes(rng: &mut Rng) -> Vec<(Wish, u8)> {
    let mut wishes = WISHES.to_vec();
    rng.shuffle(&mut wishes);
    wishes.truncate(rng.usize(1..=4));
    wishes.into_iter().map(|wish| (wish, rng.u8(0..3))).collect()
}
