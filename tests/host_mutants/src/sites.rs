//! Where a file can be made wrong, and how.
//!
//! The operators are those of cargo-mutants (<https://mutants.rs/mutants.html>): a function that returns a default at once, another
//! operator, a unary operator gone, a match arm gone; and four that break what its own set leaves whole: a statement gone, a
//! condition negated, a number one higher, a twin of a method (`min` for `max`).
//!
//! Every fault of a file stands in it at once, behind a guard: `a < b` becomes `(if on(7) { a <= b } else { a < b })`. Lines stay
//! where they were.

use proc_macro2::LineColumn;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Arm, Attribute, BinOp, Block, Expr, ExprBinary, ExprIf, ImplItem, Item, ItemImpl, Lit, Pat, ReturnType, Signature,
    Stmt, Type, UnOp,
};

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    /// The function, with its type: `Sampler::pick`.
    pub(crate) function: String,
    pub(crate) line: usize,
    /// What changes: ``a < b` → `a <= b``.
    pub(crate) change: String,
}

/// Text that goes into a file at a byte offset, for the site of that index.
pub(crate) struct Insertion {
    pub(crate) offset: usize,
    pub(crate) site: usize,
    pub(crate) text: Text,
}

pub(crate) enum Text {
    /// The guard's call.
    Guard,
    Plain(String),
}

/// The faults of a file, in the order of their insertions, and the modules it declares that this target's tests leave out.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) sites: Vec<Site>,
    pub(crate) insertions: Vec<Insertion>,
    pub(crate) absent_modules: Vec<String>,
}

/// Finds the faults of a source.
pub(crate) fn find(source: &str) -> Result<Found, syn::Error> {
    let file = syn::parse_file(source)?;
    let starts = std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut finder = Finder { source, starts, path: vec![], found: Found::default() };
    finder.visit_file(&file);
    Ok(finder.found)
}

struct Finder<'a> {
    source: &'a str,
    /// Byte offsets of lines.
    starts: Vec<usize>,
    path: Vec<String>,
    found: Found,
}

impl Finder<'_> {
    fn offset(&self, at: LineColumn) -> usize {
        let start = self.starts[at.line - 1];
        let line = &self.source[start..];
        start + line.char_indices().nth(at.column).map_or(line.len(), |(byte, _)| byte)
    }

    fn start(&self, node: &impl Spanned) -> usize {
        self.offset(node.span().start())
    }

    fn end(&self, node: &impl Spanned) -> usize {
        self.offset(node.span().end())
    }

    /// A new fault; its insertions follow.
    fn site(&mut self, node: &impl Spanned, change: String) -> usize {
        let function = self.path.join("::");
        self.found.sites.push(Site { function, line: node.span().start().line, change });
        self.found.sites.len() - 1
    }

    /// Puts `texts` at an offset, the guard of the site between them.
    fn insert(&mut self, site: usize, offset: usize, before: &str, guard: bool, after: &str) {
        let mut push = |text| self.found.insertions.push(Insertion { offset, site, text });
        push(Text::Plain(before.to_owned()));
        if guard {
            push(Text::Guard);
            push(Text::Plain(after.to_owned()));
        }
    }

    /// `old` becomes each of `new`, and what is inside `old` may be wrong too.
    fn replace(&mut self, old: &Expr, new: Vec<String>) {
        let text = tokens(old);
        let sites: Vec<usize> = new
            .iter()
            .map(|new| {
                let site = self.site(old, format!("`{}` → `{}`", short(&text), short(new)));
                let start = self.start(old);
                self.insert(site, start, "(if ", true, &format!(" {{ {new} }} else {{ "));
                site
            })
            .collect();
        visit::visit_expr(self, old);
        for site in sites.into_iter().rev() {
            self.insert(site, self.end(old), " })", false, "");
        }
    }

    /// A function's body, faults of its whole first.
    fn body(&mut self, signature: &Signature, block: &Block) {
        if signature.constness.is_some() {
            return;
        }
        self.path.push(signature.ident.to_string());
        let start = self.offset(block.brace_token.span.open().end());
        let defaults = match &signature.output {
            ReturnType::Default if block.stmts.is_empty() => vec![],
            ReturnType::Default => vec![String::new()],
            ReturnType::Type(_, kind) => defaults(kind),
        };
        let whole = tokens(block);
        for default in defaults {
            // A body that is this value already.
            if whole.trim_matches(['{', '}', ' ']) == default {
                continue;
            }
            let site = self.site(signature, format!("returns {default}").trim_end().to_owned());
            self.insert(site, start, " if ", true, &format!(" {{ return {default}; }} "));
        }
        self.visit_block(block);
        self.path.pop();
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            // Constants are evaluated before a guard could be asked.
            Item::Const(_) | Item::Static(_) | Item::Macro(_) | Item::Enum(_) | Item::Struct(_) | Item::Type(_) => {}
            Item::Mod(module) if absent(&module.attrs) => self.found.absent_modules.push(module.ident.to_string()),
            Item::Fn(function) if !absent(&function.attrs) => self.body(&function.sig, &function.block),
            Item::Fn(_) => {}
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let debug = item.trait_.as_ref().is_some_and(|(path, _)| tokens(path).ends_with("Debug"));
        if absent(&item.attrs) || debug {
            return;
        }
        self.path.push(tokens(&item.self_ty).split([' ', '<']).next().unwrap_or_default().to_owned());
        visit::visit_item_impl(self, item);
        self.path.pop();
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if let ImplItem::Fn(function) = item
            && !absent(&function.attrs)
        {
            self.body(&function.sig, &function.block);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.body(&item.sig, block);
        }
    }

    fn visit_pat(&mut self, pattern: &'ast Pat) {
        if let Pat::Guard(guarded) = pattern {
            visit::visit_pat_guard(self, guarded);
        }
    }

    fn visit_type(&mut self, _: &'ast Type) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_generics(&mut self, _: &'ast syn::Generics) {}

    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}

    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        // The length is a constant.
        self.visit_expr(&repeat.expr);
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !absent(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let Stmt::Expr(expression, Some(semicolon)) = statement else { return visit::visit_stmt(self, statement) };
        if attributes(expression).is_some_and(absent) {
            return;
        }
        if !can_go(expression) {
            return visit::visit_stmt(self, statement);
        }
        let site = self.site(expression, format!("without `{}`", short(&tokens(expression))));
        self.insert(site, self.start(expression), "if !", true, " { ");
        visit::visit_stmt(self, statement);
        self.insert(site, self.end(semicolon), " }", false, "");
    }

    fn visit_expr_if(&mut self, branch: &'ast ExprIf) {
        if !has_let(&branch.cond) {
            let site = self.site(&branch.cond, format!("`if {}` negated", short(&tokens(&branch.cond))));
            self.insert(site, self.start(&branch.cond), "((", false, "");
            self.visit_expr(&branch.cond);
            self.insert(site, self.end(&branch.cond), ") != ", true, ")");
        } else {
            self.visit_expr(&branch.cond);
        }
        self.visit_block(&branch.then_branch);
        if let Some((_, other)) = &branch.else_branch {
            self.visit_expr(other);
        }
    }

    fn visit_expr_match(&mut self, matching: &'ast syn::ExprMatch) {
        self.visit_expr(&matching.expr);
        let catches_all = |arm: &Arm| match &arm.pat {
            Pat::Wild(_) => true,
            // And not `None`.
            Pat::Ident(named) => named.ident.to_string().starts_with(|letter: char| letter.is_lowercase()),
            _ => false,
        };
        let last = matching.arms.len().saturating_sub(1);
        let spare = matching.arms.last().is_some_and(catches_all);
        for (index, arm) in matching.arms.iter().enumerate() {
            if absent(&arm.attrs) {
                continue;
            }
            if spare && index < last {
                let site = self.site(&arm.pat, format!("without arm `{}`", short(&tokens(&arm.pat))));
                if let Pat::Guard(guarded) = &arm.pat {
                    if !has_let(&guarded.guard) {
                        self.insert(site, self.start(&guarded.guard), "(", false, "");
                        self.visit_expr(&guarded.guard);
                        self.insert(site, self.end(&guarded.guard), ") && !", true, "");
                    } else {
                        self.found.sites.pop();
                    }
                } else {
                    self.insert(site, self.end(&arm.pat), " if !", true, "");
                }
            } else {
                self.visit_pat(&arm.pat);
            }
            self.visit_expr(&arm.body);
        }
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        if attributes(expression).is_some_and(absent) {
            return;
        }
        let new: Vec<String> = match expression {
            Expr::Binary(binary) if !has_let(expression) => other_operator(binary).into_iter().collect(),
            Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_) | UnOp::Neg(_)) => vec![tokens(&unary.expr)],
            Expr::Lit(literal) => match &literal.lit {
                Lit::Int(number) => next_number(number).into_iter().collect(),
                Lit::Bool(value) => vec![(!value.value).to_string()],
                _ => vec![],
            },
            Expr::MethodCall(call) => {
                let method = call.method.to_string();
                // How much is reserved changes speed alone.
                if ["with_capacity", "reserve", "reserve_exact"].contains(&method.as_str()) {
                    return self.visit_expr(&call.receiver);
                }
                twin(&method)
                    .map(|other| {
                        let mut changed = call.clone();
                        changed.method = syn::Ident::new(other, call.method.span());
                        tokens(&changed)
                    })
                    .into_iter()
                    .collect()
            }
            Expr::Call(call) if tokens(&call.func).ends_with("with_capacity") => return,
            _ => vec![],
        };
        self.replace(expression, new);
    }
}

/// Left out of this target's tests: tests themselves, other systems, other features.
fn absent(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = tokens(attribute.path());
        let condition = tokens(&attribute.meta);
        let elsewhere = ["windows", "\"macos\"", "not (unix)", "not (test)", "\"page\"", "not (feature"];
        let browser = condition.contains("wasm32") && !condition.contains("not (target_arch");
        let tests = condition.contains("test") && !condition.contains("not (test");
        path.ends_with("test")
            || path == "cfg" && (browser || tests || elsewhere.iter().any(|word| condition.contains(word)))
    })
}

fn attributes(expression: &Expr) -> Option<&[Attribute]> {
    match expression {
        Expr::Block(inner) => Some(&inner.attrs),
        Expr::Call(inner) => Some(&inner.attrs),
        Expr::If(inner) => Some(&inner.attrs),
        Expr::Match(inner) => Some(&inner.attrs),
        Expr::MethodCall(inner) => Some(&inner.attrs),
        _ => None,
    }
}

/// A statement whose place may stay empty.
fn can_go(expression: &Expr) -> bool {
    match expression {
        Expr::Call(_) | Expr::MethodCall(_) | Expr::Await(_) | Expr::Return(_) | Expr::Break(_) | Expr::Continue(_) => {
            true
        }
        Expr::Try(inner) => can_go(&inner.expr),
        // A name alone may be assigned here for the first time.
        Expr::Assign(assignment) => !matches!(&*assignment.left, Expr::Path(_) | Expr::Infer(_)),
        Expr::Binary(binary) => matches!(
            binary.op,
            BinOp::AddAssign(_)
                | BinOp::SubAssign(_)
                | BinOp::MulAssign(_)
                | BinOp::DivAssign(_)
                | BinOp::BitOrAssign(_)
        ),
        _ => false,
    }
}

fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

fn other_operator(binary: &ExprBinary) -> Option<String> {
    let other = match binary.op {
        BinOp::Add(_) => "-",
        BinOp::Sub(_) => "+",
        BinOp::Mul(_) => "/",
        BinOp::Div(_) | BinOp::Rem(_) => "*",
        BinOp::And(_) => "||",
        BinOp::Or(_) => "&&",
        BinOp::BitAnd(_) | BinOp::BitXor(_) => "|",
        BinOp::BitOr(_) => "&",
        BinOp::Shl(_) => ">>",
        BinOp::Shr(_) => "<<",
        BinOp::Eq(_) => "!=",
        BinOp::Ne(_) => "==",
        BinOp::Lt(_) => "<=",
        BinOp::Le(_) => "<",
        BinOp::Gt(_) => ">=",
        BinOp::Ge(_) => ">",
        BinOp::AddAssign(_) => "-=",
        BinOp::SubAssign(_) => "+=",
        _ => return None,
    };
    Some(format!("{} {other} {}", tokens(&binary.left), tokens(&binary.right)))
}

fn next_number(number: &syn::LitInt) -> Option<String> {
    let value: u128 = number.base10_parse().ok()?;
    Some(format!("{}{}", value.checked_add(1)?, number.suffix()))
}

fn twin(method: &str) -> Option<&'static str> {
    const TWINS: [[&str; 2]; 8] = [
        ["min", "max"],
        ["any", "all"],
        ["first", "last"],
        ["is_some", "is_none"],
        ["is_ok", "is_err"],
        ["starts_with", "ends_with"],
        ["take_while", "skip_while"],
        ["is_some_and", "is_none_or"],
    ];
    TWINS.iter().find_map(|[one, other]| match method {
        name if name == *one => Some(*other),
        name if name == *other => Some(*one),
        _ => None,
    })
}

/// Values of a type that a function could return without having done anything.
fn defaults(kind: &Type) -> Vec<String> {
    let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    match kind {
        Type::Reference(reference) if tokens(&reference.elem) == "str" => list(&["\"\""]),
        Type::Tuple(tuple) if tuple.elems.is_empty() => list(&["()"]),
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else { return vec![] };
            let argument = match &last.arguments {
                syn::PathArguments::AngleBracketed(arguments) => match arguments.args.first() {
                    Some(syn::GenericArgument::Type(inner)) => Some(inner),
                    _ => None,
                },
                _ => None,
            };
            match last.ident.to_string().as_str() {
                "bool" => list(&["true", "false"]),
                "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => list(&["0", "1"]),
                "f32" | "f64" => list(&["0.0"]),
                "String" => list(&["String::new()"]),
                "Vec" => list(&["Vec::new()"]),
                "Option" => list(&["None"]),
                "Result" => match argument {
                    Some(inner) => defaults(inner).iter().map(|value| format!("Ok({value})")).collect(),
                    None => list(&["Ok(())"]),
                },
                _ => vec![],
            }
        }
        _ => vec![],
    }
}

/// Source on one line, without comments.
fn tokens(node: &impl ToTokens) -> String {
    node.to_token_stream().to_string().replace('\n', " ")
}

fn short(text: &str) -> String {
    let most = 100;
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(source: &str) -> Vec<String> {
        find(source)
            .expect("a source")
            .sites
            .into_iter()
            .map(|site| format!("{}: {}", site.function, site.change))
            .collect()
    }

    /// Oracle: the operators that this file's head lists, by hand.
    #[test]
    fn operators() {
        let source = "impl Cache { fn room(&self) -> bool { self.log(); if self.used < 3 && !self.full { return false; } true } }";
        let expected = [
            "Cache::room: returns true",
            "Cache::room: returns false",
            "Cache::room: without `self . log ()`",
            "Cache::room: `if self . used < 3 && ! self . full` negated",
            "Cache::room: `self . used < 3 && ! self . full` → `self . used < 3 || ! self . full`",
            "Cache::room: `self . used < 3` → `self . used <= 3`",
            "Cache::room: `3` → `4`",
            "Cache::room: `! self . full` → `self . full`",
            "Cache::room: without `return false`",
            "Cache::room: `false` → `true`",
            "Cache::room: `true` → `false`",
        ];
        assert_eq!(changes(source), expected);
        let arms = "fn f(x: &str) -> u8 { match x { \"a\" if g(x.min(y)) => 1, \"b\" => h(), _ => 3 } }";
        let named: Vec<String> = changes(arms).into_iter().filter(|change| change.contains("arm")).collect();
        assert_eq!(named, ["f: without arm `\"a\" if g (x . min (y))`", "f: without arm `\"b\"`"]);
    }

    /// What no test of this target could notice is left alone.
    #[test]
    fn left_alone() {
        for source in [
            "#[cfg(test)] mod tests { fn f() -> bool { 1 < 2 } }",
            "#[cfg(target_arch = \"wasm32\")] fn f() -> bool { g() }",
            "const A: u32 = 1 + 2; const fn f() -> u32 { 1 + 2 } static B: [u8; 3] = [0; 1 + 2];",
            "#[test] fn f() { g(); }",
            "impl std::fmt::Debug for A { fn fmt(&self) -> Result<()> { g() } }",
        ] {
            assert_eq!(changes(source), Vec::<String>::new(), "{source}");
        }
    }
}
