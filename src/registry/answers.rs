//! What the answer of a registry means: the one place that decides what counts.

use serde_json::Value;

use super::client::ANSWER_BYTES_MAX;
use super::trouble::Problem;
use crate::http_client::said;
use crate::telemetry::metrics::RegistryResult;

/// An answer that counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// 200, and JSON.
    Given(Value),
    /// 200, and longer than anything that could be used; it is a schema by the look of its beginning.
    TooLong,
    /// There is no such schema, subject or version, in a registry's own words.
    Absent { message: String },
    /// The registry understood and says no: it is incompatible, or not valid.
    Declined { status: u16, message: String },
}

impl Answer {
    /// As it is counted.
    pub(super) const fn result(&self) -> RegistryResult {
        match self {
            Self::Given(_) | Self::TooLong => RegistryResult::Found,
            Self::Absent { .. } => RegistryResult::NotFound,
            Self::Declined { .. } => RegistryResult::Declined,
        }
    }
}

/// Confluent's codes for a subject, a version and a schema that are not there.
const NOT_FOUND_CODES: [i64; 3] = [40_401, 40_402, 40_403];

/// Judges an answer; `whole` is false where `body` is only its beginning.
pub(super) fn judge(
    status: u16,
    content_type: &str,
    body: &[u8],
    whole: bool,
) -> Result<Answer, Problem> {
    let is_json = content_type.to_ascii_lowercase().contains("json");
    if !whole {
        return if status == 200 && is_json && begins_as_schema(body) {
            Ok(Answer::TooLong)
        } else {
            Err(Problem::TooLong {
                bytes_max: ANSWER_BYTES_MAX,
            })
        };
    }
    let json = serde_json::from_slice::<Value>(body);
    let spoken = json.as_ref().ok();
    let code = spoken.and_then(|said| said["error_code"].as_i64());
    let message = spoken.and_then(|said| said["message"].as_str());
    let message = message.unwrap_or_default();
    match status {
        200 => match json {
            Ok(given) => Ok(Answer::Given(given)),
            Err(_) if is_html(content_type, body) => Err(Problem::Html),
            Err(error) => Err(Problem::NotJson {
                error: error.to_string(),
            }),
        },
        401 | 403 => Err(Problem::Forbidden {
            status,
            message: said(message),
        }),
        404 if code.is_some_and(|code| NOT_FOUND_CODES.contains(&code)) => Ok(Answer::Absent {
            message: message.to_owned(),
        }),
        404 => Err(Problem::NoRegistry),
        409 | 422 if code.is_some() => Ok(Answer::Declined {
            status,
            message: said(message),
        }),
        _ => Err(Problem::Status {
            status,
            message: said(message),
        }),
    }
}

fn is_html(content_type: &str, body: &[u8]) -> bool {
    let begins = body.trim_ascii_start().first() == Some(&b'<');
    begins || content_type.to_ascii_lowercase().contains("html")
}

/// True for the beginning of an object that has a schema in it.
fn begins_as_schema(body: &[u8]) -> bool {
    const KEY: &[u8] = b"\"schema\"";
    body.trim_ascii_start().first() == Some(&b'{')
        && body.windows(KEY.len()).any(|window| window == KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/vnd.schemaregistry.v1+json";

    fn judged(status: u16, content_type: &str, body: &str) -> Result<Answer, Problem> {
        judge(status, content_type, body.as_bytes(), true)
    }

    #[test]
    fn only_a_404_in_a_registrys_words_says_that_something_is_not_there() {
        for code in NOT_FOUND_CODES {
            let body = format!(r#"{{"error_code": {code}, "message": "not found"}}"#);
            let absent = Answer::Absent {
                message: "not found".to_owned(),
            };
            assert_eq!(judged(404, JSON, &body), Ok(absent));
            for status in [400, 500, 503] {
                assert!(judged(status, JSON, &body).is_err(), "{status}");
            }
        }
        for (content_type, body) in [
            (
                JSON,
                r#"{"error_code": 404, "message": "HTTP 404 Not Found"}"#,
            ),
            (JSON, r#"{"message": "no Route matched with those values"}"#),
            ("text/html", "<html>Not Found</html>"),
            ("", ""),
        ] {
            assert_eq!(judged(404, content_type, body), Err(Problem::NoRegistry));
        }
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        let label = |judged: Result<Answer, Problem>| judged.unwrap_err().result().label();
        assert_eq!(label(judged(401, JSON, "{}")), "forbidden");
        assert_eq!(label(judged(403, "text/html", "<html>")), "forbidden");
        assert_eq!(label(judged(503, JSON, "")), "failed");
        assert_eq!(label(judged(429, JSON, "{}")), "failed");
        assert_eq!(label(judged(200, JSON, "{\"schema\"")), "garbage");
        assert_eq!(label(judged(200, JSON, " <!doctype html>")), "no_registry");
        assert_eq!(label(judged(409, "text/plain", "")), "failed");
        let declined = judged(
            409,
            JSON,
            r#"{"error_code": 409, "message": "incompatible"}"#,
        );
        let message = ": incompatible".to_owned();
        assert_eq!(
            declined,
            Ok(Answer::Declined {
                status: 409,
                message
            })
        );
    }

    #[test]
    fn a_cut_answer_is_a_schema_only_if_it_looks_like_one() {
        let cut =
            |status, content_type, body: &str| judge(status, content_type, body.as_bytes(), false);
        let schema = r#"  {"schemaType": "AVRO", "schema": "{\"type\": "#;
        assert_eq!(cut(200, JSON, schema), Ok(Answer::TooLong));
        assert!(cut(200, "text/html", schema).is_err());
        assert!(cut(500, JSON, schema).is_err());
        assert!(cut(200, JSON, r#"["schema", "#).is_err());
        assert!(cut(200, JSON, r#"{"message": "#).is_err());
    }
}
