//! What a code is worth: WGSL and its twin.

use crate::case::Random;

/// What a code is worth.
pub struct Values {
    /// WGSL: `decode4`, the values of four codes.
    pub(crate) wgsl: &'static str,
    /// Its constant: a whole number is this much less than its code.
    pub(crate) offset: Option<u32>,
    /// Its twin.
    pub decode: fn(codes: &[u32], values: &mut [f64]),
    /// A code for cases: any that is a number, of moderate size.
    pub(crate) random: fn(&mut Random) -> u32,
}

/// Declares values by the name of their text, the value of one code, and a random code.
macro_rules! values {
    ($name:literal, $value:expr, $random:expr) => {
        Values {
            wgsl: include_str!(concat!("values/", $name, ".wgsl")),
            offset: None,
            decode: |codes, values| each(codes, values, $value),
            random: $random,
        }
    };
}

pub(super) const F32: Values = values!("f32", f32::from_bits, |random| random.float().to_bits());

pub(super) const F16: Values = values!("f16", decode_f16, |random| {
    // Exponents 2⁻¹⁴ … 2⁰, a tenth of the codes subnormal.
    let exponent = if random.below(10) == 0 { 0 } else { 1 + random.below(15) };
    random.below(2) << 15 | exponent << 10 | random.below(1024)
});

pub(super) const BF16: Values =
    values!("bf16", |code| f32::from_bits(code << 16), |random| random.float().to_bits() >> 16);

pub(super) const E4M3: Values = values!("e4m3", decode_e4m3, |random| loop {
    let code = random.below(256);
    if code & 0x7f != 0x7f {
        break code;
    }
});

pub(super) const INT8: Values = values!("int8", |code| f32::from(code as u8 as i8), |random| random.below(256));

pub(super) const IQ4: Values = values!("iq4", |code| TABLE[code as usize].into(), |random| random.below(16));

pub(super) const E2M1: Values = values!("e2m1", decode_e2m1, |random| random.below(16));

/// Whole numbers of `BITS` bits from −`OFFSET` on.
pub(super) const fn int<const BITS: u32, const OFFSET: u32>() -> Values {
    Values {
        wgsl: include_str!("values/int.wgsl"),
        offset: Some(OFFSET),
        decode: |codes, values| each(codes, values, |code| code as f32 - OFFSET as f32),
        random: |random| random.below(1 << BITS),
    }
}

/// The values of IQ4's codes.
const TABLE: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

fn each(codes: &[u32], values: &mut [f64], value: impl Fn(u32) -> f32) {
    values.iter_mut().zip(codes).for_each(|(out, &code)| *out = f64::from(value(code)));
}

/// The value of an e2m1 nibble.
fn decode_e2m1(code: u32) -> f32 {
    let magnitude = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0][(code & 7) as usize];
    if code & 8 == 0 { magnitude } else { -magnitude }
}

/// The value of an IEEE binary16.
#[must_use]
pub fn decode_f16(bits: u32) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = (bits >> 10 & 31) as i32;
    let mantissa = (bits & 0x3ff) as f32;
    sign * match exponent {
        0 => mantissa * 2f32.powi(-24),
        31 if mantissa == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + mantissa) * 2f32.powi(exponent - 25),
    }
}

/// The value of an e4m3fn byte: no infinities, 0x7f and 0xff are NaN, the largest number is 448.
pub(crate) fn decode_e4m3(byte: u32) -> f32 {
    let sign = if byte & 0x80 == 0 { 1.0 } else { -1.0 };
    let exponent = (byte >> 3 & 15) as i32;
    let mantissa = (byte & 7) as f32;
    sign * match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa * 2f32.powi(-9),
        _ => (8.0 + mantissa) * 2f32.powi(exponent - 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e4m3_codes() {
        assert_eq!(decode_e4m3(0x7e), 448.0);
        assert_eq!(decode_e4m3(0x01), 2f32.powi(-9));
        assert_eq!(decode_e4m3(0x38), 1.0);
        assert_eq!(decode_e4m3(0xb8), -1.0);
        assert!(decode_e4m3(0x7f).is_nan() && decode_e4m3(0xff).is_nan());
    }

    /// Oracle: the value that the bit fields say, (−1)^s · 2^(e−15) · (1 + m/1024), in f64.
    #[test]
    fn every_half_is_exact() {
        for bits in 0..=0xffff {
            let (sign, exponent, mantissa) = (bits >> 15, (bits >> 10 & 31) as i32, f64::from(bits & 1023));
            let magnitude = match exponent {
                0 => mantissa * 2f64.powi(-24),
                31 if mantissa == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1.0 + mantissa / 1024.0) * 2f64.powi(exponent - 15),
            };
            let expected = if sign == 1 { -magnitude } else { magnitude };
            let got = f64::from(decode_f16(bits));
            assert!(got == expected || got.is_nan() && expected.is_nan(), "{bits:#06x}: {got} {expected}");
        }
    }
}
