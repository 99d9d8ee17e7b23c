//! The versions of MQTT.

use crate::api::Dialect;

/// A version of MQTT, in the order of their appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V31,
    V311,
    V5,
}

impl Version {
    pub(super) const fn dialect(self) -> Dialect {
        match self {
            Self::V31 => Dialect::Mqtt31,
            Self::V311 => Dialect::Mqtt311,
            Self::V5 => Dialect::Mqtt5,
        }
    }
}

/// Which versions are served. A client of another one gets CONNACK 1 [MQTT-3.1.2-2].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// MQTT 3.1 (`MQIsdp`, level 3).
    pub mqtt31: bool,
    /// MQTT 3.1.1 (level 4).
    pub mqtt311: bool,
    /// MQTT 5.0 (level 5).
    pub mqtt5: bool,
}

impl Versions {
    /// All of them.
    pub const ALL: Self = Self { mqtt31: true, mqtt311: true, mqtt5: true };

    pub(super) const fn contain(self, version: Version) -> bool {
        match version {
            Version::V31 => self.mqtt31,
            Version::V311 => self.mqtt311,
            Version::V5 => self.mqtt5,
        }
    }
}
