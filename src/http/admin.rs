//! `/healthz`, `/readyz`, `/metrics`, and the list of what there is.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use tokio::sync::watch;

use super::Readiness;
use super::explain::{Explainer, explain};
use super::problem::problem;
use crate::telemetry::Exposition;

/// What the admin listener answers from.
#[derive(Clone, Debug)]
pub struct Admin {
    pub exposition: Exposition,
    pub readiness: watch::Receiver<Readiness>,
    pub explainer: Explainer,
}

/// The routes of the admin listener.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/explain", get(explain))
        .fallback(not_found)
        .with_state(admin)
}

/// The process answers, so it is alive. A broker that is down is no reason to restart a worker.
async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let readiness = admin.readiness.borrow().clone();
    let reasons = readiness.reasons();
    let ready = reasons.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body =
        serde_json::json!({ "ready": ready, "serving": readiness.serving, "reasons": reasons });
    (status, Json(body)).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (content_type, admin.exposition.render()).into_response()
}

async fn not_found() -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "there is /healthz, /readyz, /metrics and /explain?series=NAME",
    )
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;
    use crate::http::Answer;
    use crate::telemetry::metrics::partitions_paused;

    async fn body(response: Response) -> String {
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn admin(readiness: Readiness) -> Admin {
        Admin {
            exposition: Exposition::of(|| partitions_paused(3)),
            readiness: watch::channel(readiness).1,
            explainer: Explainer::new(async |_asked| Answer::Unavailable(String::new())),
        }
    }

    #[tokio::test]
    async fn readyz_tells_why_not() {
        let answer = readyz(State(admin(Readiness::default()))).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let answer: serde_json::Value = serde_json::from_str(&body(answer).await).unwrap();
        assert_eq!(answer["ready"], false);
        assert_eq!(answer["reasons"][0]["reason"], "model");
    }

    #[tokio::test]
    async fn readyz_is_ok_when_everything_is() {
        let ready = Readiness {
            model_warm: true,
            joined: true,
            serving: 4,
            ..Readiness::default()
        };
        let answer = readyz(State(admin(ready))).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(
            body(answer).await,
            r#"{"ready":true,"reasons":[],"serving":4}"#
        );
    }

    #[tokio::test]
    async fn metrics_are_in_the_text_format() {
        let answer = metrics(State(admin(Readiness::default()))).await;
        assert_eq!(
            answer.headers()[header::CONTENT_TYPE],
            "text/plain; version=0.0.4"
        );
        assert!(
            body(answer)
                .await
                .contains("\nforetell_paused_partitions 3\n")
        );
    }
}
