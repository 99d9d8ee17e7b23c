//! What the server knows of a password: enough to check it, not enough to be somebody.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::METHOD;

/// Iterations that a verifier has at least (RFC 7677).
pub const ITERATIONS_MIN: u32 = 4_096;

/// Iterations of verifiers that are made from configured passwords.
pub const ITERATIONS_DEFAULT: u32 = ITERATIONS_MIN;

/// Iterations that a verifier has at most: to check a password in CONNECT costs the server all of
/// them at once, and while it counts nobody else is served. This many are about ten milliseconds
/// on a small machine.
pub const ITERATIONS_MAX: u32 = 32_768;

/// Octets of a salt.
const SALT_BYTES_MAX: usize = 64;

pub(super) type Digest32 = [u8; 32];

/// Salt, iterations, stored key and server key of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: u32,
    salt: Box<[u8]>,
    stored_key: Digest32,
    server_key: Digest32,
}

/// What is wrong with a verifier in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifierError {
    /// It is not `SCRAM-SHA-256$iterations:salt$stored-key:server-key`.
    Form,
    /// Salt or keys are not base64, or do not have their length.
    Octets,
    /// Fewer than [`ITERATIONS_MIN`] or more than [`ITERATIONS_MAX`] iterations.
    Iterations,
}

impl fmt::Display for VerifierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => {
                write!(f, "a verifier reads {METHOD}$iterations:salt$stored-key:server-key")
            }
            Self::Octets => f.write_str(
                "salt and keys of a verifier are base64, the salt of 1 to 64 octets, the keys of 32",
            ),
            Self::Iterations => {
                write!(f, "a verifier has {ITERATIONS_MIN} to {ITERATIONS_MAX} iterations")
            }
        }
    }
}

impl core::error::Error for VerifierError {}

impl Verifier {
    /// That of a password. Costs `iterations`, about a third of a microsecond each.
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations);
        Self {
            iterations,
            salt: salt.into(),
            stored_key: sha256(&hmac(&salted, &[b"Client Key"])),
            server_key: hmac(&salted, &[b"Server Key"]),
        }
    }

    /// Reads the form that [`Verifier`] is displayed in, which PostgreSQL uses, too.
    ///
    /// # Errors
    /// It is not one, or has too few or too many iterations.
    pub fn parse(text: &str) -> Result<Self, VerifierError> {
        let mut parts = text.split('$');
        let (Some(METHOD), Some(cost), Some(keys), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(VerifierError::Form);
        };
        let (iterations, salt) = cost.split_once(':').ok_or(VerifierError::Form)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(VerifierError::Form)?;
        let iterations = iterations.parse().map_err(|_| VerifierError::Form)?;
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(VerifierError::Iterations);
        }
        let octets = |text: &str| BASE64.decode(text).map_err(|_| VerifierError::Octets);
        let key = |text: &str| octets(text)?.try_into().map_err(|_| VerifierError::Octets);
        let salt = octets(salt)?;
        if !(1..=SALT_BYTES_MAX).contains(&salt.len()) {
            return Err(VerifierError::Octets);
        }
        Ok(Self {
            iterations,
            salt: salt.into(),
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }

    /// That of no password that anybody knows, for somebody who is not known either.
    pub(crate) fn unknowable(salt: &[u8], key: &[u8; 32]) -> Self {
        Self {
            iterations: ITERATIONS_DEFAULT,
            salt: salt.into(),
            stored_key: sha256(key),
            server_key: sha256(key),
        }
    }

    /// Whether this is the password. Costs as much as [`Verifier::derive`].
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        let other = Self::derive(password, &self.salt, self.iterations);
        self.stored_key.ct_eq(&other.stored_key).into()
    }

    pub(crate) const fn iterations(&self) -> u32 {
        self.iterations
    }

    pub(super) const fn salt(&self) -> &[u8] {
        &self.salt
    }

    pub(super) const fn stored_key(&self) -> &Digest32 {
        &self.stored_key
    }

    pub(super) const fn server_key(&self) -> &Digest32 {
        &self.server_key
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored_key, server_key] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|part| BASE64.encode(part));
        write!(f, "{METHOD}${}:{salt}${stored_key}:{server_key}", self.iterations)
    }
}

/// Keys stay out of logs.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({METHOD}, {} iterations)", self.iterations)
    }
}

/// HMAC-SHA-256 of some parts in a row.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Digest32 {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

pub(super) fn sha256(octets: &[u8]) -> Digest32 {
    Sha256::digest(octets).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_reads_back_and_knows_its_password() {
        let verifier = Verifier::derive(b"pencil", b"sixteen octets !", ITERATIONS_MIN);
        let text = verifier.to_string();
        assert!(text.starts_with("SCRAM-SHA-256$4096:c2l4dGVlbiBvY3RldHMgIQ==$"), "{text}");
        let read = Verifier::parse(&text).expect("it was written by us");
        assert_eq!(read, verifier);
        assert!(read.is_of(b"pencil"));
        assert!(!read.is_of(b"pencil "));
        assert!(!format!("{read:?}").contains("c2l4"), "{read:?}");
    }

    #[test]
    fn what_is_no_verifier_is_refused() {
        let key = BASE64.encode([7; 32]);
        let check = |text: &str, expect| {
            assert_eq!(Verifier::parse(&text.replace("KEY", &key)), Err(expect), "{text}");
        };
        check("", VerifierError::Form);
        check("SCRAM-SHA-1$4096:c2FsdA==$KEY:KEY", VerifierError::Form);
        check("SCRAM-SHA-256$4096:c2FsdA==$KEY", VerifierError::Form);
        check("SCRAM-SHA-256$4096:c2FsdA==$KEY:KEY$", VerifierError::Form);
        check("SCRAM-SHA-256$many:c2FsdA==$KEY:KEY", VerifierError::Form);
        check("SCRAM-SHA-256$4095:c2FsdA==$KEY:KEY", VerifierError::Iterations);
        check("SCRAM-SHA-256$32769:c2FsdA==$KEY:KEY", VerifierError::Iterations);
        check("SCRAM-SHA-256$4096:$KEY:KEY", VerifierError::Octets);
        check("SCRAM-SHA-256$4096:!$KEY:KEY", VerifierError::Octets);
        check("SCRAM-SHA-256$4096:c2FsdA==$KEY:c2FsdA==", VerifierError::Octets);
    }
}
