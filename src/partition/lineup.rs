//! The models that a lane has a session of, and which of them an origin is for.

use std::sync::Arc;

use super::due::DueRows;
use super::model::ServingModel;
use super::published::ModelText;
use crate::domain::{Digest, Timestamp};
use crate::models::{Plan, Slot};

/// A model and the rows of a round that are its.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) model: ServingModel,
    pub(super) text: ModelText,
    pub(super) rows: DueRows,
}

/// The sessions of a lane. It is the lane's alone; what it has in common with others is the slot's plan.
#[derive(Debug)]
pub(super) struct Lineup {
    slot: Slot,
    plan: Arc<Plan>,
    rows_max: usize,
    members: Vec<Member>,
    /// The parts of the plan with the places of their models, `None` where the lane has none of it.
    parts: Vec<(Option<Timestamp>, Option<usize>)>,
    /// Models have come or gone since the parts were made.
    is_stale: bool,
}

impl Lineup {
    /// One model, for rounds of at most `rows_max` rows.
    pub(super) fn new((slot, model): (Slot, ServingModel), rows_max: usize) -> Self {
        let plan = slot.plan();
        let mut lineup = Self {
            slot,
            plan,
            rows_max,
            members: Vec::new(),
            parts: Vec::new(),
            is_stale: false,
        };
        lineup.admit(model);
        lineup.follow();
        lineup
    }

    /// Adds a model, or puts it in the place of another session of its package.
    pub(super) fn admit(&mut self, model: ServingModel) {
        let digest = model.package.sha256();
        self.members.retain(|member| member.digest() != digest);
        self.members.push(Member {
            text: ModelText::of(&model.package, Arc::clone(&model.runtime)),
            rows: DueRows::new(&model.package, self.rows_max),
            model,
        });
        self.is_stale = true;
    }

    /// Takes a model out.
    pub(super) fn dismiss(&mut self, digest: Digest) -> Option<ServingModel> {
        let is_it = |member: &Member| member.digest() == digest;
        let place = self.members.iter().position(is_it)?;
        self.is_stale = true;
        Some(self.members.swap_remove(place).model)
    }

    /// Takes the plan that is in force now; true when an origin may be another model's than before. Not to be called
    /// in the middle of a round.
    pub(super) fn follow(&mut self) -> bool {
        let plan = self.slot.plan();
        let is_new = self.is_stale || !Arc::ptr_eq(&plan, &self.plan);
        if is_new {
            let place = |digest| self.members.iter().position(|one| one.digest() == digest);
            let parts = plan.parts().map(|(from, digest)| (from, place(digest)));
            self.parts = parts.collect();
            self.plan = plan;
            self.is_stale = false;
        }
        is_new
    }

    /// Waits until there may be another plan.
    pub(super) async fn changed(&mut self) {
        self.slot.changed().await;
    }

    /// The place of the model that an origin is for; `None` while the lane has no session of it.
    pub(super) fn place(&self, origin: Timestamp) -> Option<usize> {
        let covers = |(from, _): &&(Option<Timestamp>, _)| from.is_none_or(|from| from <= origin);
        self.parts.iter().find(covers)?.1
    }

    /// The model that an origin is for, or, while the lane has no session of that, any other.
    pub(super) fn member(&self, origin: Option<Timestamp>) -> Option<&Member> {
        let place = origin.and_then(|origin| self.place(origin));
        self.members.get(place.unwrap_or(0))
    }

    /// Whether the lane has a session of every model that the plan names.
    pub(super) fn is_whole(&self) -> bool {
        self.parts.iter().all(|(_, place)| place.is_some())
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn members_mut(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// Rows of all models.
    pub(super) fn rows(&self) -> usize {
        let rows = self.members.iter().map(|member| member.rows.batch().len());
        rows.sum()
    }

    /// Forgets the rows and keeps the memory.
    pub(super) fn clear(&mut self) {
        for member in &mut self.members {
            member.rows.clear();
        }
    }
}

impl Member {
    fn digest(&self) -> Digest {
        self.model.package.sha256()
    }
}
