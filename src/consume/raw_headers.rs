//! Headers of a message, by their bytes.
//!
//! Kafka does not check header names, and rdkafka panics on one that is not UTF-8, so that any
//! publisher could end every worker of the group. Here a name is compared as bytes, and one that
//! nobody asked for is never looked at as text. Called by the thread that has the message: the poll
//! thread, or the command that reads dead letters.

use rdkafka::message::BorrowedMessage;
use rdkafka_sys as sys;

/// The headers of `message` whose name is one of `wanted`, in their order.
pub(super) fn wanted_headers<'m>(
    message: &'m BorrowedMessage<'_>,
    wanted: &'m [String],
) -> impl Iterator<Item = (&'m str, Option<&'m [u8]>)> {
    // Most topics have no headers at all, and most messages none that is wanted.
    (0..)
        .map_while(|index| header(message, index))
        .filter_map(|(name, value)| {
            let wanted = wanted.iter().find(|wanted| wanted.as_bytes() == name)?;
            Some((wanted.as_str(), value))
        })
}

/// Every header of `message`, in their order; a name is whatever bytes its producer wrote.
pub fn all_headers<'m>(
    message: &'m BorrowedMessage<'_>,
) -> impl Iterator<Item = (&'m [u8], Option<&'m [u8]>)> {
    (0..).map_while(|index| header(message, index))
}

/// Name and value of one header; `None` past the last.
#[expect(
    unsafe_code,
    reason = "rdkafka's Headers panics on names that are not UTF-8"
)]
fn header<'m>(
    message: &'m BorrowedMessage<'_>,
    index: usize,
) -> Option<(&'m [u8], Option<&'m [u8]>)> {
    use sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as FOUND;
    let mut headers = std::ptr::null_mut();
    let mut name = std::ptr::null();
    let mut value = std::ptr::null();
    let mut size = 0;
    // SAFETY: the message outlives the call and what is returned. librdkafka parses its headers on the
    // first call and keeps them, with a NUL after each name, until the message is destroyed; only
    // this thread has the message.
    unsafe {
        if sys::rd_kafka_message_headers(message.ptr(), &raw mut headers) != FOUND
            || sys::rd_kafka_header_get_all(
                headers,
                index,
                &raw mut name,
                &raw mut value,
                &raw mut size,
            ) != FOUND
        {
            return None;
        }
        let name = std::ffi::CStr::from_ptr(name).to_bytes();
        let value =
            (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size));
        Some((name, value))
    }
}
