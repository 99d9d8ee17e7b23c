//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side.
//!
//! client-first `n,,n=user,r=…` → server-first `r=…,s=salt,i=iterations` → client-final
//! `c=biws,r=…,p=proof` → server-final `v=signature`. The client shows that it knows the password,
//! the server that it knows the verifier; neither goes over the wire.
//!
//! Channel binding is not served: what is below a connection is not known here, so the header of
//! the client is `n,,` and nothing else. User names and passwords are compared as they are, without
//! the normalisation of SASLprep, which leaves ASCII as it is.

mod message;
mod verifier;

pub use verifier::{ITERATIONS_DEFAULT, ITERATIONS_MAX, ITERATIONS_MIN, Verifier, VerifierError};

pub(crate) use message::ClientFirst;
pub(crate) use verifier::hmac;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::ConstantTimeEq as _;

use message::ClientFinal;
use verifier::{Digest32, sha256};

/// The authentication method of MQTT 5.0.
pub const METHOD: &str = "SCRAM-SHA-256";

/// An exchange that has begun.
#[derive(Debug)]
pub struct Exchange(Stage);

#[derive(Debug)]
enum Stage {
    /// The client has named the method and not said anything yet.
    Named,
    /// It was sent server-first.
    Challenged(Box<Challenged>),
}

#[derive(Debug)]
struct Challenged {
    user: Box<str>,
    /// Whether there is such a user: the exchange goes its way either way, so that nobody learns
    /// who has an account.
    is_known: bool,
    verifier: Verifier,
    /// The client's and ours.
    nonce: String,
    /// What both ends sign, but for the client's last message.
    transcript: String,
}

impl Exchange {
    /// The client's first message is still to come.
    pub(crate) const fn named() -> Self {
        Self(Stage::Named)
    }

    /// Whether the client's first message is still to come.
    pub(crate) const fn is_named(&self) -> bool {
        matches!(self.0, Stage::Named)
    }

    /// Whom it is about, and what the client's proof will be compared with.
    pub(crate) fn subject(&self) -> Option<(&str, &Verifier)> {
        match &self.0 {
            Stage::Named => None,
            Stage::Challenged(challenged) => Some((&challenged.user, &challenged.verifier)),
        }
    }

    /// Answers client-first with server-first.
    pub(crate) fn challenge(
        first: &ClientFirst<'_>,
        verifier: Verifier,
        is_known: bool,
        server_nonce: &str,
    ) -> (Vec<u8>, Self) {
        let nonce = format!("{}{server_nonce}", first.nonce);
        let salt = BASE64.encode(verifier.salt());
        let server_first = format!("r={nonce},s={salt},i={}", verifier.iterations());
        let transcript = format!("{},{server_first}", first.bare);
        let user = first.user.clone().into_boxed_str();
        let challenged = Challenged { user, is_known, verifier, nonce, transcript };
        (server_first.into_bytes(), Self(Stage::Challenged(Box::new(challenged))))
    }

    /// Judges client-final: who the client is, and server-final for it. `None`: it does not know
    /// the password, or does not keep to the method.
    pub(crate) fn finish(self, data: &[u8]) -> Option<(Box<str>, Vec<u8>)> {
        let Stage::Challenged(challenged) = self.0 else { return None };
        let Challenged { user, is_known, verifier, nonce, transcript } = *challenged;
        let last = ClientFinal::read(data, &nonce)?;
        let message = format!("{transcript},{}", last.without_proof);
        let signature = hmac(verifier.stored_key(), &[message.as_bytes()]);
        let mut client_key: Digest32 = last.proof;
        client_key.iter_mut().zip(signature).for_each(|(key, octet)| *key ^= octet);
        let is_right = sha256(&client_key).ct_eq(verifier.stored_key());
        if !bool::from(is_right) || !is_known {
            return None;
        }
        let server_signature = hmac(verifier.server_key(), &[message.as_bytes()]);
        Some((user, format!("v={}", BASE64.encode(server_signature)).into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const FINAL: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
          p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    /// The example of RFC 7677.
    fn begin(is_known: bool) -> (Vec<u8>, Exchange) {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("it is base64");
        let verifier = Verifier::derive(b"pencil", &salt, 4096);
        let first = ClientFirst::read(FIRST).expect("a good message");
        Exchange::challenge(&first, verifier, is_known, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    }

    #[test]
    fn the_example_of_the_rfc_goes_through() {
        let (server_first, exchange) = begin(true);
        assert_eq!(
            String::from_utf8_lossy(&server_first),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let (user, server_final) = exchange.finish(FINAL).expect("the right password");
        assert_eq!(&*user, "user");
        assert_eq!(server_final, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn what_is_not_the_right_proof_is_refused() {
        for at in 0..FINAL.len() {
            let mut wrong = FINAL.to_vec();
            wrong[at] ^= 1;
            assert!(begin(true).1.finish(&wrong).is_none(), "{}", String::from_utf8_lossy(&wrong));
            assert!(begin(true).1.finish(&FINAL[..at]).is_none());
        }
        assert!(Exchange::named().finish(FINAL).is_none());
    }

    /// Not even with the right password of the verifier that stands in for it.
    #[test]
    fn somebody_unknown_is_refused_at_the_end() {
        assert!(begin(false).1.finish(FINAL).is_none());
    }
}
