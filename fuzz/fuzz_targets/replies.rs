#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| getlockd_client::read_all(data));
