//! Types of tensors by their numbers in a GGUF file.
//!
//! Source: `ggml.h` of llama.cpp.

use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::stored::tensor_error;
use crate::error::{Class, Error};

/// Types that lyn runs.
const TYPES: [(u32, Dtype); 16] = [
    (0, Dtype::F32),
    (1, Dtype::F16),
    (30, Dtype::BF16),
    (8, Dtype::Q8_0),
    (2, Dtype::Q4_0),
    (3, Dtype::Q4_1),
    (6, Dtype::Q5_0),
    (7, Dtype::Q5_1),
    (10, Dtype::Q2_K),
    (11, Dtype::Q3_K),
    (12, Dtype::Q4_K),
    (13, Dtype::Q5_K),
    (14, Dtype::Q6_K),
    (20, Dtype::IQ4_NL),
    (23, Dtype::IQ4_XS),
    (39, Dtype::MXFP4),
];

/// The type of a number in a tensor table.
pub(super) fn dtype(number: u32) -> Result<Dtype, Refused> {
    TYPES.iter().find(|(known, _)| *known == number).map(|(_, dtype)| *dtype).ok_or_else(|| Refused::of(number))
}

/// Why a number stands for no type that lyn runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A type that lyn does not run.
    Unsupported(&'static str),
    /// Whole numbers or doubles, which no weight is.
    NoWeight(&'static str),
    /// Taken out of the format.
    Removed(&'static str),
    /// A type of another program, `ik_llama.cpp`.
    Foreign,
    Unknown,
}

impl Refused {
    const fn of(number: u32) -> Refused {
        match number {
            9 => Refused::Unsupported("Q8_1"),
            15 => Refused::Unsupported("Q8_K"),
            16 => Refused::Unsupported("IQ2_XXS"),
            17 => Refused::Unsupported("IQ2_XS"),
            18 => Refused::Unsupported("IQ3_XXS"),
            19 => Refused::Unsupported("IQ1_S"),
            21 => Refused::Unsupported("IQ3_S"),
            22 => Refused::Unsupported("IQ2_S"),
            29 => Refused::Unsupported("IQ1_M"),
            34 => Refused::Unsupported("TQ1_0"),
            35 => Refused::Unsupported("TQ2_0"),
            40 => Refused::Unsupported("NVFP4"),
            41 => Refused::Unsupported("Q1_0"),
            24 => Refused::NoWeight("I8"),
            25 => Refused::NoWeight("I16"),
            26 => Refused::NoWeight("I32"),
            27 => Refused::NoWeight("I64"),
            28 => Refused::NoWeight("F64"),
            4 => Refused::Removed("Q4_2"),
            5 => Refused::Removed("Q4_3"),
            31 => Refused::Removed("Q4_0_4_4"),
            32 => Refused::Removed("Q4_0_4_8"),
            33 => Refused::Removed("Q4_0_8_8"),
            36 => Refused::Removed("IQ4_NL_4_4"),
            37 => Refused::Removed("IQ4_NL_4_8"),
            38 => Refused::Removed("IQ4_NL_8_8"),
            97.. => Refused::Foreign,
            _ => Refused::Unknown,
        }
    }

    pub(super) fn error(self, file: &str, tensor: &str, number: u32) -> Error {
        let known: Vec<&str> = TYPES.iter().map(|(_, dtype)| dtype.name()).collect();
        let known = known.join(", ");
        let refuse = |class, message: String| tensor_error(class, file, tensor, message);
        match self {
            Refused::Unsupported(name) => refuse(Class::Arch, format!("stored as {name}; lyn runs {known}"))
                .with_help("download another quantisation of this model, such as Q2_K, Q4_K_M or Q8_0"),
            Refused::NoWeight(name) => {
                refuse(Class::Dtype, format!("stored as {name}, which no weight is; expected one of {known}"))
            }
            Refused::Removed(name) => {
                refuse(Class::Dtype, format!("stored as {name}, which GGUF no longer has; expected one of {known}"))
                    .with_help("download a newer file of this model")
            }
            Refused::Foreign => {
                refuse(Class::Dtype, format!("type {number} is one of ik_llama.cpp; expected one of {known}"))
                    .with_help("download a quantisation made by llama.cpp")
            }
            Refused::Unknown => refuse(Class::Dtype, format!("unknown type {number}; expected one of {known}")),
        }
    }
}
