//! What happened in a world, counted, so that nobody relies on what never happens.

use std::fmt;

macro_rules! features {
    ($($(#[doc = $doc:literal])* $name:ident: $text:literal,)*) => {
        /// Something that the worlds are meant to contain.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Feature {
            $($(#[doc = $doc])* $name,)*
        }

        impl Feature {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

features! {
    /// WILLTOPICRESP for another topic.
    WillTopicChanged: "will topics changed",
    /// WILLTOPICRESP for the empty WILLTOPICUPD.
    WillDeleted: "wills deleted",
    /// WILLMSGRESP.
    WillMessageChanged: "will messages changed",
    /// A will was published as an update has left it.
    ChangedWillPublished: "changed wills published",
}

/// How often each was there.
#[derive(Clone, Debug)]
pub(crate) struct Features([u64; Feature::ALL.len()]);

impl Default for Features {
    fn default() -> Self {
        Self([0; Feature::ALL.len()])
    }
}

impl Features {
    pub(crate) const fn count(&mut self, feature: Feature) {
        self.0[feature as usize] += 1;
    }

    pub(crate) const fn of(&self, feature: Feature) -> u64 {
        self.0[feature as usize]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }
}

impl fmt::Display for Features {
    /// Four to a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, feature) in Feature::ALL.iter().enumerate() {
            let before = match place {
                0 => "",
                _ if place % 4 == 0 => ",\n                   ",
                _ => ", ",
            };
            write!(f, "{before}{} {}", self.of(*feature), feature.text())?;
        }
        Ok(())
    }
}
