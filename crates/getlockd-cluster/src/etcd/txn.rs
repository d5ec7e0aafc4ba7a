//! What each verb of an engine asks of etcd, in one transaction, and what the answer means.

use super::{
    generated::{
        etcdserverpb::{
            Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseOp, TxnRequest,
            TxnResponse,
            compare::{CompareResult, CompareTarget, TargetUnion},
            request_op::Request,
            response_op::Response,
        },
        mvccpb::KeyValue,
    },
    keys::Keys,
};
use crate::engine::{Beat, Look, Resign, Take, Versioned, Written};

pub(super) fn look(keys: &Keys) -> TxnRequest {
    TxnRequest { success: seat_and_beat(keys), ..TxnRequest::default() }
}

pub(super) fn take(keys: &Keys, take: Take) -> TxnRequest {
    let mut compare = as_seen(&keys.seat, take.expected.seat);
    compare.extend(as_seen(&keys.beat, take.expected.beat));
    TxnRequest {
        compare,
        success: vec![put_op(keys.seat.clone(), take.seat), put_op(keys.beat.clone(), take.beat)],
        failure: seat_and_beat(keys),
    }
}

pub(super) fn beat(keys: &Keys, beat: Beat) -> TxnRequest {
    let mut success = vec![put_op(keys.beat.clone(), beat.beat.clone())];
    success.extend(beat.leases.into_iter().map(|(name, record)| match record {
        Some(record) => put_op(keys.key(&name), record),
        None => delete_op(keys.key(&name), Vec::new()),
    }));
    TxnRequest {
        compare: in_term(keys, beat.term, beat.seat, beat.beat),
        success,
        failure: seat_and_beat(keys),
    }
}

pub(super) fn resign(keys: &Keys, resign: Resign) -> TxnRequest {
    TxnRequest {
        success: vec![
            put_op(keys.seat.clone(), resign.resigned),
            put_op(keys.beat.clone(), resign.beat.clone()),
        ],
        compare: in_term(keys, resign.term, resign.seat, resign.beat),
        failure: seat_and_beat(keys),
    }
}

pub(super) fn put(key: Vec<u8>, value: Vec<u8>) -> TxnRequest {
    TxnRequest { success: vec![put_op(key, value)], ..TxnRequest::default() }
}

pub(super) fn delete(key: Vec<u8>) -> TxnRequest {
    TxnRequest { success: vec![delete_op(key, Vec::new())], ..TxnRequest::default() }
}

/// A key is this from now on, if it is as it was seen.
pub(super) fn swap(key: Vec<u8>, seen: Option<Versioned>, value: Vec<u8>) -> TxnRequest {
    TxnRequest { compare: as_seen(&key, seen), success: vec![put_op(key, value)], ..TxnRequest::default() }
}

/// The key is as it was seen, by revision and by value: revisions repeat when etcd is restored from a backup.
fn as_seen(key: &[u8], seen: Option<Versioned>) -> Vec<Compare> {
    let Some(seen) = seen else {
        let missing = TargetUnion::CreateRevision(0);
        return vec![compare(key, CompareTarget::Create, CompareResult::Equal, missing)];
    };
    let revision = TargetUnion::ModRevision(seen.revision.cast_signed());
    let value = TargetUnion::Value(seen.value);
    vec![
        compare(key, CompareTarget::Mod, CompareResult::Equal, revision),
        compare(key, CompareTarget::Value, CompareResult::Equal, value),
    ]
}

/// The seat is that of this term, and the beat that stands is lower. etcd finds the value of a missing key neither equal
/// to anything nor less.
fn in_term(keys: &Keys, term: u64, seat: Vec<u8>, new_beat: Vec<u8>) -> Vec<Compare> {
    let mut compares = as_seen(&keys.seat, Some(Versioned { revision: term, value: seat }));
    let value = TargetUnion::Value(new_beat);
    compares.push(compare(&keys.beat, CompareTarget::Value, CompareResult::Less, value));
    compares
}

fn compare(key: &[u8], target: CompareTarget, result: CompareResult, with: TargetUnion) -> Compare {
    Compare { key: key.to_vec(), target: target.into(), result: result.into(), target_union: Some(with) }
}

fn seat_and_beat(keys: &Keys) -> Vec<RequestOp> {
    vec![range_op(keys.seat.clone(), Vec::new()), range_op(keys.beat.clone(), Vec::new())]
}

pub(super) fn range_op(key: Vec<u8>, range_end: Vec<u8>) -> RequestOp {
    let range = RangeRequest { key, range_end, ..RangeRequest::default() };
    RequestOp { request: Some(Request::RequestRange(range)) }
}

pub(super) fn put_op(key: Vec<u8>, value: Vec<u8>) -> RequestOp {
    RequestOp { request: Some(Request::RequestPut(PutRequest { key, value })) }
}

pub(super) fn delete_op(key: Vec<u8>, range_end: Vec<u8>) -> RequestOp {
    RequestOp { request: Some(Request::RequestDeleteRange(DeleteRangeRequest { key, range_end })) }
}

/// How a write of the seat ended.
pub(super) fn written(answer: TxnResponse) -> Written {
    if answer.succeeded { Written::Done(revision(&answer)) } else { Written::Not(looked(answer)) }
}

/// Seat and beat, from the answer to [`seat_and_beat`].
pub(super) fn looked(answer: TxnResponse) -> Look {
    let revision = revision(&answer);
    let mut ranges = answer.responses.into_iter().map(|answer| versioned(ranged(answer).into_iter().next()));
    let (seat, beat) = (ranges.next().flatten(), ranges.next().flatten());
    Look { revision, seat, beat }
}

pub(super) fn revision(answer: &TxnResponse) -> u64 {
    answer.header.as_ref().map_or(0, |header| header.revision.cast_unsigned())
}

/// What a range of a transaction found.
pub(super) fn ranged(answer: ResponseOp) -> Vec<KeyValue> {
    match answer.response {
        Some(Response::ResponseRange(range)) => range.kvs,
        _ => Vec::new(),
    }
}

/// A key as it was read.
pub(super) fn versioned(found: Option<KeyValue>) -> Option<Versioned> {
    found.map(|found| Versioned { revision: found.mod_revision.cast_unsigned(), value: found.value })
}
