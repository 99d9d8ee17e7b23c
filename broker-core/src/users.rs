//! The users that a configuration names, and what each of them has to show.
//!
//! Of a password only a [`Verifier`] is kept, for both ways in: SCRAM, and a user name with a
//! password in CONNECT. The latter would cost thousands of hashes each time, and whoever sends
//! wrong passwords by the thousand would stall everybody else. So:
//!
//! - Of a password that is known to be right a tag is kept, made with a secret of this process.
//!   Comparing tags costs one hash, and tells a wrong password as surely as a right one. Passwords
//!   that the configuration spells out have their tag from the beginning, and users with a verifier
//!   from the first time that they came in.
//! - What is left, users with a verifier who have not come in yet, is checked only so often: a few
//!   times a second for all together and about once a second for each. In between they are told
//!   that the server is busy. A flood under one name keeps out nobody but that name, and only
//!   until its owner has come in once.
//!
//! Somebody unknown is treated in SCRAM like a user with a wrong password. With a password in
//! CONNECT, only a user whose verifier has to be computed takes longer to be refused than somebody
//! unknown; who wants to hide even that spells the password out.

use core::time::Duration;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::ConstantTimeEq as _;

use crate::auth::{Authenticator, Exchange, Step};
use crate::reason::ReasonCode;
use crate::scram::{self, ClientFirst, ITERATIONS_DEFAULT, Verifier, hmac};
use crate::time::Instant;

/// Verifiers checked in a row by a password, and the time until another one may be: of all users,
/// and of one. With the usual number of iterations that is a hundredth or two of the loop's time,
/// with the greatest a tenth or two.
const CHECKS_OF_ALL: Bounds = Bounds { burst: 20, pause: Duration::from_millis(50) };
const CHECKS_OF_ONE: Bounds = Bounds { burst: 5, pause: Duration::from_secs(1) };

/// Octets of a salt, and of our half of a nonce.
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 18;

/// Who may come in.
pub struct Users {
    /// Known to this process alone: makes tags, nonces and salts.
    secret: [u8; 32],
    users: BTreeMap<Box<str>, User>,
    lets_anonymous_in: bool,
    nonces: u64,
    checks: Allowance,
}

#[derive(Debug)]
struct User {
    verifier: Verifier,
    /// Of the right password, once it is known.
    tag: Option<[u8; 32]>,
    checks: Allowance,
}

/// What a user has to show.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// This password.
    Password(&'a [u8]),
    /// The password of this verifier.
    Verifier(&'a Verifier),
}

impl Users {
    /// Nobody is known, and those who do not say who they are may come in. While there are no users
    /// at all, user names are not looked at. The secret comes from the machine's source of random
    /// numbers.
    pub const fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            users: BTreeMap::new(),
            lets_anonymous_in: true,
            nonces: 0,
            checks: Allowance::new(CHECKS_OF_ALL),
        }
    }

    /// Whether clients without a user name may come in.
    pub const fn set_anonymous(&mut self, may_come_in: bool) {
        self.lets_anonymous_in = may_come_in;
    }

    /// Adds a user; `false` if there is one with this name. A password costs as much as
    /// [`Verifier::derive`].
    pub fn add(&mut self, name: &str, credential: Credential<'_>) -> bool {
        let salt = self.salt(name);
        let Entry::Vacant(place) = self.users.entry(name.into()) else { return false };
        let (verifier, tag) = match credential {
            Credential::Password(password) => {
                let verifier = Verifier::derive(password, &salt, ITERATIONS_DEFAULT);
                (verifier, Some(tag(&self.secret, password)))
            }
            Credential::Verifier(verifier) => (verifier.clone(), None),
        };
        place.insert(User { verifier, tag, checks: Allowance::new(CHECKS_OF_ONE) });
        true
    }

    /// Nobody yet, with the same secret: to be filled, perhaps on another thread, and then to take
    /// over by [`Users::replace`].
    pub const fn successor(&self) -> Self {
        Self::new(self.secret)
    }

    /// From now on those of `new` may come in, and those of the present users that `is_kept` names,
    /// with what is known of their passwords. For everybody else it is as if they had never been
    /// there, also in an exchange that has begun.
    pub fn replace(&mut self, new: Self, is_kept: impl Fn(&str) -> bool) {
        let old = core::mem::replace(&mut self.users, new.users);
        for (name, user) in old.into_iter().filter(|(name, _)| is_kept(name)) {
            self.users.entry(name).or_insert(user);
        }
    }

    /// Whether user names are looked at.
    pub fn asks_names(&self) -> bool {
        !(self.users.is_empty() && self.lets_anonymous_in)
    }

    /// Whether there is a user with this name.
    pub fn contains(&self, name: &str) -> bool {
        self.users.contains_key(name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// A salt that belongs to a name, whether there is such a user or not.
    fn salt(&self, name: &str) -> [u8; SALT_BYTES] {
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&hmac(&self.secret, &[b"salt", name.as_bytes()])[..SALT_BYTES]);
        salt
    }

    /// Our half of a nonce: nobody without the secret can tell the next one.
    fn nonce(&mut self) -> String {
        self.nonces += 1;
        let octets = hmac(&self.secret, &[b"nonce", &self.nonces.to_be_bytes()]);
        BASE64.encode(&octets[..NONCE_BYTES])
    }

    fn challenge(&mut self, data: &[u8]) -> Result<Step, ReasonCode> {
        let first = ClientFirst::read(data).ok_or(ReasonCode::NotAuthorized)?;
        let nonce = self.nonce();
        let known = self.users.get(&*first.user).map(|user| user.verifier.clone());
        let is_known = known.is_some();
        let verifier = known.unwrap_or_else(|| {
            Verifier::unknowable(&self.salt(&first.user), &hmac(&self.secret, &[nonce.as_bytes()]))
        });
        let (data, exchange) = Exchange::challenge(&first, verifier, is_known, &nonce);
        Ok(Step::Challenge { data, exchange })
    }
}

impl Authenticator for Users {
    fn check(
        &mut self,
        now: Instant,
        user_name: Option<&str>,
        password: Option<&[u8]>,
    ) -> Result<(), ReasonCode> {
        if !self.asks_names()
            || (user_name.is_none() && password.is_none() && self.lets_anonymous_in)
        {
            return Ok(());
        }
        let Some(user_name) = user_name else { return Err(ReasonCode::NotAuthorized) };
        let password = password.unwrap_or_default();
        // Made before it is known whether it is needed: somebody unknown costs as much.
        let shown = tag(&self.secret, password);
        let refused = Err(ReasonCode::BadUserNameOrPassword);
        let Some(user) = self.users.get_mut(user_name) else { return refused };
        if let Some(tag) = &user.tag {
            return if bool::from(tag.ct_eq(&shown)) { Ok(()) } else { refused };
        }
        if !user.checks.is_left(now) || !self.checks.is_left(now) {
            return Err(ReasonCode::ServerBusy);
        }
        user.checks.take(now);
        self.checks.take(now);
        if !user.verifier.is_of(password) {
            return refused;
        }
        user.tag = Some(shown);
        Ok(())
    }

    /// SCRAM-SHA-256, if there are users.
    fn begin(&mut self, method: &str, data: Option<&[u8]>) -> Result<Step, ReasonCode> {
        if method != scram::METHOD || self.users.is_empty() {
            return Err(ReasonCode::BadAuthenticationMethod);
        }
        match data {
            Some(data) => self.challenge(data),
            None => Ok(Step::Challenge { data: Vec::new(), exchange: Exchange::named() }),
        }
    }

    fn go_on(&mut self, exchange: Exchange, data: Option<&[u8]>) -> Result<Step, ReasonCode> {
        let data = data.unwrap_or_default();
        if exchange.is_named() {
            return self.challenge(data);
        }
        // Users may have changed since it began.
        let is_current = exchange.subject().is_some_and(|(name, verifier)| {
            self.users.get(name).is_some_and(|user| user.verifier == *verifier)
        });
        let done = exchange.finish(data).filter(|_| is_current);
        let (user, data) = done.ok_or(ReasonCode::NotAuthorized)?;
        Ok(Step::Done { user, data })
    }
}

/// Secrets stay out of logs.
impl core::fmt::Debug for Users {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Users({}, anonymous: {})", self.users.len(), self.lets_anonymous_in)
    }
}

fn tag(secret: &[u8; 32], password: &[u8]) -> [u8; 32] {
    hmac(secret, &[b"password", password])
}

/// How often something may be done.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    burst: u32,
    pause: Duration,
}

/// What is left of it: each use takes the pause, which passes with time, and a burst of them fits.
#[derive(Debug)]
struct Allowance {
    bounds: Bounds,
    /// When all of it will be there again.
    whole_at: Instant,
}

impl Allowance {
    const fn new(bounds: Bounds) -> Self {
        Self { bounds, whole_at: Instant(0) }
    }

    fn is_left(&self, now: Instant) -> bool {
        self.whole_at <= now + self.bounds.pause * (self.bounds.burst - 1)
    }

    fn take(&mut self, now: Instant) {
        self.whole_at = self.whole_at.max(now) + self.bounds.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scram::ITERATIONS_MIN;

    const NOW: Instant = Instant::from_secs(100);

    fn users(names: &[&str]) -> Users {
        let mut users = Users::new([7; 32]);
        for name in names {
            let verifier = Verifier::derive(b"pencil", b"salt", ITERATIONS_MIN);
            assert!(users.add(name, Credential::Verifier(&verifier)));
        }
        users
    }

    fn check(users: &mut Users, now: Instant, name: &str, password: &[u8]) -> Option<ReasonCode> {
        users.check(now, Some(name), Some(password)).err()
    }

    #[test]
    fn a_user_comes_in_with_the_right_password_only() {
        let mut users = users(&["hashed"]);
        assert!(users.add("spelt", Credential::Password(b"pencil")));
        assert!(!users.add("spelt", Credential::Password(b"other")), "the name is taken");
        let wrong = Some(ReasonCode::BadUserNameOrPassword);
        for name in ["hashed", "spelt"] {
            assert_eq!(check(&mut users, NOW, name, b"pencils"), wrong);
            assert_eq!(check(&mut users, NOW, name, b""), wrong);
            assert_eq!(users.check(NOW, Some(name), None).err(), wrong);
            assert_eq!(check(&mut users, NOW, name, b"pencil"), None);
        }
        assert_eq!(check(&mut users, NOW, "nobody", b"pencil"), wrong);
    }

    #[test]
    fn those_who_do_not_say_who_they_are_come_in_unless_that_is_forbidden() {
        let mut users = Users::new([7; 32]);
        assert_eq!(users.check(NOW, None, None), Ok(()));
        assert_eq!(users.check(NOW, Some("any"), Some(b"thing")), Ok(()), "there are no users");
        assert!(users.add("a", Credential::Password(b"b")));
        assert_eq!(users.check(NOW, None, None), Ok(()));
        users.set_anonymous(false);
        assert_eq!(users.check(NOW, None, None), Err(ReasonCode::NotAuthorized));
        // A token without a name is nobody's.
        assert_eq!(users.check(NOW, None, Some(b"b")), Err(ReasonCode::NotAuthorized));
    }

    /// What costs is bounded; what is known costs nothing.
    #[test]
    fn a_flood_of_passwords_keeps_out_nobody_who_came_in_before() {
        let names = (0..10).map(|n| format!("user{n}")).collect::<Vec<_>>();
        let mut users = users(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(check(&mut users, NOW, "user0", b"pencil"), None);
        let later = NOW + Duration::from_secs(60);
        let mut busy = 0;
        for name in &names[1..] {
            for _ in 0..10 {
                let answer = check(&mut users, later, name, b"guess");
                busy += usize::from(answer == Some(ReasonCode::ServerBusy));
            }
        }
        assert_eq!(busy, 90 - 20, "a burst of checks for all");
        assert_eq!(check(&mut users, later, "user0", b"pencil"), None);
        let wrong = Some(ReasonCode::BadUserNameOrPassword);
        assert_eq!(check(&mut users, later, "user0", b"guess"), wrong);
        assert_eq!(check(&mut users, later, "nobody", b"guess"), wrong);
        // One name is exhausted, and it is its turn again after a second; the others go on.
        let later = later + Duration::from_secs(60);
        let answers = (0..6).map(|_| check(&mut users, later, "user1", b"guess"));
        assert_eq!(answers.filter(|answer| *answer == wrong).count(), 5);
        assert_eq!(check(&mut users, later, "user2", b"pencil"), None);
        let later = later + Duration::from_secs(1);
        assert_eq!(check(&mut users, later, "user1", b"pencil"), None);
    }

    /// [MQTT5-4.12.0-1]
    #[test]
    fn the_method_is_there_if_there_are_users() {
        let unknown = Err(ReasonCode::BadAuthenticationMethod);
        let begin = |users: &mut Users, method| users.begin(method, None).map(|_| ());
        assert_eq!(begin(&mut Users::new([7; 32]), scram::METHOD), unknown);
        assert_eq!(begin(&mut users(&["a"]), scram::METHOD), Ok(()));
        assert_eq!(begin(&mut users(&["a"]), "SCRAM-SHA-1"), unknown);
    }

    #[test]
    fn others_take_over_and_those_that_stay_have_lost_nothing() {
        let mut users = users(&["stays", "goes", "changes"]);
        assert_eq!(check(&mut users, NOW, "stays", b"pencil"), None);
        let mut next = users.successor();
        assert!(next.add("changes", Credential::Password(b"crayon")));
        assert!(next.add("comes", Credential::Password(b"crayon")));
        users.replace(next, |name| name == "stays");
        let wrong = Some(ReasonCode::BadUserNameOrPassword);
        assert_eq!(check(&mut users, NOW, "goes", b"pencil"), wrong);
        assert_eq!(check(&mut users, NOW, "changes", b"pencil"), wrong);
        assert_eq!(check(&mut users, NOW, "changes", b"crayon"), None);
        assert_eq!(check(&mut users, NOW, "comes", b"crayon"), None);
        assert!(users.users["stays"].tag.is_some(), "its password is known still");
        assert_eq!((users.len(), users.contains("goes")), (3, false));
        users.replace(users.successor(), |_| false);
        assert!(users.is_empty() && !users.asks_names());
    }

    #[test]
    fn nobody_learns_who_has_an_account_and_no_nonce_comes_twice() {
        let mut users = Users::new([7; 32]);
        assert!(users.add("a", Credential::Password(b"b")));
        let mut challenge = |first: &[u8]| match users.begin(scram::METHOD, Some(first)) {
            Ok(Step::Challenge { data, .. }) => String::from_utf8(data).expect("it is text"),
            other => panic!("{other:?}"),
        };
        let known = challenge(b"n,,n=a,r=x");
        let unknown = challenge(b"n,,n=z,r=x");
        assert_eq!(known.len(), unknown.len());
        let salt = |text: &str| text.split_once(",s=").map(|(_, salt)| salt.to_owned());
        assert_eq!(salt(&unknown), salt(&challenge(b"n,,n=z,r=x")));
        assert_ne!(salt(&known), salt(&unknown));
        assert_ne!(known, challenge(b"n,,n=a,r=x"));
        assert!(!format!("{users:?}").contains("[7"), "the secret stays secret");
    }
}
