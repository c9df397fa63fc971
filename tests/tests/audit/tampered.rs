//! Verification notices each changed, added or removed byte of an exported trail.

use atlasent::audit::Trail;
use atlasent_authority::trail::EventFilter;
use proptest::prelude::*;

use crate::story::{Story, answer, export};

/// Returns whether a changed trail is unreadable, not intact, or equal to the original.
fn is_noticed(original: &Trail, changed: &[u8]) -> bool {
    match serde_json::from_slice::<Trail>(changed) {
        Err(_) => true,
        Ok(trail) => !trail.verify().is_intact() || trail == *original,
    }
}

/// Returns replacements for a byte: its neighbours, its other case, and JSON's punctuation.
fn replacements(byte: u8) -> impl Iterator<Item = u8> {
    let mut bytes = vec![
        byte ^ 1,
        byte ^ 0x20,
        byte ^ 0x80,
        b' ',
        b'"',
        b',',
        b'}',
        b'\\',
        b'0',
        b'e',
    ];
    bytes.sort_unstable();
    bytes.dedup();
    bytes.into_iter().filter(move |new| *new != byte)
}

/// The first three events, which contain all kinds of fields: the start, an allow, its
/// verification.
fn beginning() -> (Trail, Vec<u8>) {
    let story = Story::with_all_operations(false);
    let trail = Trail::new(answer(story.authority.events(
        0,
        3,
        &EventFilter::default(),
    )));
    let exported = export(&trail);
    (trail, exported)
}

#[test]
fn no_byte_of_an_export_can_be_replaced() {
    let (trail, exported) = beginning();
    let mut tried = 0;
    for at in 0..exported.len() {
        for new in replacements(exported[at]) {
            let mut changed = exported.clone();
            changed[at] = new;
            assert!(
                is_noticed(&trail, &changed),
                "byte {at}: {}",
                String::from_utf8_lossy(&changed)
            );
            tried += 1;
        }
    }
    println!("{tried} changes of {} bytes", exported.len());
}

#[test]
fn no_byte_of_an_export_can_be_taken_away() {
    let (trail, exported) = beginning();
    for at in 0..exported.len() {
        let mut changed = exported.clone();
        changed.remove(at);
        assert!(
            is_noticed(&trail, &changed),
            "byte {at}: {}",
            String::from_utf8_lossy(&changed)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_byte_of_an_export_can_be_changed_in_any_way(
        at in any::<prop::sample::Index>(), new in any::<u8>(), how in 0..3, record_context in any::<bool>(),
    ) {
        thread_local! {
            static TRAILS: [(Trail, Vec<u8>); 2] = [false, true].map(|record_context| {
                let trail = Story::with_all_operations(record_context).trail();
                let exported = export(&trail);
                (trail, exported)
            });
        }
        TRAILS.with(|trails| {
            let (trail, exported) = &trails[usize::from(record_context)];
            let at = at.index(exported.len());
            let mut changed = exported.clone();
            match how {
                0 => changed[at] = new,
                1 => changed.insert(at, new),
                _ => drop(changed.remove(at)),
            }
            prop_assert!(is_noticed(trail, &changed), "byte {}: {}", at, String::from_utf8_lossy(&changed));
            Ok(())
        })?;
    }
}
