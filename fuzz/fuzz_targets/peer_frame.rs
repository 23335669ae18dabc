// `fuzz_target!` exports symbols for libFuzzer, so `unsafe_code` can't be forbidden here.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kv_node::fuzz::peer_frame(bytes);
});
