#![no_main]

use heist_fuzz::scenarios::{crossed, mutated};
use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| heist_fuzz::scenarios::run(data));

// One in eight as bytes, so that the reader sees what is no scenario too.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match mutated(&data[..size], seed / 8) {
        Some(text) if seed % 8 != 0 && text.len() <= max_size => put(data, &text),
        _ => fuzzer_mutate(data, size, max_size),
    }
});

fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    match crossed(one, other, seed) {
        Some(text) if text.len() <= out.len() => put(out, &text),
        _ => 0,
    }
});

fn put(out: &mut [u8], text: &[u8]) -> usize {
    out[..text.len()].copy_from_slice(text);
    text.len()
}
