//! What decoding costs: scalar operations for each weight, counted in the optimised SPIR-V of the linear kernels.
//!
//! Oracles: naga's translation, and Khronos' `spirv-opt -O`, which inlines and folds as drivers do. A processor is bound by these
//! counts, a GPU by bytes until they exceed its operations for each byte.

use std::collections::HashMap;

use lyn_shaders::encodings::{Encoding, encodings};
use lyn_shaders::kernel::Interface;
use lyn_shaders::linear;
use naga::ShaderStage;
use naga::back::spv;

use crate::interface::{compile, spirv_tool};

/// Fused multiplications and additions in the body of the innermost loop of a tile: 8 columns of 4 rows for 8 tokens, and those of
/// decoding. With four times as many, llvmpipe keeps decoded weights in memory, and reads prompts a quarter as fast.
const MOST_FMA: u32 = 8 * 4 * (8 + 1);
/// Where the figures stand.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md");
/// Lines around the table.
const MARKS: [&str; 2] = ["<!-- decoders: begin -->\n", "<!-- decoders: end -->\n"];

/// Of one stretch of a kernel, without the loops in it.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Fused multiplications and additions, of scalars.
    fma: u32,
    /// Every other operation on scalars; moving components about is none.
    other: u32,
    /// Reads of a buffer.
    loads: u32,
    /// Those of the inputs: four columns of a token.
    inputs: u32,
}

/// Of a kernel in an encoding, for each weight: the loop over pieces, and what each block adds to it.
struct Cost {
    other: f64,
    loads: f64,
    fma: f64,
}

#[test]
fn decoders_cost_what_the_document_says() {
    let text = std::fs::read_to_string(DOCUMENT).expect("docs/performance.md");
    let table: String = encodings().map(line).collect();
    let head =
        "| encoding | vector: operations | loads | tile of 8: operations | loads | fma |\n|---|---|---|---|---|---|\n";
    let table = format!("{head}{table}");
    let (before, rest) = text.split_once(MARKS[0]).expect("the table begins");
    let (written, after) = rest.split_once(MARKS[1]).expect("the table ends");
    if std::env::var_os("LYN_UPDATE").is_some() {
        std::fs::write(DOCUMENT, format!("{before}{}{table}{}{after}", MARKS[0], MARKS[1])).expect("written");
        return;
    }
    // Optimisers of other versions differ a little.
    let numbers = |text: &str| -> Vec<f64> { text.split('|').filter_map(|cell| cell.trim().parse().ok()).collect() };
    for (written, counted) in written.lines().zip(table.lines()) {
        let close = numbers(written).iter().zip(&numbers(counted)).all(|(a, b)| (a - b).abs() <= 0.1 + b * 0.1);
        assert!(close, "written: {written}\ncounted: {counted}\nafter a change of a decoder: LYN_UPDATE=1");
    }
    assert_eq!(written.lines().count(), table.lines().count(), "encodings in docs/performance.md: LYN_UPDATE=1");
}

fn line(encoding: &Encoding) -> String {
    let [vector, tile] = [(&linear::VEC, 1), (&linear::TILE, 8)].map(|(kernel, tokens)| cost(kernel, tokens, encoding));
    format!(
        "| {} | {:.1} | {:.2} | {:.1} | {:.2} | {:.1} |\n",
        encoding.name, vector.other, vector.loads, tile.other, tile.loads, tile.fma
    )
}

fn cost(kernel: &Interface, tokens: u32, encoding: &Encoding) -> Cost {
    let (module, info) = compile(kernel, &encoding.panels_variant());
    let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".to_owned() };
    let words = spv::write_vec(&module, &info, &spv::Options::default(), Some(&pipeline)).expect("SPIR-V");
    // Four rows to a lane, of which a block and a step read so many columns, and one of the inputs four.
    let weights = [4 * encoding.group.columns, 4 * encoding.planes.step];
    let mut cost = Cost { other: 0.0, loads: 0.0, fma: 0.0 };
    let loops = loops(&optimised(&words));
    let innermost = loops.last().map_or(0, |count| count.fma);
    assert!(innermost <= MOST_FMA, "{} in {encoding:?}: {innermost} fma in the innermost loop", kernel.name);
    for (number, count) in loops.into_iter().enumerate() {
        let weights = weights.get(number).copied().unwrap_or(16 * count.inputs / tokens);
        let each = |count: u32| f64::from(count) / f64::from(weights);
        cost.other += each(count.other);
        cost.loads += each(count.loads);
        cost.fma += each(count.fma);
    }
    cost
}

fn optimised(words: &[u32]) -> Vec<u32> {
    let output = spirv_tool("spirv-opt", &["-O", "--target-env=vulkan1.1", "-", "-o", "-"], words);
    assert!(output.status.success(), "spirv-opt: {}", String::from_utf8_lossy(&output.stderr));
    bytemuck::pod_collect_to_vec(&output.stdout)
}

/// The loops of a kernel, each in the one before: over blocks, over steps, and in some encodings within a step.
fn loops(words: &[u32]) -> Vec<Counts> {
    let mut widths: HashMap<u32, u32> = HashMap::new(); // of vector types
    let mut in_buffer: HashMap<u32, bool> = HashMap::new(); // pointer types, then pointers
    let mut bindings: HashMap<u32, u32> = HashMap::new(); // of variables, then of pointers into them
    let mut merges: Vec<u32> = vec![];
    let mut counts: Vec<Counts> = vec![];
    let mut at = 5;
    while at < words.len() {
        let (length, opcode) = (words[at] >> 16, words[at] & 0xffff);
        let operands = &words[at + 1..at + length as usize];
        at += length as usize;
        match opcode {
            23 => drop(widths.insert(operands[0], operands[2])),
            // OpDecorate: Binding is 33.
            71 if operands[1] == 33 => drop(bindings.insert(operands[0], operands[2])),
            // OpTypePointer: StorageBuffer is 12.
            32 => drop(in_buffer.insert(operands[0], operands[1] == 12)),
            // OpAccessChain, and its unchecked kind.
            65 | 66 => {
                in_buffer.insert(operands[1], in_buffer.get(&operands[0]) == Some(&true));
                bindings.extend(bindings.get(&operands[2]).copied().map(|binding| (operands[1], binding)));
            }
            // OpLoopMerge, OpLabel.
            246 => {
                merges.push(operands[0]);
                counts.push(Counts::default());
            }
            248 if merges.last() == Some(&operands[0]) => drop(merges.pop()),
            _ => {}
        }
        if merges.is_empty() {
            continue;
        }
        let Some(count) = counts.get_mut(merges.len() - 1) else { continue };
        let width = |result_type: u32| widths.get(&result_type).copied().unwrap_or(1);
        match opcode {
            61 if in_buffer.get(&operands[2]) == Some(&true) => {
                count.loads += 1;
                count.inputs += u32::from(bindings.get(&operands[2]) == Some(&1));
            }
            // OpExtInst: Fma is 50 of GLSL.std.450.
            12 if operands[3] == 50 => count.fma += width(operands[0]),
            // Conversions, arithmetic, logic, comparisons, bits; OpBitcast is none.
            12 | 109..=123 | 126..=205 => count.other += width(operands[0]),
            _ => {}
        }
    }
    assert!((2..=3).contains(&counts.len()), "loops one after another: {counts:?}");
    counts
}
