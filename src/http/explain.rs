//! `/explain`: why a series gets forecasts, or does not, by whoever has its windows.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;

use super::admin::Admin;
use super::problem::problem;

/// A question about a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub series: String,
    /// How many of its newest slots are told; `None` leaves it to whoever answers.
    pub slots: Option<usize>,
}

/// What comes of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Found(serde_json::Value),
    /// Another worker has the series; the text says which partition it is in.
    Elsewhere(String),
    /// Nobody can say now.
    Unavailable(String),
}

/// Who answers; not to be asked before the worker has started.
#[derive(Clone)]
pub struct Explainer(Arc<Explain>);

type Explain = dyn Fn(Asked) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

impl Explainer {
    pub fn new<F: Future<Output = Answer> + Send + 'static>(
        explain: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |asked| Box::pin(explain(asked))))
    }
}

impl fmt::Debug for Explainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explainer").finish_non_exhaustive()
    }
}

/// The parameters of the request.
#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    series: Option<String>,
    slots: Option<String>,
}

pub(super) async fn explain(
    State(admin): State<Admin>,
    Query(Parameters { series, slots }): Query<Parameters>,
) -> Response {
    let refused = |detail: &str| problem(StatusCode::UNPROCESSABLE_ENTITY, detail);
    let Some(series) = series.filter(|series| !series.is_empty()) else {
        return refused("say which series: /explain?series=NAME");
    };
    let slots = match slots.map(|slots| slots.parse()).transpose() {
        Ok(slots) => slots,
        Err(_no_number) => return refused("slots is a number of slots, such as slots=12"),
    };
    match (admin.explainer.0)(Asked { series, slots }).await {
        Answer::Found(explanation) => Json(explanation).into_response(),
        Answer::Elsewhere(detail) => problem(StatusCode::NOT_FOUND, &detail),
        Answer::Unavailable(detail) => problem(StatusCode::SERVICE_UNAVAILABLE, &detail),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use tokio::sync::watch;

    use super::*;
    use crate::http::Readiness;
    use crate::telemetry::Exposition;

    /// Status, content type and body of an answer.
    async fn ask(series: Option<&str>, slots: Option<&str>) -> (u16, String, String) {
        let explainer = Explainer::new(async |asked: Asked| match asked.series.as_str() {
            "here" => Answer::Found(serde_json::json!({ "slots": asked.slots })),
            "elsewhere" => Answer::Elsewhere("partition 3".to_owned()),
            _ => Answer::Unavailable("busy".to_owned()),
        });
        let admin = Admin {
            exposition: Exposition::of(|| {}),
            readiness: watch::channel(Readiness::default()).1,
            explainer,
        };
        let parameters = Parameters {
            series: series.map(str::to_owned),
            slots: slots.map(str::to_owned),
        };
        let answer = explain(State(admin), Query(parameters)).await;
        let status = answer.status().as_u16();
        let content_type = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (
            status,
            content_type,
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn an_explanation_is_json_and_everything_else_a_problem() {
        let found = ask(Some("here"), Some("7")).await;
        assert_eq!(
            found,
            (
                200,
                "application/json".to_owned(),
                r#"{"slots":7}"#.to_owned()
            )
        );
        for (series, slots, status, said) in [
            (Some("elsewhere"), None, 404, "partition 3"),
            (Some("busy"), None, 503, "busy"),
            (None, None, 422, "/explain?series=NAME"),
            (Some(""), None, 422, "/explain?series=NAME"),
            (Some("here"), Some("all"), 422, "slots=12"),
            (Some("here"), Some("-1"), 422, "slots=12"),
        ] {
            let (code, content_type, body) = ask(series, slots).await;
            assert_eq!((code, &*content_type), (status, "application/problem+json"));
            assert!(body.contains(said), "{body}");
        }
    }
}
