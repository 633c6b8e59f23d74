//! What is on the drive when the emulator starts: nothing, a small believable home, or a million items.
//!
//! The synthetic drive is laid out by arithmetic: the tree, names, sizes and bytes of every item follow
//! from its number and the seed, and nothing but the item records themselves is kept in memory.

use std::time::Duration;

use super::content::Content;
use super::drive::{Body, ClientTimes, Conflict, Drive, Folder, Item};
use super::ident::{Index, ROOT, mix};
use crate::base::clock::Timestamp;

/// Folders that a synthetic folder contains, beside its files.
const BRANCHES: u64 = 12;
/// Items for each folder of a synthetic drive.
const ITEMS_PER_FOLDER: u64 = 40;
/// Files of the one folder that is larger than the others.
const LARGE_FOLDER: u64 = 10_000;

/// The name of a synthetic item. In a folder all files sort before all folders, each in the order of
/// their numbers.
pub(crate) fn generated_name(index: Index, folder: bool) -> String {
    if folder {
        return format!("folder-{index:07}");
    }
    let extensions = ["txt", "pdf", "jpg", "docx", "csv", "mp4", "zip", "bin"];
    let extension = extensions[(mix(u64::from(index)) % 8) as usize];
    format!("file-{index:07}.{extension}")
}

/// A size between nothing and a few megabytes, small ones more often; one in ten thousand is large.
fn generated_size(seed: u64, index: u64) -> u64 {
    let drawn = mix(seed ^ mix(index));
    if drawn.is_multiple_of(10_000) {
        return (100 << 20) + (drawn >> 32) % (400 << 20);
    }
    let magnitude = (drawn >> 16) % 22;
    let top = 1u64 << magnitude;
    (drawn >> 32) % top + if magnitude > 0 { top } else { 0 }
}

/// Fills an empty drive with `count` items below the root.
pub(crate) fn synthetic(drive: &mut Drive, seed: u64, count: u64, now: Timestamp) {
    let count = count.min(u64::from(Index::MAX) / 2);
    let folders = count / ITEMS_PER_FOLDER;
    let files = count - folders;
    let large = if folders > 0 { (count / 10).min(LARGE_FOLDER) } else { 0 };
    let year = 365 * 86_400;
    let time = |index: u64| {
        let age = mix(seed ^ index ^ 0x7157) % (6 * year);
        Timestamp::from_seconds(now.seconds() - 86_400 - age as i64)
    };
    let item = |index: u64, parent: u64, body: Body| {
        let at = time(index);
        Item {
            name: None,
            body,
            parent: parent as Index,
            changed: index as u32,
            etag: 1,
            ctag: 1,
            deletion: 0,
            times: ClientTimes { created: at, modified: at },
            created: at,
            modified: at,
            extras: None,
        }
    };
    drive.items.reserve_exact(count as usize);
    drive.log.reserve_exact(count as usize);
    let mut contents = vec![Folder::default(); folders as usize + 1];
    for index in 1..=folders {
        drive.items.push(item(index, (index - 1) / BRANCHES, Body::Folder(Box::default())));
    }
    // Folder 1 gets the large share; the rest goes evenly to all, the root included.
    let even = (files - large) / (folders + 1);
    let spare = (files - large) % (folders + 1);
    let mut next = folders + 1;
    for folder in 0..=folders {
        let share = even + u64::from(folder < spare) + if folder == 1 { large } else { 0 };
        for index in next..next + share {
            let size = generated_size(seed, index);
            contents[folder as usize].bytes += size;
            contents[folder as usize].children.push(index as Index);
            let content = Content::Generated { seed: mix(seed ^ index), size };
            drive.items.push(item(index, folder, Body::File(content)));
        }
        next += share;
    }
    for index in 1..=folders {
        contents[((index - 1) / BRANCHES) as usize].children.push(index as Index);
    }
    for index in (1..=folders).rev() {
        let bytes = contents[index as usize].bytes;
        contents[((index - 1) / BRANCHES) as usize].bytes += bytes;
    }
    drive.used = contents[0].bytes;
    drive.total = drive.total.max(drive.used.saturating_mul(2));
    for (index, folder) in contents.into_iter().enumerate() {
        drive.items[index].body = Body::Folder(Box::new(folder));
    }
    drive.log.extend(1..=count as Index);
}

/// Fills an empty drive with a small home that a person might have.
pub(crate) fn home(drive: &mut Drive, now: Timestamp) {
    let text = |text: &str| Content::from_bytes(text.as_bytes().to_vec());
    let files: Vec<(&str, u64, Content)> = vec![
        ("Documents/Welcome.md", 1, text(include_str!("demo/welcome.md"))),
        ("Documents/Budget 2026.csv", 3, text("month,rent,food,travel\n2026-01,900,310,45\n2026-02,900,295,120\n")),
        ("Documents/Letters/To the council.txt", 40, text("Dear Sir or Madam,\n\nthe street lamp is still broken.\n")),
        ("Documents/Letters/Reply.txt", 31, text("We thank you for your letter, which we have filed.\n")),
        (
            "Documents/Recipes/Bread.md",
            210,
            text("# Bread\n\n- 500 g flour\n- 350 g water\n- 10 g salt\n- 3 g yeast\n"),
        ),
        ("Documents/Recipes/Crème brûlée.md", 180, text("# Crème brûlée\n\nPatience, then fire.\n")),
        ("Documents/Taxes/2024/return.pdf", 500, Content::Generated { seed: 11, size: 182_331 }),
        ("Documents/Taxes/2025/return.pdf", 130, Content::Generated { seed: 12, size: 190_042 }),
        ("Documents/Taxes/2025/empty note.txt", 130, text("")),
        ("Pictures/Lisbon 2025/tram.png", 320, Content::from_bytes(picture(320, 200, 1))),
        ("Pictures/Lisbon 2025/harbour.png", 320, Content::from_bytes(picture(400, 240, 2))),
        ("Pictures/Lisbon 2025/😀 friends.png", 319, Content::from_bytes(picture(240, 240, 3))),
        ("Pictures/Garden/tomatoes.png", 90, Content::from_bytes(picture(300, 300, 4))),
        ("Music/tone.wav", 700, Content::from_bytes(tone(440.0, 2))),
        ("Videos/holiday.mp4", 321, Content::Generated { seed: 21, size: 48_234_496 }),
        ("Projects/planner/main.py", 12, text("print('What is next?')\n")),
        ("Projects/planner/README.md", 12, text("# planner\n\nA list that forgives.\n")),
        ("Projects/planner/data/tasks.json", 2, text("[{\"task\": \"water the tomatoes\", \"done\": false}]\n")),
        ("Backup/old laptop.zip", 900, Content::Generated { seed: 31, size: 210_763_776 }),
    ];
    for (path, days, content) in files {
        let then = Timestamp::from_seconds(now.seconds() - days as i64 * 86_400);
        let times = ClientTimes { created: then, modified: then };
        let mut parent = ROOT;
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            let made = if names.peek().is_some() {
                drive.make_folder(parent, name, Conflict::Replace, times, then)
            } else {
                drive.write_named(parent, name, content.clone(), Conflict::Replace, times, then)
            };
            // A name this kind of drive refuses is only missing from the demo.
            let Ok(made) = made else { break };
            parent = made.index;
        }
    }
    for (name, special) in [("Documents", "documents"), ("Pictures", "photos"), ("Music", "music")] {
        if let Ok(Some(index)) = drive.child(ROOT, name)
            && let Ok(extras) = drive.extras_mut(index)
        {
            extras.special = Some(special);
        }
    }
    let long_ago = now.0.saturating_sub(Duration::from_secs(1000 * 86_400).as_nanos() as i64);
    drive.items[ROOT as usize].created = Timestamp(long_ago);
}

/// A small PNG: a gradient, without compression.
fn picture(width: u32, height: u32, hue: u32) -> Vec<u8> {
    let mut rows = Vec::new();
    for y in 0..height {
        rows.push(0);
        for x in 0..width {
            rows.extend([(x * 255 / width) as u8, (y * 255 / height) as u8, (hue * 60) as u8]);
        }
    }
    let mut stream = vec![0x78, 0x01];
    let mut blocks = rows.chunks(60_000).peekable();
    while let Some(block) = blocks.next() {
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend((block.len() as u16).to_le_bytes());
        stream.extend((!(block.len() as u16)).to_le_bytes());
        stream.extend(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for byte in &rows {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    stream.extend((b << 16 | a).to_be_bytes());

    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], bytes: &[u8]| {
        let body = [kind.as_slice(), bytes].concat();
        let mut sum = u32::MAX;
        for byte in &body {
            sum ^= u32::from(*byte);
            for _ in 0..8 {
                sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
            }
        }
        out.extend((bytes.len() as u32).to_be_bytes());
        out.extend(&body);
        out.extend((!sum).to_be_bytes());
    };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes()[..], &[8, 2, 0, 0, 0]].concat();
    chunk(b"IHDR", &header);
    chunk(b"IDAT", &stream);
    chunk(b"IEND", &[]);
    out
}

/// A WAV file with one tone.
fn tone(frequency: f64, seconds: u32) -> Vec<u8> {
    let (rate, length) = (8000u32, 8000 * seconds);
    let mut out = b"RIFF".to_vec();
    out.extend((36 + length).to_le_bytes());
    out.extend(b"WAVEfmt ");
    out.extend(16u32.to_le_bytes());
    out.extend([1, 0, 1, 0]);
    out.extend(rate.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend([1, 0, 8, 0]);
    out.extend(b"data");
    out.extend(length.to_le_bytes());
    let step = frequency * std::f64::consts::TAU / f64::from(rate);
    out.extend((0..length).map(|i| (128.0 + 60.0 * (f64::from(i) * step).sin()) as u8));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::Flavour;

    #[test]
    fn a_synthetic_drive_keeps_the_drives_rules() {
        for count in [0, 1, 39, 1000, 5000] {
            let now = Timestamp::from_seconds(1_772_000_000);
            let mut drive = Drive::new(Flavour::PersonalNew, 1, "a", 1 << 40, now);
            synthetic(&mut drive, 7, count, now);
            assert_eq!(drive.items.len() as u64, count + 1);
            assert_eq!(drive.subtree(ROOT).len() as u64, count + 1, "all items hang together");
            for index in 0..drive.items.len() as Index {
                assert_eq!(drive.log[drive.items[index as usize].changed as usize], index);
                if let Body::Folder(folder) = &drive.items[index as usize].body {
                    let sum: u64 = folder.children.iter().map(|&child| drive.weight(child)).sum();
                    assert_eq!(sum, folder.bytes);
                    for &child in &folder.children {
                        assert_eq!(drive.items[child as usize].parent, index);
                        let name = drive.name(child).into_owned();
                        assert_eq!(drive.child(index, &name), Ok(Some(child)), "found by its name");
                    }
                }
            }
        }
    }

    #[test]
    fn a_million_items_stay_small() {
        assert!(size_of::<Item>() <= 128, "{} bytes for each item", size_of::<Item>());
    }

    #[test]
    fn a_home_drive_is_filled_on_every_kind_of_drive() {
        for flavour in [Flavour::PersonalOld, Flavour::PersonalNew, Flavour::Business, Flavour::DocumentLibrary] {
            let now = Timestamp::from_seconds(1_772_000_000);
            let mut drive = Drive::new(flavour, 1, "a", 1 << 40, now);
            home(&mut drive, now);
            assert!(drive.walk(ROOT, ["Pictures", "Lisbon 2025", "tram.png"]).is_ok());
        }
    }
}
