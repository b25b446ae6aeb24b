//! Which quantisation of a repository suits a device, where the user names none.
//!
//! In: the quantisations, the largest first, and what a plan says of each. Out: one of them, and why. Never: a list of types that
//! lyn runs; the one that opens the header knows.

use lyn::error::{Code, Error, Result};
use lyn::memory::{Fit, Plan, bytes};

use super::selection::{Models, Quantisation};

/// More bits for a weight are not seen in the answers: Q8_0 has 8.5.
const MOST_BITS: f64 = 9.0;
/// Where the device does not tell its memory: Q4_0 has 4.5.
const LEAST_BITS: f64 = 4.0;
/// Most headers that are read.
const HEADERS: usize = 40;

/// What a plan says of a quantisation.
#[derive(Clone, Debug)]
pub(crate) struct Judgement {
    /// Bits of a weight, on average.
    pub(crate) bits: f64,
    /// Memory that it needs with the context below.
    pub(crate) total_bytes: u64,
    /// Tokens: 8,192, or as many as the model was made for.
    pub(crate) context: u32,
    /// Whether that fits.
    pub(crate) fit: Fit,
    /// A shorter context that does.
    pub(crate) shorter: Option<u32>,
}

impl Judgement {
    /// What a plan says.
    pub(crate) fn of(plan: &Plan) -> Judgement {
        #[expect(clippy::cast_precision_loss, reason = "a few digits are needed")]
        let bits = plan.stored_bytes as f64 * 8.0 / plan.parameters.max(1) as f64;
        let (total_bytes, context) = (plan.total_bytes, plan.context);
        Judgement { bits, total_bytes, context, fit: plan.fit, shorter: plan.fitting_context }
    }
}

/// One of several, and why.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    pub(crate) quantisation: &'a Quantisation,
    /// For people, in a sentence without its end.
    pub(crate) reason: String,
    /// Why each larger one was passed over: `BF16: needs more than 20.0 GiB`.
    pub(crate) passed: Vec<String>,
}

/// Chooses. `free`: memory of the device; none where it does not tell. `judge` reads the header of one and plans it. Errors:
/// `out_of_memory` where none fits; what `judge` says of all of them; `network` and others that are no fault of one of them.
pub(crate) fn choose<'a>(
    models: &'a Models,
    free: Option<u64>,
    mut judge: impl FnMut(&Quantisation) -> Result<Judgement>,
) -> Result<Choice<'a>> {
    let mut passed = vec![];
    let mut refused = None;
    let mut seen: Vec<(&Quantisation, Judgement)> = vec![];
    let mut smallest: Option<(&Quantisation, u64)> = None;
    let mut look = |quantisation: &'a Quantisation, passed: &mut Vec<String>| -> Result<Option<Judgement>> {
        match judge(quantisation) {
            Ok(judgement) => Ok(Some(judgement)),
            Err(error) if is_of_one(&error) => {
                passed.push(format!("{}: {}", quantisation.label, error.message()));
                refused = Some(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    };
    let Some(free) = free else {
        // Without a figure of memory, the narrowest that is not worse than it need be.
        for quantisation in models.quantisations.iter().rev().take(HEADERS) {
            if let Some(judgement) = look(quantisation, &mut passed)? {
                let is_enough = judgement.bits >= LEAST_BITS;
                seen.push((quantisation, judgement));
                if is_enough {
                    break;
                }
            }
        }
        let Some((quantisation, judgement)) = seen.last() else { return Err(none(models, refused)) };
        let reason = format!(
            "the device does not tell its memory; with {:.1} bits per weight it needs {}",
            judgement.bits,
            bytes(judgement.total_bytes)
        );
        return Ok(Choice { quantisation, reason, passed });
    };
    for quantisation in models.quantisations.iter().take(HEADERS) {
        // Weights lie on the device as in the file; a tenth may be layers that are not loaded.
        if quantisation.bytes / 10 * 9 > free {
            passed.push(format!("{}: its {} exceed {}", quantisation.label, bytes(quantisation.bytes), bytes(free)));
            smallest = Some((quantisation, quantisation.bytes));
            continue;
        }
        let Some(judgement) = look(quantisation, &mut passed)? else { continue };
        let (fit, bits, needed) = (judgement.fit, judgement.bits, judgement.total_bytes);
        if fit == Fit::DoesNotFit {
            passed.push(format!("{}: needs {} of {}", quantisation.label, bytes(needed), bytes(free)));
            smallest = Some((quantisation, needed));
        } else if bits > MOST_BITS {
            passed.push(format!("{}: {bits:.1} bits per weight are more than answers show", quantisation.label));
        }
        seen.push((quantisation, judgement));
        if fit != Fit::DoesNotFit && bits <= MOST_BITS {
            break;
        }
    }
    let said = |judgement: &Judgement| {
        let (needed, context) = (bytes(judgement.total_bytes), judgement.context);
        format!("{needed} of {} with a context of {context} tokens", bytes(free))
    };
    // The last that fits is the narrowest looked at: what is wider was passed over.
    if let Some((quantisation, judgement)) = seen.iter().rev().find(|(_, judgement)| judgement.fit != Fit::DoesNotFit) {
        let label = &quantisation.label;
        passed.retain(|line| !line.starts_with(&format!("{label}: ")));
        let reason = format!("the largest that is worth it and fits: {}", said(judgement));
        return Ok(Choice { quantisation, reason, passed });
    }
    if let Some((quantisation, judgement)) = seen.iter().find(|(_, judgement)| judgement.shorter.is_some()) {
        let shorter = judgement.shorter.unwrap_or(0);
        let reason = format!("none fits with {} tokens; this one does with {shorter}", judgement.context);
        return Ok(Choice { quantisation, reason, passed });
    }
    match smallest {
        Some((quantisation, needed)) => {
            let message = format!(
                "no quantisation fits: {} needs {}, {} are available",
                quantisation.label,
                bytes(needed),
                bytes(free)
            );
            let help = format!("name one to download it nonetheless: {}", models.shown());
            Err(Error::new(Code::OutOfMemory, message).with_help(help))
        }
        None => Err(none(models, refused)),
    }
}

/// Whether an error is about one quantisation, so that another one may do.
fn is_of_one(error: &Error) -> bool {
    let is_of_type = error.code() == Code::UnsupportedModel && error.class() != Some("E-ARCH");
    is_of_type || matches!(error.code(), Code::BadCheckpoint | Code::MissingTensor | Code::LimitTooSmall)
}

/// None can be run.
fn none(models: &Models, refused: Option<Error>) -> Error {
    refused.unwrap_or_else(|| Error::new(Code::ModelNotFound, format!("none of these can be run: {}", models.shown())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository: label, gigabytes, bits, and whether lyn runs it.
    type Offer = (&'static str, u64, f64, bool);

    const OFFERS: [Offer; 5] = [
        ("BF16", 32, 16.0, true),
        ("Q8_0", 17, 8.5, true),
        ("Q6_K", 13, 6.6, false),
        ("Q4_0", 9, 4.5, true),
        ("IQ2_XS", 5, 2.3, true),
    ];

    fn repository(offers: &[Offer]) -> Models {
        let quantisations = offers.iter().map(|(label, size, ..)| Quantisation {
            label: (*label).to_owned(),
            parts: vec![format!("{label}.gguf")],
            bytes: size << 30,
        });
        Models { weights: None, quantisations: quantisations.collect() }
    }

    /// Oracle: by hand. A plan needs a gigabyte more than the file, and half of it with a short context.
    fn chosen(offers: &[Offer], free: Option<u64>) -> Result<(String, String, Vec<String>, usize)> {
        let models = repository(offers);
        let mut headers = 0;
        let free = free.map(|free| free << 29);
        let choice = choose(&models, free, |quantisation| {
            headers += 1;
            let (_, size, bits, runs) = offers.iter().find(|offer| offer.0 == quantisation.label).unwrap();
            if !runs {
                return Err(Error::new(Code::UnsupportedModel, "stored as a type that lyn does not run"));
            }
            let total_bytes = (size + 1) << 30;
            let fit = match free {
                None => Fit::Unknown,
                Some(free) if total_bytes > free => Fit::DoesNotFit,
                Some(_) => Fit::Fits,
            };
            let shorter = free.filter(|free| fit == Fit::DoesNotFit && total_bytes - (1 << 29) <= *free).map(|_| 512);
            Ok(Judgement { bits: *bits, total_bytes, context: 8192, fit, shorter })
        })?;
        Ok((choice.quantisation.label.clone(), choice.reason, choice.passed, headers))
    }

    #[test]
    fn the_largest_that_fits_and_is_worth_it() {
        for (halves, label) in [(100, "Q8_0"), (36, "Q8_0"), (34, "Q4_0"), (20, "Q4_0"), (18, "IQ2_XS"), (12, "IQ2_XS")]
        {
            let (found, reason, ..) = chosen(&OFFERS, Some(halves)).unwrap();
            assert_eq!(found, label, "{halves}");
            assert!(reason.contains("fits"), "{reason}");
        }
        let (_, _, passed, headers) = chosen(&OFFERS, Some(34)).unwrap();
        assert_eq!(headers, 3, "what cannot fit by its size is not opened, nor what is smaller than the choice");
        assert_eq!(passed.len(), 3, "{passed:?}");
        assert!(
            passed[0].starts_with("BF16: its 32.0 GiB exceed 17.0 GiB") && passed[2].starts_with("Q6_K: stored as"),
            "{passed:?}"
        );
    }

    #[test]
    fn a_wide_one_is_taken_where_no_other_runs() {
        let (found, ..) = chosen(&[("BF16", 32, 16.0, true), ("Q6_K", 13, 6.6, false)], Some(100)).unwrap();
        assert_eq!(found, "BF16");
    }

    #[test]
    fn less_context_before_nothing() {
        let (found, reason, ..) = chosen(&OFFERS[..4], Some(19)).unwrap();
        assert_eq!(found, "Q4_0");
        assert!(reason.contains("with 512"), "{reason}");
        let error = chosen(&OFFERS, Some(9)).unwrap_err();
        assert_eq!(error.code(), Code::OutOfMemory);
        assert!(
            error.message().contains("IQ2_XS needs 5.0 GiB") || error.message().contains("IQ2_XS needs 6.0 GiB"),
            "{error}"
        );
        assert!(error.help().concat().contains("Q4_0 (9.0 GiB)"), "{:?}", error.help());
    }

    #[test]
    fn without_a_figure_of_memory_four_bits() {
        let (found, reason, ..) = chosen(&OFFERS, None).unwrap();
        assert_eq!(found, "Q4_0");
        assert!(reason.contains("does not tell its memory") && reason.contains("4.5 bits"), "{reason}");
        assert_eq!(chosen(&OFFERS[4..], None).unwrap().0, "IQ2_XS");
    }

    #[test]
    fn what_is_no_fault_of_one_ends_the_search() {
        let models = repository(&OFFERS);
        for (error, code) in [
            (Error::new(Code::Network, "gone"), Code::Network),
            (Error::file(lyn::error::Class::Arch, "a", "llama"), Code::UnsupportedModel),
        ] {
            let mut asked = 0;
            let found = choose(&models, Some(1 << 40), |_| {
                asked += 1;
                Err(error.clone())
            });
            assert_eq!((found.unwrap_err().code(), asked), (code, 1));
        }
    }
}
