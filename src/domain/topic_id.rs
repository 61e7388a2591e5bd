//! The id that Kafka gives a topic when it is created (KIP-516): a topic that is deleted and created again under
//! its name has another one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Never all zeros, which is how Kafka says that it knows none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicId([u8; TopicId::BYTES]);

impl TopicId {
    pub const BYTES: usize = 16;

    /// `None` for zeros.
    pub fn new(bytes: [u8; Self::BYTES]) -> Option<Self> {
        (bytes != [0; Self::BYTES]).then_some(Self(bytes))
    }

    /// Out of base64 in the standard alphabet and without padding, as librdkafka writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(text).ok()?;
        Self::new(bytes.try_into().ok()?)
    }

    pub const fn bytes(self) -> [u8; Self::BYTES] {
        self.0
    }
}

impl fmt::Display for TopicId {
    /// As Kafka's own tools print it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_printed_as_kafka_prints_it() {
        let bytes = [0xfb, 0xff, 0xfe, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13];
        let id = TopicId::new(bytes).unwrap();
        assert_eq!(id.to_string(), "-__-AQIDBAUGBwgJCgsMDQ");
        assert_eq!(TopicId::parse("+//+AQIDBAUGBwgJCgsMDQ"), Some(id));
        for other in ["", "+//+", "AAAAAAAAAAAAAAAAAAAAAA", "no id at all, but 22"] {
            assert_eq!(TopicId::parse(other), None, "{other}");
        }
    }
}
