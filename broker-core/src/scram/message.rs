//! The two messages of a client.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::verifier::Digest32;

/// Without channel binding, and not on behalf of another user.
const HEADER: &str = "n,,";

/// The header in base64.
const BINDING: &str = "c=biws,r=";

/// Octets of a client's nonce; 24 are usual.
const NONCE_BYTES_MAX: usize = 256;

/// client-first.
#[derive(Debug)]
pub(crate) struct ClientFirst<'a> {
    /// Without the header: what is signed.
    pub(crate) bare: &'a str,
    pub(crate) user: String,
    pub(crate) nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// Reads it. `None`: it is not one, or asks for what is not served: channel binding, to be
    /// somebody else, an extension.
    pub(crate) fn read(data: &'a [u8]) -> Option<Self> {
        let bare = core::str::from_utf8(data).ok()?.strip_prefix(HEADER)?;
        let mut attributes = bare.split(',');
        // An extension that has to be understood would stand here.
        let user = read_name(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let is_nonce = (1..=NONCE_BYTES_MAX).contains(&nonce.len())
            && nonce.bytes().all(|octet| octet.is_ascii_graphic());
        is_nonce.then_some(Self { bare, user, nonce })
    }
}

/// A name, in which a comma is `=2C` and an equals sign `=3D`.
fn read_name(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (None, Some(rest)) => ('=', rest),
            (None, None) => return None,
        };
        name.push(sign);
        name.push_str(rest);
    }
    (!name.is_empty() && !name.contains('\0')).then_some(name)
}

/// client-final.
#[derive(Debug)]
pub(super) struct ClientFinal<'a> {
    /// What is signed.
    pub(super) without_proof: &'a str,
    pub(super) proof: Digest32,
}

impl<'a> ClientFinal<'a> {
    /// Reads it. `None`: it is not one, or not of the exchange with this nonce.
    pub(super) fn read(data: &'a [u8], nonce: &str) -> Option<Self> {
        let text = core::str::from_utf8(data).ok()?;
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let behind = without_proof.strip_prefix(BINDING)?.strip_prefix(nonce)?;
        // What follows are extensions that may be ignored.
        if !behind.is_empty() && !behind.starts_with(',') {
            return None;
        }
        let proof = BASE64.decode(proof).ok()?.try_into().ok()?;
        Some(Self { without_proof, proof })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> Option<(String, &str)> {
        ClientFirst::read(text.as_bytes()).map(|first| (first.user, first.nonce))
    }

    #[test]
    fn client_first_is_read() {
        assert_eq!(first("n,,n=u,r=abc"), Some(("u".into(), "abc")));
        assert_eq!(first("n,,n=a=2Cb=3Dc,r=x,ext=1"), Some(("a,b=c".into(), "x")));
        assert_eq!(first("n,,n=ü,r=x"), Some(("ü".into(), "x")));
    }

    #[test]
    fn what_is_not_served_or_not_a_message_is_refused() {
        let long = format!("n,,n=u,r={}", "a".repeat(NONCE_BYTES_MAX + 1));
        for text in [
            "",
            "n,,",
            "n=u,r=abc",
            "y,,n=u,r=abc",
            "p=tls-unique,,n=u,r=abc",
            "n,a=other,n=u,r=abc",
            "n,,m=ext,n=u,r=abc",
            "n,,n=,r=abc",
            "n,,n=a=b,r=abc",
            "n,,n=a=2,r=abc",
            "n,,n=u,r=",
            "n,,n=u",
            "n,,n=u,r=a b",
            "n,,n=u,r=ü",
            "n,,n=a\0b,r=abc",
            &long,
        ] {
            assert_eq!(first(text), None, "{text}");
        }
        assert!(ClientFirst::read(b"n,,n=\xFF,r=abc").is_none());
    }

    #[test]
    fn client_final_is_of_its_exchange() {
        let proof = BASE64.encode([7; 32]);
        let read = |text: &str| {
            let text = text.replace("PROOF", &proof);
            ClientFinal::read(text.as_bytes(), "abc").map(|read| read.without_proof.to_owned())
        };
        assert_eq!(read("c=biws,r=abc,p=PROOF").as_deref(), Some("c=biws,r=abc"));
        assert_eq!(read("c=biws,r=abc,x=1,p=PROOF").as_deref(), Some("c=biws,r=abc,x=1"));
        for text in [
            "c=eSws,r=abc,p=PROOF",
            "c=biws,r=ab,p=PROOF",
            "c=biws,r=abcd,p=PROOF",
            "c=biws,r=abc",
            "c=biws,r=abc,p=",
            "c=biws,r=abc,p=AAAA",
            "c=biws,r=abc,p=PROOF!",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
