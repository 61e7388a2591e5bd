//! The consumer group of a run: who has which partition, and who is to have it.

use broker_model::{Member, MemberId};

use crate::input::PARTITIONS;
use crate::shared::{GROUP, Shared};

impl Shared {
    pub(crate) fn join(&mut self) -> Member {
        let member = self.broker.group(GROUP).join();
        let now = self.broker.now_ms();
        self.heartbeats.extend(member.id.map(|id| (id, now)));
        self.assign_anew(false);
        member
    }

    /// Ends a membership. The member need not know.
    pub(crate) fn throw_out(&mut self, member: MemberId) {
        self.heartbeats.remove(&member);
        self.broker.group(GROUP).leave(member);
        for owner in &mut self.owners {
            owner.take_if(|owner| *owner == member);
        }
        self.assign_anew(false);
    }

    /// Another assignment begins.
    pub(crate) fn rebalance(&mut self) {
        self.broker.group(GROUP).next_generation();
        self.assign_anew(true);
    }

    pub(crate) fn random_member(&mut self) -> Option<MemberId> {
        let members: Vec<MemberId> = self.heartbeats.keys().copied().collect();
        (!members.is_empty()).then(|| members[self.random.index(members.len())])
    }

    fn assign_anew(&mut self, shuffle: bool) {
        for partition in 0..PARTITIONS {
            let target = self.targets[partition];
            let stays = target.is_some_and(|member| self.heartbeats.contains_key(&member));
            if !stays || shuffle || self.random.one_in(4) {
                self.targets[partition] = self.random_member();
            }
        }
    }

    pub(crate) fn is_wanted_by(&self, partition: usize, member: MemberId) -> bool {
        self.targets[partition] == Some(member)
    }

    /// Takes a partition that nobody has.
    pub(crate) fn take(&mut self, partition: usize, member: MemberId) -> bool {
        let free = self.owners[partition].is_none() && self.is_wanted_by(partition, member);
        if free {
            self.owners[partition] = Some(member);
        }
        free
    }

    pub(crate) fn give_up(&mut self, partition: usize, member: MemberId) {
        self.owners[partition].take_if(|owner| *owner == member);
    }
}
