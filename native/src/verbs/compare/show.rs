//! What was found, for people and for programs.

use lyn::error::escape;
use lyn::inspect::compare::{DEPTHS, DenseShare, Estimator};
use serde_json::{Value, json};

use super::args::CompareArgs;
use super::elsewhere::OtherEngine;
use super::measure::{Crossover, Findings};
use crate::flags;
use crate::terminal::table::{count, facts, table};
use crate::text::quoted;

/// What a side is, for people.
pub(super) struct Side {
    pub(super) model: String,
    /// The adapter, or the host of an engine elsewhere.
    pub(super) place: String,
    pub(super) attention: &'static str,
    /// None where it is not known.
    pub(super) cache_type: Option<&'static str>,
}

impl Side {
    /// An engine elsewhere, of which less is known.
    pub(super) fn elsewhere(elsewhere: &OtherEngine) -> Side {
        Side { model: elsewhere.model.clone(), place: elsewhere.host(), attention: "upstream", cache_type: None }
    }
}

/// All that is told.
pub(super) struct Shown<'a> {
    pub(super) options: &'a CompareArgs,
    pub(super) found: &'a Findings,
    pub(super) sides: &'a [Side; 2],
    pub(super) passed: bool,
    pub(super) piece: &'a dyn Fn(u32) -> String,
}

impl Shown<'_> {
    /// Lines and tables.
    pub(super) fn text(&self) -> String {
        let mut text = self.facts();
        if let Some(share) = &self.found.dense_share {
            text += &facts(&share_of(share));
        }
        if !self.found.needles.is_empty() {
            text += &format!("\n{}", self.needles());
        }
        if !self.found.speeds.is_empty() {
            text += &format!("\n{}", self.speeds());
        }
        text
    }

    fn facts(&self) -> String {
        let found = &self.found.comparison;
        let known = found.kl.estimator == Estimator::LowerBound;
        let mut rows: Vec<(&str, String)> = vec![];
        for (place, name) in ["A", "B"].into_iter().enumerate() {
            let Side { model, place: device, attention, cache_type } = &self.sides[place];
            let cache = cache_type.map(|cache| format!(" · {cache} cache")).unwrap_or_default();
            let least = if place == 1 && found.unknown_tokens > 0 { "at least " } else { "" };
            let (perplexity, speed) = (found.perplexity[place], found.tokens_per_second[place]);
            let about = format!("{} · {device} · {attention}{cache}", escape(model));
            rows.push((name, format!("{about} · perplexity {least}{perplexity:.4} · {speed:.0} tok/s")));
        }
        let kl = &found.kl;
        let least = if known { "at least: " } else { "" };
        rows.push(("tokens", format!("{} in windows of {}", count(found.tokens.into()), self.options.window)));
        rows.push((
            "KL(A‖B)",
            format!("{least}mean {:.3e} · median {:.3e} · 99 % {:.3e} nats", kl.mean, kl.median, kl.p99),
        ));
        rows.push(("worst KL", format!("{least}{:.3e}, after {} tokens", kl.worst, count(kl.worst_at.into()))));
        if known {
            let top = self.options.upstream_top;
            rows.push(("known", format!("of B, the {top} most probable tokens at each place; all others as one")));
        }
        rows.push(("top-1", format!("{:.2} % the same", found.top1_agreement * 100.0)));
        rows.push((
            "diverges",
            match &found.first_divergence {
                None => "nowhere: both would choose every token alike".to_owned(),
                Some(first) => {
                    let [a, b] = first.ids.map(|id| quoted((self.piece)(id)));
                    let at = count(first.at.into());
                    format!("after {at} tokens: A prefers {a} to {b} by {:.3e} nats", first.margin)
                }
            },
        ));
        if let Some(most) = self.options.max_kl {
            let verdict = if self.passed { "PASSED" } else { "FAILED" };
            rows.push(("verdict", format!("{verdict}: mean KL {:.3e}, at most {most:.3e}", kl.mean)));
        }
        facts(&rows)
    }

    /// Answer tokens found, by length and depth.
    fn needles(&self) -> String {
        let depths = DEPTHS.map(|depth| format!("{:.0} %", depth * 100.0));
        let mut header = vec!["length", "side"];
        header.extend(depths.iter().map(String::as_str));
        header.extend(["tokens", "recall", "log p", "selected"]);
        let mut rows = vec![];
        for searched in &self.found.needles {
            for (side, name) in ["A", "B"].into_iter().enumerate() {
                let probes = || searched.depths.iter().map(|depth| &depth.sides[side]);
                let mut row = vec![count(searched.length.into()), name.to_owned()];
                row.extend(probes().map(|probe| format!("{}/{}", probe.found, probe.tokens)));
                row.push(percent(searched.token_recall[side]));
                row.push(percent(searched.recall[side]));
                row.push(
                    mean(probes().map(|probe| probe.log_probability)).map_or("–".to_owned(), |it| format!("{it:.2}")),
                );
                row.push(mean(probes().map(|probe| probe.selected)).map_or("–".to_owned(), percent));
                rows.push(row);
            }
        }
        let all = "needles: five words at each depth of a text, asked for at its end; of the answer's tokens so many are the likeliest\n";
        format!("{all}{}", table(&header, &rows, &header[2..], false))
    }

    fn speeds(&self) -> String {
        let header = ["after", "reading A", "reading B", "A / B", "decoding A", "decoding B", "A / B"];
        let rows = self.found.speeds.iter().map(|row| {
            let mut cells = vec![count(row.depth.into())];
            for [a, b] in [row.prompt, row.decode] {
                cells.extend([format!("{a:.1}"), format!("{b:.1}"), format!("{:.2} ×", a / b.max(1e-9))]);
            }
            cells
        });
        let mut text = "speeds after so many tokens, in tokens per second\n".to_owned();
        text += &table(&header, &rows.collect::<Vec<_>>(), &header, false);
        if let Some(Crossover { prompt, decode, within }) = &self.found.crossover {
            let from = |from: &Option<f64>| match from {
                Some(from) => format!("from {from:.0} tokens on"),
                None => format!("not within {}", count((*within).into())),
            };
            text += &facts(&[("sparse is faster", format!("reading {} · decoding {}", from(prompt), from(decode)))]);
        }
        text
    }

    /// One document with all figures.
    pub(super) fn document(&self) -> Value {
        let found = &self.found.comparison;
        let side = |place: usize| {
            let Side { model, place: device, attention, cache_type } = &self.sides[place];
            json!({
                "model": model, "device": device, "attention": attention, "cache_type": cache_type,
                "perplexity": found.perplexity[place], "tokens_per_second": found.tokens_per_second[place],
            })
        };
        let first = found.first_divergence.as_ref().map(|first| {
            json!({
                "at": first.at, "ids": first.ids, "pieces": first.ids.map(self.piece), "margin": first.margin,
            })
        });
        let upstream = self.sides[1].attention == "upstream";
        json!({
            "schema": "lyn.compare/1",
            "version": flags::VERSION,
            "text": self.options.file.as_ref().map(|file| file.to_string_lossy()),
            "window": self.options.window,
            "tokens": found.tokens,
            "a": side(0),
            "b": side(1),
            "kl": found.kl,
            "known_tokens": upstream.then_some(self.options.upstream_top),
            "unknown_tokens": found.unknown_tokens,
            "top1_agreement": found.top1_agreement,
            "first_divergence": first,
            "dense_share": self.found.dense_share,
            "needles": self.options.needles.as_ref().map(|_| &self.found.needles),
            "speeds": self.options.speed.as_ref().map(|_| &self.found.speeds),
            "crossover": self.found.crossover,
            "max_kl": self.options.max_kl,
            "passed": self.passed,
        })
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The mean; none where a value is not known.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let count = values.len() as f64;
    (count > 0.0).then(|| values.iter().sum::<f64>() / count)
}

fn share_of(share: &DenseShare) -> Vec<(&'static str, String)> {
    let layers: Vec<String> = share.layers.iter().copied().map(percent).collect();
    let (mean, worst, tokens) = (percent(share.mean), percent(share.worst), count(share.tokens.into()));
    vec![
        ("selected", format!("{mean} of dense attention, {worst} at worst, over {tokens} tokens")),
        ("by layer", layers.join(" · ")),
    ]
}
