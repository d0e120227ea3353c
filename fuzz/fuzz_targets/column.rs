//! Every mapping with any bytes: encoded again they are what came, or the value is an exception, or an error.
#![no_main]

use std::sync::LazyLock;

use barkeep::manifest::Mapping;
use barkeep_fuzz::{Dials, law, seed};
use libfuzzer_sys::fuzz_target;

static SAMPLES: LazyLock<Vec<(Mapping, Vec<Vec<u8>>)>> = LazyLock::new(barkeep::codec::samples);

fn seeds() -> Vec<Vec<u8>> {
    let with = |(at, (_, values)): (usize, &(Mapping, Vec<Vec<u8>>))| {
        let inputs = values.iter().take(20).map(move |wire| [&[at as u8][..], wire].concat());
        inputs.collect::<Vec<_>>()
    };
    SAMPLES.iter().enumerate().flat_map(with).collect()
}

fuzz_target!(init: seed("column", seeds()), |input: &[u8]| {
    let mut dials = Dials(input);
    let (mapping, _) = &SAMPLES[usize::from(dials.byte()) % SAMPLES.len()];
    law::hold(mapping, dials.0);
});
