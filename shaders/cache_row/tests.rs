//! Oracles: the nearest of all codes, by trying them; sizes that FlashMLA documents.

use super::*;
use crate::bound::{Bound, Verdict};
use crate::case::Random;
use crate::{cache_write, index_key_write};

#[test]
fn the_nearest_code_is_taken() {
    let codes: Vec<(u32, f32)> = (0..0x7f).map(|code| (code, decode_e4m3(code))).collect();
    let mut random = Random::new(1);
    let mut values: Vec<f32> = codes.iter().map(|code| code.1).collect();
    values.extend(codes.windows(2).map(|pair| pair[0].1.midpoint(pair[1].1))); // ties
    values.extend((0..2000).map(|_| random.float().abs() * 2f32.powi(random.below(20) as i32 - 11)));
    values.extend([448.0, 449.0, 1e9, 1e-30]);
    for value in values {
        let error = |code: &(u32, f32)| (code.1 - value.min(448.0)).abs();
        // Of two that are equally near, the even one.
        let nearest = codes.iter().min_by(|a, b| error(a).total_cmp(&error(b)).then((a.0 % 2).cmp(&(b.0 % 2))));
        assert_eq!(Some(encode_e4m3(value)), nearest.map(|code| code.0), "{value}");
        assert_eq!(encode_e4m3(-value), encode_e4m3(value) | 0x80, "{value}");
    }
}

#[test]
fn scales_are_the_smallest_powers_of_two_that_hold_a_block() {
    for largest in [448.0f32, 448.1, 447.9, 1.0, 1.75, 1.751, 3e-7, 1e30] {
        let scale = scale_of(&[0.1 * largest, -largest]);
        assert_eq!(scale.to_bits() & 0x7f_ffff, 0, "{scale} is a power of two");
        assert!(largest / scale <= 448.0 && largest / (scale / 2.0) > 448.0, "{largest}: {scale}");
    }
    for tiny in [0.0, 1e-39, 1e-30] {
        assert_eq!(scale_of(&[tiny]), 2f32.powi(-100));
    }
}

#[test]
fn rows_come_back_within_a_step() {
    let mut random = Random::new(2);
    for cache_type in CacheType::ALL {
        for row in [cache_write::row(132, 6, cache_type), index_key_write::row(260, cache_type)] {
            let mut cache = vec![0; 64 * row.words() as usize];
            let values: Vec<Vec<f32>> = (0..64).map(|_| random.floats(row.width() as usize)).collect();
            (0..).zip(&values).for_each(|(place, values)| row.write(&mut cache, place, values));
            for (place, values) in (0..).zip(&values) {
                let read = row.read(&cache, place);
                for ((value, read), step) in values.iter().zip(&read).zip(row.steps(values)) {
                    assert!(f64::from((value - read).abs()) <= step / 2.0, "{cache_type}: {value} became {read}");
                }
                let mut again = vec![0; cache.len()];
                row.write(&mut again, place, &read);
                assert_eq!(row.read(&again, place), read, "{cache_type}: what was read is written as it is");
            }
        }
    }
}

/// 512 bytes of codes, 16 of scales and 128 of rotated dims; 128 and 4 for an index key.
#[test]
fn rows_of_v3_2_have_the_published_sizes() {
    let bytes = |cache_type| {
        [cache_write::row(512, 32, cache_type), index_key_write::row(128, cache_type)].map(|row| row.words() * 4)
    };
    assert_eq!(CacheType::ALL.map(bytes), [[2304, 512], [1152, 256], [656, 132]]);
}

/// Rows that were cut off instead of rounded stay within a step of the reference, each; all of them together do not.
#[test]
fn cut_off_rows_are_told_from_rounded_ones() {
    let mut random = Random::new(3);
    for (cache_type, nmse) in [(CacheType::F16, 1e-8), (CacheType::Fp8, 2e-4)] {
        let row = cache_write::row(132, 6, cache_type);
        let (mut rounded, mut cut) = (vec![0; 9 * row.words() as usize], vec![0; 9 * row.words() as usize]);
        let mut allowed = vec![];
        for place in 0..9 {
            let values = random.floats(row.width() as usize);
            row.write(&mut rounded, place, &values);
            let steps = row.steps(&values);
            let towards_zero = |(value, step): (&f32, &f64)| value - value.signum() * (0.25 * step) as f32;
            let lower: Vec<f32> = values.iter().zip(&steps).map(towards_zero).collect();
            row.write(&mut cut, place, &lower);
            allowed.extend(steps);
        }
        let bound = Bound::Rows { row, allowed, nmse };
        assert!(matches!(bound.judge(&rounded, &rounded), Verdict::Pass { .. }));
        assert!(matches!(bound.judge(&cut, &rounded), Verdict::Fail { .. }), "{cache_type}");
    }
}
