#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| onedrive_mount::fuzzing::run("lcrc", data));
