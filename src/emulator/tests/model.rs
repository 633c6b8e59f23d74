//! The drive's model under random operations: what `drive.rs` says is always true.

use proptest::prelude::*;

use super::super::Flavour;
use super::super::content::Content;
use super::super::drive::{Body, ClientTimes, Conflict, Drive};
use super::super::drive_ops::Relocation;
use super::super::ident::{Index, ROOT};
use super::super::names;
use crate::base::clock::Timestamp;

/// A small alphabet, so that operations meet each other.
#[derive(Clone, Debug)]
enum Op {
    Folder { parent: usize, name: usize, conflict: usize },
    Write { parent: usize, name: usize, size: usize, conflict: usize },
    Move { item: usize, parent: usize, name: usize, conflict: usize },
    Remove { item: usize },
    Restore { which: usize },
    Copy { item: usize, parent: usize, name: usize },
    Times { item: usize },
}

const NAMES: [&str; 6] = ["a", "A", "b", "a 1", "æ", "ae"];
const CONFLICTS: [Conflict; 3] = [Conflict::Fail, Conflict::Replace, Conflict::Rename];

fn op() -> impl Strategy<Value = Op> {
    let (n, c) = (0..NAMES.len(), 0..3usize);
    prop_oneof![
        (0..9usize, n.clone(), c.clone()).prop_map(|(parent, name, conflict)| Op::Folder { parent, name, conflict }),
        (0..9usize, n.clone(), 0..2000usize, c.clone()).prop_map(|(parent, name, size, conflict)| Op::Write {
            parent,
            name,
            size,
            conflict
        }),
        (0..20usize, 0..9usize, n.clone(), c).prop_map(|(item, parent, name, conflict)| Op::Move {
            item,
            parent,
            name,
            conflict
        }),
        (0..20usize).prop_map(|item| Op::Remove { item }),
        (0..5usize).prop_map(|which| Op::Restore { which }),
        (0..20usize, 0..9usize, n).prop_map(|(item, parent, name)| Op::Copy { item, parent, name }),
        (0..20usize).prop_map(|item| Op::Times { item }),
    ]
}

fn apply(drive: &mut Drive, op: &Op, now: Timestamp) {
    let times = ClientTimes { created: now, modified: now };
    let live: Vec<Index> = (0..drive.items.len() as Index).filter(|&i| drive.item(i).is_ok()).collect();
    let folders: Vec<Index> = live.iter().copied().filter(|&i| drive.folder(i).is_ok()).collect();
    let (item, folder) = (|n: usize| live[n % live.len()], |n: usize| folders[n % folders.len()]);
    // A refusal is as good as a success here: what counts is the state afterwards.
    let _ = match *op {
        Op::Folder { parent, name, conflict } => {
            drive.make_folder(folder(parent), NAMES[name], CONFLICTS[conflict], times, now).map(drop)
        }
        Op::Write { parent, name, size, conflict } => {
            let content = Content::from_bytes(vec![1; size]);
            drive.write_named(folder(parent), NAMES[name], content, CONFLICTS[conflict], times, now).map(drop)
        }
        Op::Move { item: which, parent, name, conflict } => {
            let to = Relocation { parent: Some(folder(parent)), name: Some(NAMES[name].to_owned()) };
            drive.relocate(item(which), &to, CONFLICTS[conflict], now).map(drop)
        }
        Op::Remove { item: which } => drive.remove(item(which), now),
        Op::Restore { which } => match drive.recycle_bin.get(which) {
            Some(&index) => drive.restore(index, None, None, now),
            None => Ok(()),
        },
        Op::Copy { item: which, parent, name } => {
            drive.copy(item(which), folder(parent), NAMES[name], Conflict::Fail, now).map(drop)
        }
        Op::Times { item: which } => drive.set_times(item(which), times, now),
    };
}

fn check(drive: &Drive) {
    let mut bytes = 0;
    for index in 0..drive.items.len() as Index {
        let item = &drive.items[index as usize];
        if item.deletion != 0 {
            continue;
        }
        assert_eq!(drive.log[item.changed as usize], index, "the log names each live item where it changed last");
        if index != ROOT {
            let parent = drive.folder(item.parent).expect("the parent of a live item is a live folder");
            assert_eq!(parent.children.iter().filter(|&&child| child == index).count(), 1);
        }
        match &item.body {
            Body::File(content) => bytes += content.size(),
            Body::Folder(folder) => {
                let sum: u64 = folder.children.iter().map(|&child| drive.weight(child)).sum();
                assert_eq!(folder.bytes, sum);
                for pair in folder.children.windows(2) {
                    let order = names::compare(&drive.name(pair[0]), &drive.name(pair[1]), drive.flavour());
                    assert!(order.is_lt(), "sorted, and no two names alike");
                }
                for &child in &folder.children {
                    assert!(drive.item(child).is_ok(), "a live folder holds live items");
                }
            }
            _ => {}
        }
    }
    assert_eq!(drive.used, bytes);
    assert!(drive.used <= drive.total);
    assert_eq!(drive.subtree(ROOT).len(), drive.items.iter().filter(|item| item.deletion == 0).count());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_always_true_stays_true(ops in prop::collection::vec(op(), 1..60), old in any::<bool>(), work in any::<bool>()) {
        let flavour = match (old, work) {
            (true, _) => Flavour::PersonalOld,
            (_, true) => Flavour::Business,
            _ => Flavour::PersonalNew,
        };
        let start = 1_772_000_000;
        let mut drive = Drive::new(flavour, 3, "a", 20_000, Timestamp::from_seconds(start));
        for (step, op) in ops.iter().enumerate() {
            apply(&mut drive, op, Timestamp::from_seconds(start + step as i64));
            check(&drive);
        }
    }
}
