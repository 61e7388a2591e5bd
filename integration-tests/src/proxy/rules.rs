//! Which requests something happens to, and what.

use std::time::Duration;

use super::frame::{Api, Request};

/// What happens to a request that a [`Rule`] matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is only counted.
    Pass,
    /// The broker gets it when the fault is released, also where the client has gone away by then.
    HoldRequest,
    /// The broker answers, and the client gets the answer when the fault is released.
    HoldAnswer,
    /// The broker gets it so much later.
    Delay(Duration),
    /// The client gets the answer so much later.
    DelayAnswer(Duration),
    /// The connection is cut, and the broker never gets it.
    LoseRequest,
    /// The broker answers, and then the connection is cut.
    LoseAnswer,
}

/// Requests of a kind, of one client or transactional id where it says so, and what happens to them.
#[derive(Clone, Debug)]
pub struct Rule {
    api: Api,
    client: Option<String>,
    transaction: Option<String>,
    pub(super) skipped: u32,
    pub(super) left: Option<u32>,
    pub(super) action: Action,
}

impl Rule {
    pub const fn new(api: Api, action: Action) -> Self {
        Self {
            api,
            client: None,
            transaction: None,
            skipped: 0,
            left: None,
            action,
        }
    }

    /// Only requests with this `client.id`.
    #[must_use]
    pub fn of_client(mut self, id: &str) -> Self {
        self.client = Some(id.to_owned());
        self
    }

    /// Only requests with a transactional id that begins so.
    #[must_use]
    pub fn of_transaction(mut self, prefix: &str) -> Self {
        self.transaction = Some(prefix.to_owned());
        self
    }

    /// Only so many requests.
    #[must_use]
    pub fn next(mut self, count: u32) -> Self {
        self.left = Some(count);
        self
    }

    /// Not the first so many requests.
    #[must_use]
    pub fn after(mut self, count: u32) -> Self {
        self.skipped = count;
        self
    }

    /// Whether the action is for this request, which then counts.
    pub(super) fn takes(&mut self, request: &Request) -> bool {
        if !self.matches(request) || self.left == Some(0) {
            return false;
        }
        if self.skipped > 0 {
            self.skipped -= 1;
            return false;
        }
        self.left = self.left.map(|left| left - 1);
        true
    }

    fn matches(&self, request: &Request) -> bool {
        let client = self.client.as_deref();
        let is_transaction = |prefix: &str| {
            let id = request.transaction.as_deref();
            id.is_some_and(|id| id.starts_with(prefix))
        };
        self.api == request.api
            && client.is_none_or(|client| request.client.as_deref() == Some(client))
            && self.transaction.as_deref().is_none_or(is_transaction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(api: Api, client: &str, transaction: Option<&str>) -> Request {
        Request {
            api,
            correlation: 1,
            client: Some(client.to_owned()),
            transaction: transaction.map(str::to_owned),
        }
    }

    #[test]
    fn a_rule_takes_what_it_names_and_no_other() {
        let rule = Rule::new(Api::EndTxn, Action::Pass)
            .of_client("me")
            .of_transaction("group-a");
        let takes = |request| rule.clone().takes(&request);
        assert!(takes(request(Api::EndTxn, "me", Some("group-a-1"))));
        assert!(!takes(request(Api::Produce, "me", Some("group-a-1"))));
        assert!(!takes(request(Api::EndTxn, "you", Some("group-a-1"))));
        assert!(!takes(request(Api::EndTxn, "me", Some("group-b"))));
        assert!(!takes(request(Api::EndTxn, "me", None)));
    }

    #[test]
    fn counts_are_of_matching_requests() {
        let mut rule = Rule::new(Api::Produce, Action::Pass).after(1).next(2);
        let other = request(Api::EndTxn, "me", None);
        let taken: Vec<bool> = (0..5)
            .map(|_| {
                assert!(!rule.takes(&other));
                rule.takes(&request(Api::Produce, "me", None))
            })
            .collect();
        assert_eq!(taken, [false, true, true, false, false]);
    }
}
