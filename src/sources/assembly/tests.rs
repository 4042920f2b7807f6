//! Slots are filled as they should be, whatever comes in whichever order.

use super::*;
use crate::domain::{Earth, Projection};
use crate::sources::Offer;
use crate::storage::ObjectMeta;

const HOUR: u64 = 3600;

fn slot(hour: u64, lead: u32) -> Slot {
    Slot::new(Moment(hour * HOUR), Lead::hours(lead))
}

fn offer(key: &str, named: Slot, exact: bool) -> Offer {
    let meta = ObjectMeta { key: key.into(), size: 1, etag: "1".into() };
    Offer { meta, named, exact, indexed: false }
}

fn grid(nx: usize) -> Arc<Grid> {
    let (x0, y0, dx, dy) = (0.0, 0.0, 1.0, 1.0);
    Arc::new(Grid { projection: Projection::LatLon, earth: Earth::sphere(6_371_229.0), nx, ny: 1, x0, y0, dx, dy })
}

fn field(slot: Slot, variable: &str) -> Field {
    let values = Arc::new(vec![1.0]);
    Field {
        variable: variable.into(),
        slot,
        grid: grid(1),
        values,
        held: None,
        provenance: Arc::default(),
        restored: false,
    }
}

/// Expects leads 1 and 2, requires t2m and may have refc.
fn assembly() -> Assembly {
    let variables = vec![("refc".into(), Requirement::Optional), ("t2m".into(), Requirement::Required)];
    let mut assembly = Assembly::new(variables, vec![Lead::hours(1), Lead::hours(2)], None, Vec::new());
    assembly.await_cycle(Moment(0));
    assembly.await_cycle(Moment(HOUR));
    assembly
}

/// Runs an archive to its end: `contents` are the slots that the headers of each key speak of.
fn run(mut assembly: Assembly, offers: Vec<Offer>, contents: &[(&str, Slot)]) -> (Vec<Emission>, Vec<Reject>) {
    let mut outcomes = vec![assembly.listed(offers, &|_| Need::Fetch), assembly.declare_missing(|_| true)];
    assembly.set_future(None);
    while let Some(job) = assembly.next_job() {
        let (Work::Fetch(offer) | Work::Restore(offer)) = job.work.clone();
        let told = assembly.frontier();
        let found = contents.iter().filter(|(key, _)| *key == offer.meta.key);
        let fields = found.map(|(_, slot)| field(*slot, "t2m")).collect();
        let outcome = assembly.finish(job, Delivery { fields, ..Delivery::default() });
        for sent in &outcome.emissions {
            assert!(told.iter().any(|t| t.before_or_at(sent.at)), "{sent:?} is before the frontier {told:?}");
        }
        outcomes.push(outcome);
    }
    assert!(assembly.is_done() && assembly.frontier().is_empty());
    let (mut sent, mut rejects) = (Vec::new(), Vec::new());
    outcomes.into_iter().for_each(|o| {
        sent.extend(o.emissions);
        rejects.extend(o.rejects);
    });
    (sent, rejects)
}

fn filled(sent: &[Emission]) -> Vec<Slot> {
    sent.iter().filter(|e| matches!(e.item, Item::Field(_))).map(|e| e.item.slot()).collect()
}

#[test]
fn the_rightly_named_object_wins_whichever_comes_first() {
    for (wrong, right) in [(slot(0, 2), slot(1, 1)), (slot(1, 2), slot(0, 1))] {
        let offers = vec![offer("right", right, true), offer("wrong", wrong, true)];
        let (sent, rejects) = run(assembly(), offers, &[("right", right), ("wrong", right)]);
        assert_eq!(filled(&sent), [right]);
        let told: Vec<_> = rejects.iter().map(|r| (r.object.as_str(), r.reason)).collect();
        assert_eq!(told, [("wrong", RejectReason::Duplicate)]);
    }
}

#[test]
fn a_wrongly_named_object_fills_a_slot_that_nothing_else_fills() {
    for (wrong, right) in [(slot(0, 2), slot(1, 1)), (slot(1, 2), slot(0, 1))] {
        let (sent, rejects) = run(assembly(), vec![offer("wrong", wrong, true)], &[("wrong", right)]);
        assert_eq!((filled(&sent), rejects), (vec![right], vec![]));
    }
    // Its own object is there and is not readable.
    let offers = vec![offer("broken", slot(1, 1), true), offer("wrong", slot(0, 2), true)];
    let (sent, rejects) = run(assembly(), offers, &[("wrong", slot(1, 1))]);
    assert_eq!((filled(&sent), rejects.len()), (vec![slot(1, 1)], 1));
    assert_eq!((rejects[0].object.as_str(), rejects[0].reason), ("broken", RejectReason::Unreadable));
}

#[test]
fn an_object_whose_name_is_no_slots_is_read_and_believed_by_its_header() {
    let offers = vec![offer("odd", slot(0, 1), false), offer("right", slot(0, 1), true)];
    let (sent, rejects) = run(assembly(), offers.clone(), &[("right", slot(0, 1))]);
    assert_eq!(filled(&sent), [slot(0, 1)]);
    assert_eq!((rejects[0].object.as_str(), rejects[0].reason), ("odd", RejectReason::Unreadable));
    let (_, rejects) = run(assembly(), offers, &[("right", slot(0, 1)), ("odd", slot(9, 1))]);
    assert_eq!(rejects[0].reason, RejectReason::UnexpectedSlot);
}

#[test]
fn what_does_not_come_is_told_and_only_what_is_required_is_set_aside() {
    let (sent, rejects) = run(assembly(), vec![offer("a", slot(0, 1), true)], &[("a", slot(0, 1))]);
    let absent = |e: &Emission| matches!(&e.item, Item::Absent(a) if &*a.variable == "refc");
    assert!(rejects.is_empty() && sent.iter().any(absent));
    let mut strict = assembly();
    strict.variables[0].1 = Requirement::Required;
    let (_, rejects) = run(strict, vec![offer("a", slot(0, 1), true)], &[("a", slot(0, 1))]);
    assert_eq!(rejects[0].reason, RejectReason::MissingVariable);
}

#[test]
fn an_open_slot_holds_back_its_own_lead_and_nothing_earlier() {
    let mut assembly = assembly();
    assembly.set_future(Some(Moment(2 * HOUR)));
    let offers = vec![offer("b", slot(0, 2), true), offer("c", slot(1, 1), true)];
    assembly.listed(offers, &|_| Need::Fetch);
    assert_eq!(assembly.frontier(), [slot(0, 1), slot(2, 0)]);
    // Lead 1 of the first cycle passes its deadline: it is missing, and what waited behind it goes on.
    let outcome = assembly.declare_missing(|s| s == slot(0, 1));
    assert_eq!(outcome.missing, [slot(0, 1)]);
    assert_eq!(assembly.frontier(), [slot(0, 2), slot(1, 1), slot(2, 0)]);
}

#[test]
fn what_comes_after_its_deadline_is_a_correction_at_a_later_time() {
    let mut assembly = assembly();
    assembly.set_future(Some(Moment(2 * HOUR)));
    assembly.declare_missing(|_| true);
    assert_eq!(assembly.frontier(), [slot(2, 0)]);
    assembly.listed(vec![offer("late", slot(0, 1), true)], &|_| Need::Fetch);
    let job = assembly.next_job().expect("the late object");
    let outcome = assembly.finish(job, Delivery { fields: vec![field(slot(0, 1), "t2m")], ..Delivery::default() });
    let sent: Vec<_> = outcome.emissions.iter().map(|e| (e.at, e.item.slot())).collect();
    assert_eq!(sent, [(slot(2, 1), slot(0, 1)); 2]);
}

#[test]
fn a_field_on_another_grid_is_set_aside() {
    let mut assembly = assembly();
    assembly.basis = Some(Basis { grid: grid(2), synthetic: false, object: "first".into() });
    let (sent, rejects) = run(assembly, vec![offer("a", slot(0, 1), true)], &[("a", slot(0, 1))]);
    assert_eq!((filled(&sent), rejects[0].reason), (vec![], RejectReason::WrongGrid));
}

#[test]
fn what_was_set_aside_before_is_not_fetched_again() {
    let known = Reject {
        object: "wrong".into(),
        etag: "1".into(),
        named: slot(0, 2),
        reason: RejectReason::Duplicate,
        detail: String::new(),
        messages: 1,
        used: false,
    };
    let run_again = |known: &Reject| {
        let mut assembly = assembly();
        assembly.known.insert(("wrong".into(), "1".into()), vec![known.clone()]);
        let outcome = assembly.listed(vec![offer("wrong", slot(0, 2), true)], &|_| Need::Fetch);
        (outcome.rejects, assembly.next_job().is_some())
    };
    assert_eq!(run_again(&known), (vec![known.clone()], false));
    // Of a damaged object something was used, and a killed run may not have published it.
    let damaged = Reject { reason: RejectReason::Unreadable, used: true, ..known.clone() };
    assert_eq!(run_again(&damaged), (vec![damaged.clone()], true));
    let unreachable = Reject { reason: RejectReason::FetchFailed, ..known };
    assert_eq!(run_again(&unreachable), (vec![], true));
}

#[test]
fn synthetic_fields_never_stand_beside_others() {
    let mut assembly = assembly();
    assembly.basis = Some(Basis { grid: grid(1), synthetic: true, object: "first".into() });
    let (sent, rejects) = run(assembly, vec![offer("a", slot(0, 1), true)], &[("a", slot(0, 1))]);
    assert_eq!((filled(&sent), rejects[0].reason), (vec![], RejectReason::WrongOrigin));
}
