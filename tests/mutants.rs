//! The tests are tested: planted faults, each caught by at least one case. Oracle: the references.

use lyn::gpu::CaseRunner;
use lyn_shaders::KERNELS;
use lyn_shaders::bound::Verdict;

/// A fault, by edits of a kernel's text.
struct Mutant {
    fault: &'static str,
    kernel: &'static str,
    /// Text and what takes its place, everywhere.
    edits: &'static [(&'static str, &'static str)],
}

const MUTANTS: &[Mutant] = &[
    Mutant { fault: "loop bound - 1", kernel: "linear_vec", edits: &[("piece < end;", "piece + 1u < end;")] },
    Mutant {
        // Without it the first lanes of a software adapter run through the tree before the others have written.
        fault: "missing barrier",
        kernel: "rms_norm",
        edits: &[(
            "        workgroupBarrier();\n        if (lane < half) { reduce_scratch[lane] +=",
            "        if (lane < half) { reduce_scratch[lane] +=",
        )],
    },
    Mutant {
        fault: "stride wrong for odd K",
        kernel: "linear_vec",
        edits: &[("panel * pieces * 32u", "panel * (pieces / 2u * 2u) * 32u")],
    },
    Mutant {
        fault: "tie by reversed order, experts",
        kernel: "route",
        edits: &[("keys[j] == own && j < i", "keys[j] == own && j > i")],
    },
    Mutant {
        fault: "tie by reversed order, ids",
        kernel: "argmax",
        edits: &[("ids[other] < ids[lane]", "ids[other] > ids[lane]")],
    },
    Mutant {
        fault: "block scale of the neighbour",
        kernel: "linear_tile",
        edits: &[(
            "let s = scale_of + block * place.scale_lanes;",
            "let s = scale_of + min(block + 1u, blocks - 1u) * place.scale_lanes;",
        )],
    },
    Mutant {
        fault: "RoPE halves swapped",
        kernel: "rope",
        edits: &[("rotate(x[a], x[b], turn)", "rotate(x[b], x[a], turn)")],
    },
    Mutant {
        fault: "mask off by one: the next token is seen",
        kernel: "mla_sparse",
        edits: &[("var keys = token.y + 1u;", "var keys = token.y + 2u;")],
    },
    Mutant {
        fault: "mask off by one: a token does not see itself",
        kernel: "mla_sparse",
        edits: &[("var keys = token.y + 1u;", "var keys = max(token.y, 1u);")],
    },
    Mutant {
        fault: "mask off by one: the indexer's",
        kernel: "topk",
        edits: &[("let count = step[1u + token].y + 1u;", "let count = step[1u + token].y;")],
    },
    Mutant {
        fault: "mask off by one: weights of dense attention without the token's own",
        kernel: "attention_weights",
        edits: &[("p <= token.y;", "p < max(token.y, 1u);")],
    },
    Mutant {
        fault: "sum over lanes without their common maximum",
        kernel: "attention_weights",
        edits: &[("l *= decay4(m - largest);", "")],
    },
    Mutant { fault: "shared expert left out", kernel: "route", edits: &[("bitcast<u32>(1.0))", "bitcast<u32>(0.0))")] },
    Mutant {
        fault: "bias used as weight",
        kernel: "route",
        edits: &[("var weight = scores[chosen[i]];", "var weight = biased[chosen[i]];")],
    },
    Mutant { fault: "weights not normalised", kernel: "route", edits: &[("weight /= sum + 1e-20;", "weight /= 1.0;")] },
    Mutant {
        fault: "index scale omitted",
        kernel: "index_score",
        edits: &[("params.heads - 1u)] * params.scale", "params.heads - 1u)]")],
    },
    Mutant {
        fault: "f16 accumulation",
        kernel: "linear_vec",
        edits: &[
            ("sums = fma(", "sums = half_fma("),
            (
                "\nfn store(",
                "
fn half_fma(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>) -> vec4<f32> {
    let sum = fma(a, b, c);
    return vec4<f32>(unpack2x16float(pack2x16float(sum.xy)), unpack2x16float(pack2x16float(sum.zw)));
}
fn store(",
            ),
        ],
    },
    Mutant {
        fault: "the last column is not written",
        kernel: "swiglu",
        edits: &[("if (d >= params.width) { return; }", "if (d + 1u >= params.width) { return; }")],
    },
    Mutant { fault: "rows written one place further", kernel: "gather_rows", edits: &[("y[", "y[params.dim + ")] },
];

#[test]
fn every_planted_fault_is_caught() {
    let mut runner = CaseRunner::new(lyn_conformance::one_device());
    let mut survivors = Vec::new();
    for mutant in MUTANTS {
        match caught(&mut runner, mutant) {
            Some((case, what)) => println!("{}: {}: caught by {case}: {what}", mutant.kernel, mutant.fault),
            None => survivors.push(format!("{}: {}", mutant.kernel, mutant.fault)),
        }
    }
    assert!(survivors.is_empty(), "{} of {} faults survive: {survivors:#?}", survivors.len(), MUTANTS.len());
}

/// The first case that catches a mutant.
fn caught(runner: &mut CaseRunner, mutant: &Mutant) -> Option<(String, String)> {
    let entry = KERNELS.iter().find(|entry| entry.interface.name == mutant.kernel).expect("a mutant of a kernel");
    let edit = |text: &str| {
        mutant.edits.iter().fold(text.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{}: {}: its text has no {from:?}", mutant.kernel, mutant.fault);
            text.replace(from, to)
        })
    };
    (entry.cases)().into_iter().find_map(|case| {
        let verdict = pollster::block_on(runner.judge_edited(&case, edit)).expect("a mutant compiles");
        match verdict {
            Verdict::Pass { .. } => None,
            Verdict::Fail { what, .. } => Some((case.name, what)),
        }
    })
}
