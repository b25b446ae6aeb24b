//! The tests are tested: planted faults, each caught by at least one case. Oracle: the references.

use lyn::gpu::CaseRunner;
use lyn_shaders::bound::Verdict;
use lyn_shaders::case::Case;
use lyn_shaders::{Entry, KERNELS, kernel};

/// A fault, by edits of a kernel's text.
struct Mutant {
    fault: &'static str,
    kernel: &'static str,
    /// Text and what takes its place, everywhere.
    edits: &'static [(&'static str, &'static str)],
}

const MUTANTS: &[Mutant] = &[
    Mutant { fault: "loop bound - 1", kernel: "linear_vec", edits: &[("step < end;", "step + 1u < end;")] },
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
        edits: &[("panel * (pieces.x + pieces.y) * 32u", "panel * ((pieces.x + pieces.y) / 2u * 2u) * 32u")],
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
            "scales4(scale_of, place.scale_lanes, block)",
            "scales4(scale_of, place.scale_lanes, min(block + 1u, blocks - 1u))",
        )],
    },
    Mutant {
        fault: "minima left out",
        kernel: "linear_tile",
        edits: &[("totals3 = fma(minimum, vec4<f32>(inputs.w), totals3);", "")],
    },
    Mutant {
        fault: "minima of a block with the inputs of all before",
        kernel: "linear_vec",
        edits: &[("        inputs = 0.0;\n", "")],
    },
    Mutant {
        fault: "the word beside of the second plane",
        kernel: "linear_vec",
        edits: &[("let word = step % 4u;", "let word = (step + 1u) % 4u;")],
    },
    Mutant {
        fault: "upper bits of a code from the neighbour, in a row",
        kernel: "absorb",
        edits: &[("(i % 8u * 4u)", "(i % 4u * 4u)")],
    },
    Mutant {
        fault: "the f16 of the other half of shared scales",
        kernel: "expert_down",
        edits: &[("place < SCALE_BLOCKS / 2u", "place >= SCALE_BLOCKS / 2u")],
    },
    Mutant {
        fault: "inputs by the entry where those of a token share a row",
        kernel: "expert_down",
        edits: &[("row = group.y / params.sharing", "row = group.y")],
    },
    Mutant {
        fault: "up read where gate is",
        kernel: "swiglu",
        edits: &[("* up[row + params.up_offset + d]", "* gate[row + d]")],
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
    Mutant {
        fault: "place within a page by the page",
        kernel: "cache_write",
        edits: &[("* PAGE + position % PAGE", "* PAGE + position / PAGE")],
    },
    Mutant {
        fault: "written to the first binding instead of the second",
        kernel: "cache_write",
        edits: &[("cache1[at - PART] = word", "cache[at - PART] = word")],
    },
    Mutant {
        fault: "written to the second binding instead of the third",
        kernel: "index_key_write",
        edits: &[("cache2[at - 2u * PART] = word", "cache1[at - 2u * PART] = word")],
    },
    Mutant {
        fault: "the first binding read instead of the second",
        kernel: "mla_sparse",
        edits: &[("return cache1[at - PART];", "return cache[at - PART];")],
    },
    Mutant {
        fault: "the third binding from where the second begins",
        kernel: "index_score",
        edits: &[("cache2[at - 2u * PART]", "cache2[at - PART]")],
    },
    Mutant {
        fault: "a border between bindings half way",
        kernel: "attention_weights",
        edits: &[("if (at < PART)", "if (at < PART / 2u)")],
    },
    Mutant {
        fault: "fp8 cut off instead of rounded",
        kernel: "cache_write",
        edits: &[("(bits + 0x7ffffu + ((bits >> 20u) & 1u) - 0x3c000000u) >> 20u", "(bits - 0x3c000000u) >> 20u")],
    },
    Mutant {
        fault: "scale of a block by its first elements",
        kernel: "cache_write",
        edits: &[("workgroup_max(lane, abs(staged[lane]))", "abs(staged[0])")],
    },
    Mutant {
        fault: "f16 cut off instead of rounded",
        kernel: "index_key_write",
        edits: &[("(bits + 0xfffu + ((bits >> 13u) & 1u) - 0x38000000u) >> 13u", "(bits - 0x38000000u) >> 13u")],
    },
    Mutant {
        fault: "keys of fp8 without their scales",
        kernel: "index_score",
        edits: &[("return bitcast<f32>(cache_vector(at));", "return 1.0;")],
    },
    Mutant {
        fault: "all blocks with the scale of the first",
        kernel: "mla_sparse",
        edits: &[("let scale = params.rank4 + block / BLOCK_VECTORS;", "let scale = params.rank4;")],
    },
    Mutant {
        fault: "rotated keys of fp8 without regard to the scales before them",
        kernel: "attention_weights",
        edits: &[("let at = row + scaled4 + scales(scaled4) + 2u * i;", "let at = row + scaled4 + 2u * i;")],
    },
    Mutant {
        fault: "variance around zero",
        kernel: "index_key_write",
        edits: &[("let deviation = k[key + d] - mean;", "let deviation = k[key + d];")],
    },
    Mutant {
        fault: "scales by the row of the shard instead of the table's",
        kernel: "embed",
        edits: &[("id / GROUP_ROWS * params", "row / GROUP_ROWS * params")],
    },
    Mutant {
        fault: "output rows taken for tokens",
        kernel: "advance",
        edits: &[("let token = 1u + step[1u + r].w;", "let token = 1u + r;")],
    },
    Mutant {
        fault: "scales as if kv_b_proj had no values",
        kernel: "absorb",
        edits: &[("let row = head * params.scale_rows + d;", "let row = head * params.nope_dim + d;")],
    },
    Mutant {
        fault: "splits added without their common maximum",
        kernel: "mla_combine",
        edits: &[("let b = vec4<f32>(decay(split_m - next));", "let b = vec4<f32>(1.0);")],
    },
    Mutant {
        fault: "equal experts in reversed order",
        kernel: "expert_bin",
        edits: &[(
            "for (var l = 0u; l < lane; l += 1u) { before +=",
            "for (var l = lane + 1u; l < min(LANES, count - start); l += 1u) { before +=",
        )],
    },
    Mutant {
        fault: "gate and up swapped",
        kernel: "expert_gate_up",
        edits: &[("vec4<u32>(gate, panels + gate)", "vec4<u32>(panels + gate, gate)")],
    },
    Mutant {
        fault: "inputs by the entry instead of its token",
        kernel: "expert_gate_up_tile",
        edits: &[("rows = entries / params.sharing * columns4;", "rows = entries * columns4;")],
    },
    Mutant {
        fault: "the shared expert as wide as a routed one",
        kernel: "expert_down",
        edits: &[("columns4 = width_of(expert) / 4u;", "columns4 = params.width / 4u;")],
    },
    Mutant {
        fault: "the last entry of a full tile left out",
        kernel: "expert_down_tile",
        edits: &[("store(7u < tile.z,", "store(8u < tile.z,")],
    },
    Mutant {
        fault: "all entries with the weight of the first",
        kernel: "expert_combine",
        edits: &[("bitcast<f32>(entries[i].y)", "bitcast<f32>(entries[first].y)")],
    },
];

#[test]
fn every_kernel_has_a_mutant() {
    let named = |entry: &&Entry| MUTANTS.iter().any(|mutant| mutant.kernel == entry.interface.name);
    let without: Vec<_> = KERNELS.iter().filter(|entry| !named(entry)).map(|entry| entry.interface.name).collect();
    assert!(without.is_empty(), "no planted fault in {without:?}");
}

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
    let edit = |text: &str| mutant.edits.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    // Some texts are of one variant only.
    let has_text = |case: &Case| {
        let text = kernel::source(case.kernel.interface(), &case.kernel.variant());
        mutant.edits.iter().all(|(from, _)| text.contains(from))
    };
    let mut cases = (entry.cases)().into_iter().filter(has_text).peekable();
    assert!(cases.peek().is_some(), "{}: {}: no case has its text", mutant.kernel, mutant.fault);
    cases.find_map(|case| {
        let verdict = pollster::block_on(runner.judge_edited(&case, edit)).expect("a mutant compiles");
        match verdict {
            Verdict::Pass { .. } => None,
            Verdict::Fail { what, .. } => Some((case.name, what)),
        }
    })
}
