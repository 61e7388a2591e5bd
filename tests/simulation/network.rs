//! The network between the processes and the cluster: requests that come late, twice or never.

use broker_model::{Committed, Member, Producer, Refusal};

use crate::hits::Hit;
use crate::input::{Rec, input, output};
use crate::shared::{GROUP, Shared, say};

/// A request, as it can be on its way.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) transactional_id: &'static str,
    pub(crate) producer: Producer,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Add(Vec<usize>),
    Produce {
        place: usize,
        sequence: i32,
        values: Vec<Box<[u8]>>,
    },
    AddOffsets,
    Offsets {
        member: Member,
        offsets: Vec<(usize, Committed)>,
        /// The straight runs that they are of; no broker sees them.
        runs: Vec<(usize, usize)>,
    },
    End {
        commit: bool,
    },
}

/// What comes of sending a request.
pub(crate) struct Sent {
    /// `None` when none comes.
    pub(crate) answer: Option<Result<(), Refusal>>,
    /// A connection was lost or a time ran out, so that the client may have sent it twice.
    pub(crate) is_twice: bool,
}

impl Sent {
    fn once(answer: Option<Result<(), Refusal>>) -> Self {
        let is_twice = false;
        Self { answer, is_twice }
    }

    fn twice(answer: Option<Result<(), Refusal>>) -> Self {
        let is_twice = true;
        Self { answer, is_twice }
    }
}

impl Shared {
    /// Sends a request.
    pub(crate) fn send(&mut self, request: &Request) -> Sent {
        let chance = self.profile.network + if self.troubled { 200 } else { 0 };
        if !self.fault(chance) {
            return Sent::once(Some(self.handle(request)));
        }
        match self.random.below(4) {
            0 => {
                self.hit(Hit::AnswerLost);
                let answer = self.handle(request);
                Sent::twice(answer.ok().and(None))
            }
            1 => {
                self.hit(Hit::RequestLost);
                Sent::twice(None)
            }
            2 => {
                self.hit(Hit::RequestLate);
                self.network.push(request.clone());
                Sent::twice(None)
            }
            _ => {
                self.hit(Hit::RequestDoubled);
                self.network.push(request.clone());
                Sent::twice(Some(self.handle(request)))
            }
        }
    }

    pub(crate) fn handle(&mut self, request: &Request) -> Result<(), Refusal> {
        let Request {
            transactional_id: id,
            producer,
            body,
        } = request;
        let producer = *producer;
        let answer = match body {
            Body::Add(places) => {
                let partitions = places.iter().map(|place| output(*place));
                self.broker.add_partitions(id, producer, partitions)
            }
            Body::Produce {
                place,
                sequence,
                values,
            } => {
                let records = values.iter().cloned().map(Rec::Out);
                let at = (output(*place), *sequence);
                self.broker.produce(id, producer, at, records)
            }
            Body::AddOffsets => self.broker.add_offsets(id, producer, GROUP),
            Body::Offsets {
                member, offsets, ..
            } => {
                let offsets = offsets.iter();
                let offsets = offsets.map(|(partition, at)| (input(*partition), at.clone()));
                self.broker
                    .commit_offsets((id, producer), (GROUP, *member), offsets)
            }
            Body::End { commit } => self.broker.end_transaction(id, producer, *commit),
        };
        say!(self, "broker: {id} {producer:?} {body:?} -> {answer:?}");
        if answer.is_ok() {
            self.obeyed(body);
        }
        answer
    }

    /// I4: nobody moves the offset of a partition but its owner. The broker does not look.
    fn obeyed(&mut self, body: &Body) {
        match body {
            Body::Offsets {
                member,
                offsets,
                runs,
            } => {
                for (partition, run) in runs {
                    self.checks.said[*partition] = Some(*run);
                }
                let owners = &self.owners;
                let is_theirs = |(partition, _): &&(usize, Committed)| {
                    member.id.is_some() && owners[*partition] == member.id
                };
                let stranger = offsets.iter().find(|one| !is_theirs(one));
                if let Some((partition, _)) = stranger {
                    let owner = owners[*partition];
                    self.breaks(
                        "I4",
                        format!("{member:?} committed partition {partition} of {owner:?}"),
                    );
                }
            }
            // What it decides is looked at, though nothing of it is written yet.
            Body::End { .. } => self.touched = true,
            Body::Add(_) | Body::Produce { .. } | Body::AddOffsets => {}
        }
    }

    /// A request that is late arrives.
    pub(crate) fn deliver_late(&mut self) -> bool {
        if self.network.is_empty() {
            return false;
        }
        let at = self.random.index(self.network.len());
        let request = self.network.swap_remove(at);
        let handled = self.handle(&request).is_ok();
        self.hit(match request.body {
            Body::End { .. } => Hit::LateEnd,
            Body::Offsets { .. } => Hit::LateOffsets,
            Body::Add(_) | Body::Produce { .. } | Body::AddOffsets => Hit::LateOther,
        });
        say!(
            self,
            "it was {}",
            if handled { "obeyed" } else { "refused" }
        );
        true
    }

    /// One marker is written.
    pub(crate) fn write_marker(&mut self) -> bool {
        if !self.broker.has_markers() {
            return false;
        }
        let markers = self.broker.markers();
        let marker = &markers[self.random.index(markers.len())];
        self.broker.write_marker(marker);
        self.touched = true;
        say!(self, "broker: marker {marker:?}");
        true
    }

    /// A committed offset as a new owner reads it.
    pub(crate) fn committed(
        &mut self,
        partition: usize,
        stable: bool,
    ) -> Result<Option<Committed>, Refusal> {
        let found = self.broker.group(GROUP).offset(input(partition), stable);
        found.map(Option::<&Committed>::cloned)
    }
}
