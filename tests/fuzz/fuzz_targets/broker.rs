#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmqtt_fuzz::broker::run(data));
