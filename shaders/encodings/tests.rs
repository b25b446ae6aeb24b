use super::*;
use crate::case::Random;
use data::{random_panels, random_rows, random_scales};

#[test]
fn sizes_are_exact() {
    assert_eq!((FP8.row_words(36), FP8.pieces(36), FP8.column_step()), (12, 3, 4));
    assert_eq!((FP8.table_scale_words(129, 260), BF16.table_scale_words(129, 260)), (6, 0));
    assert_eq!((Q4_0.row_words(96), Q4_0.pieces(96), Q4_0.column_step()), (12, 3, 32));
    // Bits for each weight, in rows of 7168: what the shapes of real models take.
    let bits_of = |encoding: &Encoding| (encoding.row_words(7168) + encoding.scale_words(7168)) as f64 * 32.0 / 7168.0;
    let expected = [
        (&Q8_0, 8.5),
        (&Q4_0, 4.5),
        (&Q4_1, 5.0),
        (&Q5_0, 5.5),
        (&Q5_1, 6.0),
        (&Q2_K, 2.625),
        (&Q3_K, 3.5625),
        (&Q4_K, 4.625),
        (&Q5_K, 5.625),
        (&Q6_K, 6.5625),
        (&IQ4_NL, 4.5),
        (&IQ4_XS, 4.3125),
        (&MXFP4, 4.25),
    ];
    for (encoding, expected) in expected {
        assert_eq!(bits_of(encoding), expected, "{encoding:?}");
    }
    for (bits, group, scale, has_minimum, expected) in [
        (4, 32, PackedScale::BF16, false, 4.5),
        (8, 128, PackedScale::F32, false, 8.25),
        (3, 64, PackedScale::F16, true, 3.5),
        (6, 128, PackedScale::F32, true, 6.5),
    ] {
        let packed = Packed { bits, group, scale, has_minimum };
        assert_eq!(super::packed(packed).map(bits_of), Some(expected), "{packed:?}");
    }
    assert_eq!(super::packed(Packed { bits: 3, group: 64, scale: PackedScale::F16, has_minimum: false }), None);
    let panels = Panels { encoding: &Q5_0, groups: 2, rows: 33, columns: 64, row_scales: false };
    assert_eq!((panels.words(), panels.scale_words()), (2 * 2 * 3 * 32 * 4, 2 * 2 * 32));
}

/// Oracle: the codes that were packed.
#[test]
fn codes_come_back_from_their_planes() {
    for encoding in encodings() {
        let columns = encoding.column_step() * 3;
        let mut random = Random::new(1);
        let bits = encoding.planes.code_bits();
        let codes: Vec<u32> = (0..columns).map(|_| random.word() & (u32::MAX >> (32 - bits))).collect();
        let mut words = vec![];
        encoding.planes.pack_into(&codes, &mut words);
        assert_eq!(words.len() as u64, encoding.row_words(columns), "{encoding:?}");
        let mut found = vec![0; codes.len()];
        encoding.planes.unpack(|p, w| words[p * 4 + w], &mut found);
        assert_eq!(found, codes, "{encoding:?}");
        // One code alone, so that no two share a bit.
        for at in 0..columns as usize {
            let mut one = vec![0; columns as usize];
            one[at] = u32::MAX >> (32 - bits);
            let mut words = vec![];
            encoding.planes.pack_into(&one, &mut words);
            assert_eq!(words.iter().map(|word| word.count_ones()).sum::<u32>(), bits, "{encoding:?}, code {at}");
        }
    }
}

/// Oracle: rows one after another.
#[test]
fn panels_hold_the_weights_of_their_rows() {
    for encoding in encodings() {
        let (rows, columns) = (33, encoding.column_step() * 5);
        let mut random = Random::new(1);
        let codes = random_rows(&mut random, encoding, rows, columns);
        let table = random_scales(&mut random, encoding, rows, columns);
        for row_scales in [false, true] {
            let panels = Panels { encoding, groups: 1, rows, columns, row_scales };
            let (words, scales) = (panels.lay_codes(&codes), panels.lay_scales(&table, |_| 0));
            assert_eq!((words.len() as u64, scales.len() as u64), (panels.words(), panels.scale_words()));
            let mut from_panels = vec![0.0; columns as usize];
            let expected = encoding.decode_rows(&codes, &table, rows, columns);
            for (row, expected) in (0..rows).zip(expected.chunks(columns as usize)) {
                panels.decode_row(&words, &scales, (0, row), |scaled, minimum| scaled + minimum, &mut from_panels);
                assert_eq!(from_panels, expected, "{encoding:?}, row {row}, {row_scales}");
            }
        }
    }
}

/// The scales of each row group begin with its own first row of the stored tensor.
#[test]
fn row_groups_find_their_scales() {
    let panels = Panels { encoding: &FP8, groups: 3, rows: 48, columns: 144, row_scales: true };
    let (words, _) = random_panels(&mut Random::new(2), &panels);
    let table: Vec<u32> = (0..6).map(|i| (i as f32).to_bits()).collect();
    // Groups begin with rows 40, 136 and 232: groups of 128 rows begin inside the first and the third.
    let scales = panels.lay_scales(&table, |group| 40 + 96 * group);
    let (mut scaled, mut plain) = (vec![0.0; 144], vec![0.0; 144]);
    for group in 0..3 {
        for row in 0..48 {
            panels.decode_row(&words, &scales, (group, row), |scaled, _| scaled, &mut scaled);
            panels.decode_row(
                &words,
                &vec![1f32.to_bits(); scales.len()],
                (group, row),
                |scaled, _| scaled,
                &mut plain,
            );
            for (column, (scaled, plain)) in scaled.iter().zip(&plain).enumerate() {
                let scale = (40 + 96 * group + row) / 128 * 2 + column as u32 / 128;
                assert_eq!(*scaled, plain * f64::from(scale), "{group} {row} {column}");
            }
        }
    }
}
