//! Every kernel's WGSL against its host interface and against what WebGPU guarantees, by naga; no device.
//!
//! Oracles: naga's parse and validation, `spirv-val`, and the rules of WGSL that naga does not enforce and Tint does.

use std::collections::HashSet;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use lyn_shaders::common::PAGE;
use lyn_shaders::encodings::{BLOCK, encodings};
use lyn_shaders::experts::TILE_ENTRIES;
use lyn_shaders::kernel::{Access, Interface, Variant, bindings, source};
use lyn_shaders::{Entry, KERNELS, index_score, linear, mla_sparse, route, topk};
use naga::back::{PipelineConstants, hlsl, msl, pipeline_constants, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy, Layouter};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Expression, Literal, Module, ShaderStage, StorageAccess, TypeInner};

/// Storage buffers that WebGPU guarantees to a stage.
const STORAGE_BUFFERS: usize = 8;
/// Invocations of a workgroup in WebGPU's compatibility mode.
const INVOCATIONS: u32 = 128;
/// Workgroup memory that WebGPU guarantees.
const WORKGROUP_BYTES: u32 = 16 << 10;

/// Numbers that WGSL and host both state: in each kernel that declares one of these names it has this value.
const TWINS: &[(&str, u32)] = &[
    ("BLOCK_VECTORS", BLOCK.columns / 4),
    ("HEADS", mla_sparse::HEADS),
    ("MAX_EXPERTS", route::MAX_EXPERTS + 1),
    ("NONE", topk::NONE),
    ("PAGE", PAGE),
    ("SPLIT", mla_sparse::SPLIT),
    ("TILE_ENTRIES", TILE_ENTRIES),
    ("TILE_KEYS", index_score::TILE_KEYS),
];

/// The constants of a module that are integers.
fn constants(module: &Module) -> impl Iterator<Item = (&str, u32)> {
    module.constants.iter().filter_map(|(_, constant)| match module.global_expressions[constant.init] {
        Expression::Literal(Literal::U32(value)) => Some((constant.name.as_deref()?, value)),
        _ => None,
    })
}

#[test]
fn wgsl_and_host_state_the_same_numbers() {
    let mut unseen: HashSet<_> = TWINS.iter().map(|&(name, _)| name).collect();
    every_variant(|interface, variant, _| {
        for (name, value) in constants(&parse(interface, variant).0) {
            for &(_, twin) in TWINS.iter().filter(|(twin, _)| *twin == name) {
                assert_eq!(value, twin, "{}: {name} in WGSL and on the host", interface.name);
                unseen.remove(name);
            }
        }
    });
    assert!(unseen.is_empty(), "no kernel declares {unseen:?}");
    for encoding in encodings() {
        let (module, _) = parse(&linear::VEC, &encoding.panels_variant());
        let vectors = constants(&module).find(|(name, _)| *name == "STEP_VECTORS");
        assert_eq!(vectors, Some(("STEP_VECTORS", encoding.planes.step / 4)), "{encoding:?}");
    }
}

/// Every kernel in every variant that its cases have, with the bytes of its parameters.
fn every_variant(mut check: impl FnMut(&'static Interface, &Variant, usize)) {
    for Entry { interface, cases } in KERNELS {
        let cases = cases();
        assert!(!cases.is_empty(), "{} has no case", interface.name);
        let mut seen = HashSet::new();
        for case in cases {
            assert_eq!(case.kernel.interface().name, interface.name, "a case of another kernel");
            let variant = case.kernel.variant();
            if seen.insert(variant.clone()) {
                check(interface, &variant, case.kernel.params().len());
            }
        }
    }
}

/// The module of a variant as it is written.
fn parse(interface: &Interface, variant: &Variant) -> (Module, ModuleInfo) {
    let text = source(interface, variant);
    let name = interface.name;
    let module = naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&text)));
    // unpack2x16float and its kind are core WGSL; naga counts them as a capability because OpenGL may lack them.
    let info = Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32)
        .validate(&module)
        .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&text)));
    (module, info)
}

/// The module of a variant with its constants put in, and without what they leave unused.
pub(crate) fn compile(interface: &Interface, variant: &Variant) -> (Module, ModuleInfo) {
    let (name, (module, info)) = (interface.name, parse(interface, variant));
    let mut constants = PipelineConstants::default();
    for &(key, value) in &variant.constants {
        let declared = module.overrides.iter().any(|(_, declared)| declared.name.as_deref() == Some(key));
        assert!(declared, "{name} has no override {key}");
        constants.insert(key.to_owned(), f64::from(value));
    }
    let entry = Some((ShaderStage::Compute, "main"));
    let (module, info) = pipeline_constants::process_overrides(&module, &info, entry, &constants)
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    (module.into_owned(), info.into_owned())
}

#[test]
fn wgsl_declares_what_the_host_does() {
    every_variant(|interface, variant, params_bytes| {
        let name = interface.name;
        let (module, _) = parse(interface, variant);
        let mut bound: Vec<_> = module.global_variables.iter().filter(|(_, v)| v.binding.is_some()).collect();
        bound.sort_by_key(|(_, variable)| variable.binding.map(|binding| binding.binding));
        let bindings: Vec<_> = bindings(interface, variant).collect();
        assert_eq!(bound.len(), 1 + bindings.len(), "{name}: bindings");
        assert!(bindings.len() <= STORAGE_BUFFERS, "{name}: more storage buffers than WebGPU guarantees");

        let (_, params) = bound[0];
        assert_eq!(params.name.as_deref(), Some("params"), "{name}: binding 0");
        assert_eq!(params.space, AddressSpace::Uniform, "{name}: params");
        let TypeInner::Struct { members, span } = &module.types[params.ty].inner else {
            panic!("{name}: params is no struct");
        };
        let fields = |list: Vec<(&str, u32)>| list.iter().map(|(f, at)| format!("{f}@{at}")).collect::<Vec<_>>();
        let wgsl = members.iter().map(|m| (m.name.as_deref().unwrap_or_default(), m.offset)).collect();
        let host = interface.params.iter().map(|f| (f.name, u32::try_from(f.offset).expect("small"))).collect();
        assert_eq!(fields(wgsl), fields(host), "{name}: fields of params in WGSL and on the host");
        assert_eq!(*span as usize, params_bytes, "{name}: bytes of params");
        let word = |inner: &TypeInner| matches!(inner, TypeInner::Scalar(scalar) if scalar.width == 4);
        assert!(members.iter().all(|m| word(&module.types[m.ty].inner)), "{name}: a field of params is not 4 bytes");

        for ((number, declared), (_, variable)) in (1..).zip(&bindings).zip(&bound[1..]) {
            let binding = variable.binding.expect("filtered by it");
            assert_eq!((binding.group, binding.binding), (0, number), "{name}: {}", declared.name);
            assert_eq!(variable.name.as_deref(), Some(declared.name), "{name}: binding {number}");
            let access = match declared.access {
                Access::Read => StorageAccess::LOAD,
                Access::Write => StorageAccess::LOAD | StorageAccess::STORE,
            };
            assert_eq!(variable.space, AddressSpace::Storage { access }, "{name}: {}", declared.name);
        }
    });
}

#[test]
fn kernels_stay_within_what_webgpu_guarantees() {
    every_variant(|interface, variant, _| {
        let name = interface.name;
        let (module, _) = compile(interface, variant);
        let mut layouter = Layouter::default();
        layouter.update(module.to_ctx()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(module.entry_points.len(), 1, "{name}: entry points");
        let entry = &module.entry_points[0];
        assert_eq!((entry.name.as_str(), entry.stage), ("main", ShaderStage::Compute), "{name}");
        let invocations: u32 = entry.workgroup_size.iter().product();
        assert!(invocations <= INVOCATIONS, "{name}: {invocations} invocations, {INVOCATIONS} are guaranteed");
        let workgroup = module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup);
        let bytes: u32 = workgroup.map(|(_, v)| layouter[v.ty].size.next_multiple_of(16)).sum();
        assert!(bytes <= WORKGROUP_BYTES, "{name}: {bytes} bytes of workgroup memory");
        let float_atomic =
            |inner: &TypeInner| matches!(inner, TypeInner::Atomic(s) if s.kind == naga::ScalarKind::Float);
        assert!(!module.types.iter().any(|(_, ty)| float_atomic(&ty.inner)), "{name}: an atomic float");
        let half = |inner: &TypeInner| inner.scalar().is_some_and(|scalar| scalar.width != 4 && scalar.width != 1);
        assert!(!module.types.iter().any(|(_, ty)| half(&ty.inner)), "{name}: a number that is not 32 bits wide");
    });
}

#[test]
fn texts_keep_the_house_rules() {
    every_variant(|interface, variant, _| {
        let text = without_comments(&source(interface, variant));
        let found = forbidden(&text).or_else(|| ambiguous(&text));
        assert_eq!(found, None, "{}", interface.name);
    });
}

/// The rules themselves are tested: each of these must be caught, and what is like it must not.
#[test]
fn house_rules_catch_what_they_forbid() {
    for bad in ["let y = sin(x);", "dot (a, b)", "if (x != x) {}", "(a.x == a.x)", "enable f16;", "x / 0.0", "isNan(x)"]
    {
        assert!(forbidden(bad).is_some(), "{bad}");
    }
    for good in ["let sinus = 1.0;", "if (x != y) {}", "a.x == a.y", "fma(a, b, c)", "0x7f800000u", "x / 0.05"] {
        assert_eq!(forbidden(good), None, "{good}");
    }
    let bad = [
        "x = a << b | c;",
        "(a & b == c)",
        "f(a + b << 1u)",
        "a & b | c",
        "x && y || z",
        "v[i & 1u + 2u]",
        "a < b == c",
    ];
    for bad in bad {
        assert!(ambiguous(bad).is_some(), "{bad}");
    }
    let good = [
        "x = (a << b) | c;",
        "(a & b) == c",
        "let v = vec4<u32>(u, u >> 8u, u >> 16u);",
        "var<workgroup> a: array<vec2<u32>, 4>; let b = c | d;",
        "a | b | c",
        "x && y && a < b",
        "f(a & 3u, -b + c) * array<vec4<f32>>(d)",
        "for (var i = 0u; i < n; i += 1u) { s |= v[i] & m; }",
        "for (var half = LANES / 2u; half > 0u; half /= 2u) {}",
    ];
    for good in good {
        assert_eq!(ambiguous(good), None, "{good}");
    }
}

#[test]
fn every_backend_translates_and_spirv_is_valid() {
    let checks = BoundsCheckPolicies {
        index: BoundsCheckPolicy::Restrict,
        buffer: BoundsCheckPolicy::Restrict,
        ..BoundsCheckPolicies::default()
    };
    every_variant(|interface, variant, _| {
        let name = interface.name;
        let (module, info) = compile(interface, variant);
        let options = spv::Options { bounds_check_policies: checks, ..spv::Options::default() };
        let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".to_owned() };
        let words = spv::write_vec(&module, &info, &options, Some(&pipeline)).unwrap_or_else(|e| panic!("{name}: {e}"));
        validate_spirv(name, &words);

        let entry_point = Some((ShaderStage::Compute, "main".to_owned()));
        let options = msl::Options { bounds_check_policies: checks, lang_version: (2, 3), ..msl::Options::default() };
        let pipeline = msl::PipelineOptions { entry_point: entry_point.clone(), ..msl::PipelineOptions::default() };
        let (metal, _) =
            msl::write_string(&module, &info, &options, &pipeline).unwrap_or_else(|e| panic!("{name}: Metal: {e}"));
        assert!(metal.contains("kernel void main_("), "{name}: no Metal entry point:\n{metal}");

        let (options, pipeline) = (hlsl::Options::default(), hlsl::PipelineOptions { entry_point });
        let mut text = String::new();
        hlsl::Writer::new(&mut text, &options, &pipeline)
            .write(&module, &info, None)
            .unwrap_or_else(|e| panic!("{name}: HLSL: {e}"));
        assert!(text.contains("[numthreads("), "{name}: no HLSL entry point:\n{text}");
    });
}

/// A second opinion on SPIR-V, from the Khronos validator.
fn validate_spirv(name: &str, words: &[u32]) {
    let output = spirv_tool("spirv-val", &["--target-env", "vulkan1.1", "-"], words);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{name}: spirv-val: {said}");
}

/// What one of Khronos' tools makes of SPIR-V.
pub(crate) fn spirv_tool(tool: &str, arguments: &[&str], words: &[u32]) -> Output {
    let spawned =
        Command::new(tool).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|e| panic!("{tool}: {e}; on Debian: apt-get install spirv-tools"));
    child.stdin.take().expect("piped").write_all(bytemuck::cast_slice(words)).expect("it reads its input");
    child.wait_with_output().expect("it ends")
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// What no shader of lyn may hold: functions without bounds or order, tests for NaN by floats, infinities, features.
fn forbidden(text: &str) -> Option<String> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let tokens = tokens(text);
    for pair in tokens.windows(2) {
        let call = pair[1] == "(" && ["sin", "cos", "tan", "dot", "isNan", "isInf", "pow"].contains(&pair[0]);
        if call || ["enable", "requires", "diagnostic"].contains(&pair[0]) {
            return Some(format!("{} {}", pair[0], pair[1]));
        }
        if pair[0] == "/" && pair[1].trim_end_matches(['f', 'u']).parse::<f64>() == Ok(0.0) {
            return Some("a division by a literal zero".to_owned());
        }
    }
    for operator in ["!=", "=="] {
        for (at, _) in text.match_indices(operator) {
            let operand = |c: char| word(c) || c == '.' || c == '[' || c == ']' || c == ' ';
            let (left, right) = (&text[..at], &text[at + 2..]);
            let left = left.rsplit(|c: char| !operand(c)).next().unwrap_or_default().trim();
            let right = right.split(|c: char| !operand(c)).next().unwrap_or_default().trim();
            if left == right && !left.is_empty() {
                return Some(format!("{left} {operator} {right}"));
            }
        }
    }
    None
}

fn tokens(text: &str) -> Vec<&str> {
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let two = ["<<", ">>", "&&", "||", "==", "!=", "<=", ">=", "->"];
        let length = match first {
            c if word(c) => rest.find(|c: char| !word(c)).unwrap_or(rest.len()),
            _ if two.iter().any(|two| rest.starts_with(two)) => 2,
            c => c.len_utf8(),
        };
        // `+=` and its kind: the assignment ends an expression, whatever operator it has.
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Operators that WGSL's grammar does not let stand together without parentheses; naga takes them, Tint does not.
fn ambiguous(text: &str) -> Option<String> {
    let tokens = tokens(text);
    // For each open bracket: whether it is a template's, and the operators of the expression so far.
    let mut open: Vec<(bool, Vec<&str>)> = vec![(false, Vec::new())];
    let mut i = 0;
    while i < tokens.len() {
        let token = tokens[i];
        let before = if i > 0 { tokens[i - 1] } else { "" };
        let next = tokens.get(i + 1).copied().unwrap_or_default();
        let ends_operand = before.ends_with(|c: char| c.is_alphanumeric() || c == '_') || [")", "]"].contains(&before);
        let templated = ["array", "atomic", "bitcast", "ptr", "var"].contains(&before) || before.starts_with("vec");
        let in_template = open.last().is_some_and(|level| level.0);
        match token {
            "<" if templated => open.push((true, Vec::new())),
            ">" | ">>" | ">=" if in_template => {
                for _ in 0..token.matches('>').count() {
                    open.pop();
                }
            }
            "(" | "[" => open.push((false, Vec::new())),
            ")" | "]" => {
                open.pop();
            }
            "," | ";" | "{" | "}" | "=" | "return" => open.last_mut()?.1.clear(),
            "+" | "-" | "*" | "/" | "%" | "&" | "|" | "^" if next == "=" => open.last_mut()?.1.clear(),
            "<<" | ">>" | "&" | "|" | "^" | "+" | "-" | "*" | "/" | "%" | "&&" | "||" | "==" | "!=" | "<" | ">"
            | "<=" | ">="
                if ends_operand && before != "return" =>
            {
                let level = &mut open.last_mut()?.1;
                level.push(token);
                if !grammatical(level) {
                    return Some(format!("{} at {}", level.join(" "), tokens[i.saturating_sub(8)..=i].join(" ")));
                }
            }
            _ => {}
        }
        i += 1;
    }
    None
}

/// Whether operators of one parenthesis level may follow one another.
fn grammatical(operators: &[&str]) -> bool {
    let bitwise = |o: &&str| ["&", "|", "^"].contains(o);
    if operators.iter().any(bitwise) {
        return operators.iter().all(|o| o == &operators[0]);
    }
    if operators.contains(&"&&") && operators.contains(&"||") {
        return false;
    }
    operators.split(|o| ["&&", "||"].contains(o)).all(|side| {
        let relational = |o: &&str| ["==", "!=", "<", ">", "<=", ">="].contains(o);
        side.iter().filter(|o| relational(o)).count() <= 1
            && side.split(|o| relational(o)).all(|sum| {
                let shifts = sum.iter().filter(|o| ["<<", ">>"].contains(o)).count();
                shifts == 0 || sum.len() == 1
            })
    })
}
