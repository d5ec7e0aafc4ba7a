//! Whether an etcd cluster is fit for a seat, for people.

use std::time::{Duration, Instant};

use super::{
    Etcd,
    failure::EtcdFailure,
    generated::etcdserverpb::{
        AlarmRequest, AlarmType, Member as Listed, MemberListRequest, RangeRequest, StatusResponse,
        TxnRequest, cluster_client::ClusterClient, maintenance_client::MaintenanceClient,
    },
    members::EtcdMember,
    txn, version,
};
use crate::engine::Versioned;

/// As many changes as a beat may have with it, and the beat.
const OPERATIONS: usize = 121;

/// How often the speed of a write is measured.
const WRITES: usize = 10;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdCheck {
    /// What there is.
    pub lines: Vec<String>,
    /// What works and is probably not intended, with what to do.
    pub warnings: Vec<String>,
    /// What keeps a server from leading, with what to do.
    pub errors: Vec<String>,
}

impl Etcd {
    /// Reaches each member, and tries what a leader does, with keys of its own under the prefix that it removes again.
    ///
    /// `beat_time`: the time between two beats, T/5. Not cancel-safe: dropped, keys under `check/` may stay.
    pub async fn check(&self, beat_time: Duration) -> EtcdCheck {
        let mut report = EtcdCheck::default();
        let statuses = report.members(self).await;
        if statuses.is_empty() {
            return report;
        }
        report.list(self, &statuses).await;
        report.alarms(self).await;
        report.writes(self).await;
        report.compaction(self, beat_time).await;
        report
    }
}

impl EtcdCheck {
    /// What each member that was reached says of itself. Cancel-safe.
    async fn members(&mut self, etcd: &Etcd) -> Vec<StatusResponse> {
        let mut reached = Vec::new();
        for member in etcd.members.all() {
            let name = &member.name;
            match member.status().await {
                Ok(status) => {
                    self.lines.push(format!("{name}: etcd {}, {} kB", status.version, status.db_size / 1000));
                    // Only if it was told to use such a version: else it is a failure.
                    self.warnings
                        .extend(version::unsound(&status.version).map(|why| format!("{name}: {why}")));
                    if status.leader == 0 {
                        self.warnings.push(format!(
                            "{name} knows no leader of etcd: it may be cut off from the others"
                        ));
                    }
                    reached.push(status);
                }
                Err(EtcdFailure::Unsound(why)) => self.errors.push(why),
                Err(failure) => {
                    self.warnings.push(format!("{failure}; is this member up, and its address right?"));
                }
            }
        }
        if reached.is_empty() && self.errors.is_empty() {
            self.errors.push("no member of etcd was reached".to_owned());
        }
        let cluster = |status: &StatusResponse| status.header.as_ref().map(|header| header.cluster_id);
        if reached.iter().any(|status| cluster(status) != cluster(&reached[0])) {
            self.errors.push("the members are of different etcd clusters: name those of one".to_owned());
        }
        reached
    }

    /// The members that etcd knows of. Cancel-safe.
    async fn list(&mut self, etcd: &Etcd, statuses: &[StatusResponse]) {
        let member = etcd.members.current();
        let listed = member
            .call(member.time_limit, |link| async move {
                let request = link.request(MemberListRequest {});
                ClusterClient::new(link.channel).member_list(request).await.map(tonic::Response::into_inner)
            })
            .await;
        let listed = match listed {
            Ok(answer) => answer.members,
            Err(failure) => {
                self.warnings.push(format!("its members cannot be listed: {failure}"));
                return;
            }
        };
        match listed.iter().filter(|member| !member.is_learner).count() {
            1 => self.warnings.push("etcd has one member: it is not highly available; run three".to_owned()),
            2 => self.warnings.push("etcd has two members, and stops if either does; run three".to_owned()),
            count => self.lines.push(format!("etcd has {count} members")),
        }
        let is_reached = |member: &&Listed| {
            statuses
                .iter()
                .any(|status| status.header.as_ref().is_some_and(|header| header.member_id == member.id))
        };
        for other in listed.iter().filter(|member| !is_reached(member)) {
            let (name, at) = (&other.name, other.client_ur_ls.join(", "));
            self.warnings.push(format!("the member {name:?} ({at}) was not looked at: name it in --cluster"));
        }
    }

    /// Cancel-safe.
    async fn alarms(&mut self, etcd: &Etcd) {
        let member = etcd.members.current();
        let alarms = member
            .call(member.time_limit, |link| async move {
                let request = link.request(AlarmRequest::default());
                MaintenanceClient::new(link.channel).alarm(request).await.map(tonic::Response::into_inner)
            })
            .await;
        match alarms {
            Ok(answer) => self.errors.extend(answer.alarms.iter().filter_map(|alarm| match alarm.alarm() {
                AlarmType::None => None,
                AlarmType::Nospace => Some(
                    "etcd is full (NOSPACE): compact and defragment it, then etcdctl alarm disarm".to_owned(),
                ),
                AlarmType::Corrupt => {
                    Some("the data of a member are corrupt (CORRUPT): replace that member".to_owned())
                }
            })),
            // etcd shows alarms to its administrators only.
            Err(EtcdFailure::Forbidden(_)) => self.lines.push("alarms: not shown to this user".to_owned()),
            Err(failure) => self.warnings.push(format!("its alarms cannot be read: {failure}")),
        }
    }

    /// The rights under the prefix, the size of a transaction, and how long a write takes. Not cancel-safe: dropped, keys
    /// stay.
    async fn writes(&mut self, etcd: &Etcd) {
        let member = etcd.members.current();
        let folder = format!("check/{:016x}", getrandom::u64().unwrap_or_default());
        self.large(etcd, member, &folder).await;
        if self.errors.is_empty() {
            self.speed(etcd, member, &folder).await;
        }
        let (first, end) = etcd.keys.folder(&folder);
        let clean = TxnRequest { success: vec![txn::delete_op(first, end)], ..TxnRequest::default() };
        if let Err(failure) = member.txn(clean).await {
            self.warnings.push(format!("keys under {folder} could not be removed: {failure}"));
        }
    }

    /// Not cancel-safe: dropped, keys stay.
    async fn large(&mut self, etcd: &Etcd, member: &EtcdMember, folder: &str) {
        let key = |n: usize| etcd.keys.key(&format!("{folder}/{n}"));
        let success = (0..OPERATIONS).map(|n| txn::put_op(key(n), b"check".to_vec())).collect();
        match member.txn(TxnRequest { success, ..TxnRequest::default() }).await {
            Ok(_) => self.lines.push(format!("a transaction of {OPERATIONS} operations is accepted")),
            Err(EtcdFailure::Refused(why)) => {
                self.errors.push(format!("{why}; start etcd with --max-txn-ops=128, its default, or more"));
            }
            Err(failure) => self.errors.push(failure.to_string()),
        }
    }

    /// Not cancel-safe: dropped, a key stays.
    async fn speed(&mut self, etcd: &Etcd, member: &EtcdMember, folder: &str) {
        let mut times = Vec::new();
        let mut seen = None;
        for n in 0..WRITES {
            let key = etcd.keys.key(&format!("{folder}/swap"));
            let value = n.to_string().into_bytes();
            let began = Instant::now();
            match member.txn(txn::swap(key, seen, value.clone())).await {
                Err(failure) => return self.errors.push(failure.to_string()),
                Ok(answer) if !answer.succeeded => {
                    return self
                        .errors
                        .push("a compare-and-swap of a key that nobody else writes failed".to_owned());
                }
                Ok(answer) => seen = Some(Versioned { revision: txn::revision(&answer), value }),
            }
            times.push(began.elapsed());
        }
        times.sort();
        let median = times[times.len() / 2];
        self.lines.push(format!("a compare-and-swap takes {:.1} ms", median.as_secs_f64() * 1000.0));
        // A beat that takes longer is given up.
        let limit = member.time_limit;
        if median > limit / 4 {
            let advice = "give etcd a faster disk, or set a longer --cluster-ttl";
            self.warnings.push(format!("that is close to the {limit:?} that a beat may take: {advice}"));
        }
    }

    /// A beat is a revision of etcd, and etcd keeps all of them by default. Cancel-safe.
    async fn compaction(&mut self, etcd: &Etcd, beat_time: Duration) {
        const DAY: Duration = Duration::from_hours(24);
        let member = etcd.members.current();
        let beat =
            |revision| RangeRequest { key: etcd.keys.beat.clone(), revision, ..RangeRequest::default() };
        let Ok(now) = member.range(beat(0), member.time_limit).await else { return };
        let beats_a_day = DAY.as_nanos() / beat_time.as_nanos().max(1);
        let Some(now) = now.kvs.into_iter().next() else { return };
        if u128::from(now.version.unsigned_abs()) <= beats_a_day {
            return;
        }
        if member.range(beat(now.create_revision), member.time_limit).await.is_ok() {
            self.warnings.push(format!(
                "etcd still has all {} beats since the first one, and will fill its disk; start it with \
                 --auto-compaction-retention=1h",
                now.version
            ));
        }
    }
}
